/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h - element types, named as PyTorch names them.
 * float16 is IEEE 754 binary16; bfloat16 is the upper half of binary32; bool is one byte, 0 or 1;
 * complex numbers are (real, imaginary) pairs. All of them little-endian in files.
 * From complex32 on they are what files may hold: they are stored, copied and compared, but not computed with.
 * The float8 kinds are those of the OCP and IEEE P3109 drafts, as in torch. quint4x2 and quint2x4 hold 2 and 4
 * elements in a byte, float4_e2m1fn_x2 holds 2; the float6 kinds (of safetensors; torch has none) are counted
 * in groups of 4 elements of 6 bits, 3 bytes. */
#ifndef LOCKSTEP_DTYPE_H
#define LOCKSTEP_DTYPE_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

LKS_BEGIN_DECLS

/** X(enumerator, PyTorch's name, size of one element in bytes). The order is the ABI: add at the end. */
#define LKS_DTYPE_LIST(X)                                                                          \
    X(LKS_DTYPE_F64, "float64", 8)                                                                 \
    X(LKS_DTYPE_F32, "float32", 4)                                                                 \
    X(LKS_DTYPE_F16, "float16", 2)                                                                 \
    X(LKS_DTYPE_BF16, "bfloat16", 2)                                                               \
    X(LKS_DTYPE_I64, "int64", 8)                                                                   \
    X(LKS_DTYPE_I32, "int32", 4)                                                                   \
    X(LKS_DTYPE_I16, "int16", 2)                                                                   \
    X(LKS_DTYPE_I8, "int8", 1)                                                                     \
    X(LKS_DTYPE_U8, "uint8", 1)                                                                    \
    X(LKS_DTYPE_BOOL, "bool", 1)                                                                   \
    X(LKS_DTYPE_C64, "complex64", 8)                                                               \
    X(LKS_DTYPE_C128, "complex128", 16)                                                            \
    X(LKS_DTYPE_C32, "complex32", 4)                                                               \
    X(LKS_DTYPE_U16, "uint16", 2)                                                                  \
    X(LKS_DTYPE_U32, "uint32", 4)                                                                  \
    X(LKS_DTYPE_U64, "uint64", 8)                                                                  \
    X(LKS_DTYPE_F8_E5M2, "float8_e5m2", 1)                                                         \
    X(LKS_DTYPE_F8_E4M3FN, "float8_e4m3fn", 1)                                                     \
    X(LKS_DTYPE_F8_E5M2FNUZ, "float8_e5m2fnuz", 1)                                                 \
    X(LKS_DTYPE_F8_E4M3FNUZ, "float8_e4m3fnuz", 1)                                                 \
    X(LKS_DTYPE_F8_E8M0FNU, "float8_e8m0fnu", 1)                                                   \
    X(LKS_DTYPE_F4_E2M1FN_X2, "float4_e2m1fn_x2", 1)                                               \
    X(LKS_DTYPE_F6_E2M3FN_X4, "float6_e2m3fn_x4", 3)                                               \
    X(LKS_DTYPE_F6_E3M2FN_X4, "float6_e3m2fn_x4", 3)                                               \
    X(LKS_DTYPE_QI8, "qint8", 1)                                                                   \
    X(LKS_DTYPE_QU8, "quint8", 1)                                                                  \
    X(LKS_DTYPE_QI32, "qint32", 4)                                                                 \
    X(LKS_DTYPE_QU4X2, "quint4x2", 1)                                                              \
    X(LKS_DTYPE_QU2X4, "quint2x4", 1)

#define LKS_DTYPE_ENUM(id, name, size) id,
typedef enum { LKS_DTYPE_LIST(LKS_DTYPE_ENUM) LKS_DTYPE_COUNT } lks_dtype_t;
#undef LKS_DTYPE_ENUM

/** Bytes per element; 0 for a number that is no dtype. */
LKS_API size_t lks_dtype_size(lks_dtype_t dtype);

/** PyTorch's name, "float32"; "unknown" for a number that is no dtype. */
LKS_API const char *lks_dtype_name(lks_dtype_t dtype);

/** True for those that are a pair of floats. */
LKS_API bool lks_dtype_is_complex(lks_dtype_t dtype);

/** True for integers that mean something only with a scale: qint8 to quint2x4. */
LKS_API bool lks_dtype_is_quantized(lks_dtype_t dtype);

/** True for the ten real dtypes that lks_tensor_convert converts: float64 to bool. */
LKS_API bool lks_dtype_is_convertible(lks_dtype_t dtype);

/** The dtype of that name. Errors: NOT_FOUND. */
LKS_API LKS_NODISCARD lks_status_t lks_dtype_from_name(const char *name, lks_dtype_t *out);

/** Conversions of the 16-bit floats; to 16 bits they round to nearest even, overflow to infinity and
 *  keep NaN a (quiet) NaN. */
LKS_API float lks_f16_to_f32(uint16_t bits);
LKS_API uint16_t lks_f32_to_f16(float value);
LKS_API float lks_bf16_to_f32(uint16_t bits);
LKS_API uint16_t lks_f32_to_bf16(float value);

LKS_END_DECLS
#endif
