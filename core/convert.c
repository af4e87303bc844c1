/* SPDX-License-Identifier: Apache-2.0 */
/* convert.c - conversion by way of the widest number of each kind: any float fits a double, any integer an
 * int64. A chunk is loaded, then stored, each in a loop that knows its dtype.
 * The 16-bit floats go by way of float32, as PyTorch's do: what it rounds twice is rounded twice here. */
#include "core/convert.h"

#include <stdbool.h>
#include <string.h>

#define CHUNK ((size_t)512)

/* Sets every out[i] to an expression of the element `v`. memcpy: rows of a mapped file may be unaligned. */
#define LOAD_EACH(type, value_of_v)                                                                \
    for (size_t i = 0; i < count; i++) {                                                           \
        type v;                                                                                    \
        memcpy(&v, src + i * step, sizeof v);                                                      \
        out[i] = (value_of_v);                                                                     \
    }

/* Sets every element to an expression of n[i]. */
#define STORE_EACH(type, value_of_n)                                                               \
    for (size_t i = 0; i < count; i++) {                                                           \
        type v = (value_of_n);                                                                     \
        memcpy(dst + i * step, &v, sizeof v);                                                      \
    }

static bool is_float(lks_dtype_t dtype)
{
    return dtype == LKS_DTYPE_F64 || dtype == LKS_DTYPE_F32 || dtype == LKS_DTYPE_F16 ||
           dtype == LKS_DTYPE_BF16;
}

static void load_floats(lks_dtype_t dtype, const unsigned char *src, size_t step, size_t count,
                        double *out)
{
    switch (dtype) {
    case LKS_DTYPE_F64: LOAD_EACH(double, v) return;
    case LKS_DTYPE_F32: LOAD_EACH(float, (double)v) return;
    case LKS_DTYPE_F16: LOAD_EACH(uint16_t, (double)lks_f16_to_f32(v)) return;
    default: LOAD_EACH(uint16_t, (double)lks_bf16_to_f32(v)) return;
    }
}

static void load_integers(lks_dtype_t dtype, const unsigned char *src, size_t step, size_t count,
                          int64_t *out)
{
    switch (dtype) {
    case LKS_DTYPE_I64: LOAD_EACH(int64_t, v) return;
    case LKS_DTYPE_I32: LOAD_EACH(int32_t, v) return;
    case LKS_DTYPE_I16: LOAD_EACH(int16_t, v) return;
    case LKS_DTYPE_I8: LOAD_EACH(int8_t, v) return;
    case LKS_DTYPE_BOOL: LOAD_EACH(uint8_t, v != 0) return; /* a file may hold any byte */
    default: LOAD_EACH(uint8_t, v) return;
    }
}

/* Toward zero; what int64 cannot hold (NaN too) becomes INT64_MIN, as on x86-64. */
static int64_t truncated(double value)
{
    return value >= -0x1p63 && value < 0x1p63 ? (int64_t)value : INT64_MIN;
}

static void store_floats(lks_dtype_t dtype, unsigned char *dst, size_t step, size_t count,
                         const double *n)
{
    switch (dtype) {
    case LKS_DTYPE_F64: STORE_EACH(double, n[i]) return;
    case LKS_DTYPE_F32: STORE_EACH(float, (float)n[i]) return;
    case LKS_DTYPE_F16: STORE_EACH(uint16_t, lks_f32_to_f16((float)n[i])) return;
    case LKS_DTYPE_BF16: STORE_EACH(uint16_t, lks_f32_to_bf16((float)n[i])) return;
    case LKS_DTYPE_I64: STORE_EACH(int64_t, truncated(n[i])) return;
    case LKS_DTYPE_I32: STORE_EACH(uint32_t, (uint32_t)truncated(n[i])) return;
    case LKS_DTYPE_I16: STORE_EACH(uint16_t, (uint16_t)truncated(n[i])) return;
    case LKS_DTYPE_BOOL: STORE_EACH(uint8_t, n[i] != 0.0) return;
    default: STORE_EACH(uint8_t, (uint8_t)truncated(n[i])) return;
    }
}

static void store_integers(lks_dtype_t dtype, unsigned char *dst, size_t step, size_t count,
                           const int64_t *n)
{
    switch (dtype) {
    case LKS_DTYPE_F64: STORE_EACH(double, (double)n[i]) return;
    case LKS_DTYPE_F32: STORE_EACH(float, (float)n[i]) return;
    case LKS_DTYPE_F16: STORE_EACH(uint16_t, lks_f32_to_f16((float)n[i])) return;
    case LKS_DTYPE_BF16: STORE_EACH(uint16_t, lks_f32_to_bf16((float)n[i])) return;
    case LKS_DTYPE_I64: STORE_EACH(int64_t, n[i]) return;
    case LKS_DTYPE_I32: STORE_EACH(uint32_t, (uint32_t)n[i]) return;
    case LKS_DTYPE_I16: STORE_EACH(uint16_t, (uint16_t)n[i]) return;
    case LKS_DTYPE_BOOL: STORE_EACH(uint8_t, n[i] != 0) return;
    default: STORE_EACH(uint8_t, (uint8_t)n[i]) return;
    }
}

void lks_convert_row(lks_dtype_t to, unsigned char *dst, size_t dst_step, lks_dtype_t from,
                     const unsigned char *src, size_t src_step, size_t count)
{
    union {
        double floats[CHUNK];
        int64_t integers[CHUNK];
    } chunk;
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t some = count - done < CHUNK ? count - done : CHUNK;
        unsigned char *out = dst + done * dst_step;
        const unsigned char *in = src + done * src_step;
        if (is_float(from)) {
            load_floats(from, in, src_step, some, chunk.floats);
            store_floats(to, out, dst_step, some, chunk.floats);
        } else {
            load_integers(from, in, src_step, some, chunk.integers);
            store_integers(to, out, dst_step, some, chunk.integers);
        }
    }
}
