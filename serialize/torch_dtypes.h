/* SPDX-License-Identifier: Apache-2.0 */
/* torch_dtypes.h - torch's storage classes. X(class, dtype): what a storage of the class holds. Of classes with one
 * dtype the first is written. Dtypes without a class lie in an UntypedStorage. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_DTYPES_H
#define LOCKSTEP_SERIALIZE_TORCH_DTYPES_H

#define LKS_TORCH_STORAGE_LIST(X)                                                                  \
    X("FloatStorage", LKS_DTYPE_F32)                                                               \
    X("LongStorage", LKS_DTYPE_I64)                                                                \
    X("HalfStorage", LKS_DTYPE_F16)                                                                \
    X("BFloat16Storage", LKS_DTYPE_BF16)                                                           \
    X("DoubleStorage", LKS_DTYPE_F64)                                                              \
    X("IntStorage", LKS_DTYPE_I32)                                                                 \
    X("ShortStorage", LKS_DTYPE_I16)                                                               \
    X("CharStorage", LKS_DTYPE_I8)                                                                 \
    X("ByteStorage", LKS_DTYPE_U8)                                                                 \
    X("BoolStorage", LKS_DTYPE_BOOL)                                                               \
    X("ComplexFloatStorage", LKS_DTYPE_C64)                                                        \
    X("ComplexDoubleStorage", LKS_DTYPE_C128)                                                      \
    X("UntypedStorage", LKS_DTYPE_U8)                                                              \
    X("QInt8Storage", LKS_DTYPE_QI8)                                                               \
    X("QUInt8Storage", LKS_DTYPE_QU8)                                                              \
    X("QInt32Storage", LKS_DTYPE_QI32)                                                             \
    X("QUInt4x2Storage", LKS_DTYPE_QU4X2)                                                          \
    X("QUInt2x4Storage", LKS_DTYPE_QU2X4)

#endif
