/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h - element types, named as PyTorch names them.
 * float16 is IEEE 754 binary16; bfloat16 is the upper half of binary32; bool is one byte, 0 or 1;
 * complex numbers are (real, imaginary) pairs. All of them little-endian in files. */
#ifndef LOCKSTEP_DTYPE_H
#define LOCKSTEP_DTYPE_H

#include <lockstep/status.h>
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
    X(LKS_DTYPE_C128, "complex128", 16)

#define LKS_DTYPE_ENUM(id, name, size) id,
typedef enum { LKS_DTYPE_LIST(LKS_DTYPE_ENUM) LKS_DTYPE_COUNT } lks_dtype_t;
#undef LKS_DTYPE_ENUM

/** Bytes per element; 0 for a number that is no dtype. */
LKS_API size_t lks_dtype_size(lks_dtype_t dtype);

/** PyTorch's name, "float32"; "unknown" for a number that is no dtype. */
LKS_API const char *lks_dtype_name(lks_dtype_t dtype);

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
