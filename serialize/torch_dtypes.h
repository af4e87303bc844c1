/* SPDX-License-Identifier: Apache-2.0 */
/* torch_dtypes.h - torch's storage classes.
 * X(class, dtype, plain): what a storage of the class holds. Where `plain` is 0 tensors over it need more than a
 * dtype (a scale, packing), and `dtype` only gives the size of an element. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_DTYPES_H
#define LOCKSTEP_SERIALIZE_TORCH_DTYPES_H

#define LKS_TORCH_STORAGE_LIST(X)                                                                  \
    X("FloatStorage", LKS_DTYPE_F32, 1)                                                            \
    X("LongStorage", LKS_DTYPE_I64, 1)                                                             \
    X("HalfStorage", LKS_DTYPE_F16, 1)                                                             \
    X("BFloat16Storage", LKS_DTYPE_BF16, 1)                                                        \
    X("DoubleStorage", LKS_DTYPE_F64, 1)                                                           \
    X("IntStorage", LKS_DTYPE_I32, 1)                                                              \
    X("ShortStorage", LKS_DTYPE_I16, 1)                                                            \
    X("CharStorage", LKS_DTYPE_I8, 1)                                                              \
    X("ByteStorage", LKS_DTYPE_U8, 1)                                                              \
    X("BoolStorage", LKS_DTYPE_BOOL, 1)                                                            \
    X("ComplexFloatStorage", LKS_DTYPE_C64, 1)                                                     \
    X("ComplexDoubleStorage", LKS_DTYPE_C128, 1)                                                   \
    X("UntypedStorage", LKS_DTYPE_U8, 1)                                                           \
    X("QInt8Storage", LKS_DTYPE_I8, 0)                                                             \
    X("QUInt8Storage", LKS_DTYPE_U8, 0)                                                            \
    X("QInt32Storage", LKS_DTYPE_I32, 0)                                                           \
    X("QUInt4x2Storage", LKS_DTYPE_U8, 0)                                                          \
    X("QUInt2x4Storage", LKS_DTYPE_U8, 0)

#endif
