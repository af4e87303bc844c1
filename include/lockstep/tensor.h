/* SPDX-License-Identifier: Apache-2.0 */
/* tensor.h - strided views of reference-counted storages.
 * A storage is a block of bytes on a device. A tensor is a small value: dtype, shape, stride and offset
 * over a storage. Strides and offsets count elements. Copying the struct copies the view; it does not
 * retain the storage: lks_tensor_create makes the one reference, lks_tensor_release gives it back.
 * Threads: retain and release are atomic; everything else is the caller's to order. */
#ifndef LOCKSTEP_TENSOR_H
#define LOCKSTEP_TENSOR_H

#include <lockstep/device.h>
#include <lockstep/dtype.h>
#include <stdbool.h>

LKS_BEGIN_DECLS

/** Dimensions a compute tensor may have. Files may hold more: see value.h. */
#define LKS_MAX_NDIM 8

typedef struct lks_storage lks_storage_t;

/** A new storage of `nbytes` undefined bytes, one reference. Errors: NO_MEMORY, DEVICE. */
LKS_API LKS_NODISCARD lks_status_t lks_storage_create(lks_device_t *device, size_t nbytes,
                                                      lks_storage_t **out);

/** A storage over the caller's memory (a mapped file, an embedder's buffer), one reference.
 *  `release(context)` runs when the last reference goes; NULL if nothing is to be done. */
LKS_API LKS_NODISCARD lks_status_t lks_storage_wrap(lks_device_t *device, void *data, size_t nbytes,
                                                    void (*release)(void *context), void *context,
                                                    lks_storage_t **out);
LKS_API lks_storage_t *lks_storage_retain(lks_storage_t *storage);
LKS_API void lks_storage_release(lks_storage_t *storage); /**< NULL does nothing */
LKS_API void *lks_storage_data(const lks_storage_t *storage);
LKS_API size_t lks_storage_nbytes(const lks_storage_t *storage);
LKS_API lks_device_t *lks_storage_device(const lks_storage_t *storage);

/** A view. Zeroed, it is "no tensor" (storage NULL). `ndim` 0 is a scalar of one element. */
typedef struct lks_tensor {
    lks_storage_t *storage;
    lks_dtype_t dtype;
    int ndim;                     /**< 0..LKS_MAX_NDIM */
    int64_t offset;               /**< of the first element, in elements */
    int64_t shape[LKS_MAX_NDIM];  /**< every size >= 0 */
    int64_t stride[LKS_MAX_NDIM]; /**< in elements, >= 0; 0 repeats (an expanded dimension) */
} lks_tensor_t;

/** A new contiguous tensor with undefined contents and a storage of its own.
 *  Errors: INVALID_ARG (ndim, negative or overflowing shape), NO_MEMORY, DEVICE. */
LKS_API LKS_NODISCARD lks_status_t lks_tensor_create(lks_device_t *device, lks_dtype_t dtype,
                                                     int ndim, const int64_t *shape,
                                                     lks_tensor_t *out);

/** A view of `storage`, bounds-checked. The storage is not retained.
 *  stride NULL: contiguous. Errors: INVALID_ARG (ndim, negative numbers, outside the storage). */
LKS_API LKS_NODISCARD lks_status_t lks_tensor_view(lks_storage_t *storage, lks_dtype_t dtype,
                                                   int64_t offset, int ndim, const int64_t *shape,
                                                   const int64_t *stride, lks_tensor_t *out);

/** Releases the storage and zeroes the struct. Only for what lks_tensor_create made. */
LKS_API void lks_tensor_release(lks_tensor_t *tensor);

/** Elements of a shape, and the elements a strided view spans from its offset on, with every overflow
 *  checked. Any ndim. Errors: INVALID_ARG. */
LKS_API LKS_NODISCARD lks_status_t lks_shape_numel(int ndim, const int64_t *shape, int64_t *out);
LKS_API LKS_NODISCARD lks_status_t lks_shape_span(int ndim, const int64_t *shape,
                                                  const int64_t *stride, int64_t *out);

/** The C-order strides of a shape, as PyTorch computes them (sizes of 0 count as 1). */
LKS_API void lks_shape_contiguous_stride(int ndim, const int64_t *shape, int64_t *stride);

LKS_API int64_t lks_tensor_numel(const lks_tensor_t *tensor);
LKS_API size_t lks_tensor_nbytes(const lks_tensor_t *tensor); /**< numel x element size */
LKS_API bool lks_tensor_is_contiguous(const lks_tensor_t *tensor);
LKS_API void *lks_tensor_data(const lks_tensor_t *tensor); /**< address of the first element */
LKS_API bool lks_tensor_same_shape(const lks_tensor_t *a, const lks_tensor_t *b);

/** Views of the same storage. Errors: INVALID_ARG (dimension or range outside; reshape: element
 *  counts differ or the tensor is not contiguous; expand: a size that is not 1 changes). */
LKS_API LKS_NODISCARD lks_status_t lks_tensor_narrow(const lks_tensor_t *tensor, int dim,
                                                     int64_t start, int64_t length,
                                                     lks_tensor_t *out);
LKS_API LKS_NODISCARD lks_status_t lks_tensor_transpose(const lks_tensor_t *tensor, int dim0,
                                                        int dim1, lks_tensor_t *out);
LKS_API LKS_NODISCARD lks_status_t lks_tensor_reshape(const lks_tensor_t *tensor, int ndim,
                                                      const int64_t *shape, lks_tensor_t *out);
LKS_API LKS_NODISCARD lks_status_t lks_tensor_expand(const lks_tensor_t *tensor, int ndim,
                                                     const int64_t *shape, lks_tensor_t *out);

/** Copies elements of equal shape and dtype, whatever the strides and devices (a strided side must be
 *  on the host). `dst` must not overlap itself or `src`.
 *  Errors: INVALID_ARG (shape or dtype differ), UNSUPPORTED (strided on a GPU), DEVICE. */
LKS_API LKS_NODISCARD lks_status_t lks_tensor_copy(const lks_tensor_t *dst,
                                                   const lks_tensor_t *src);

/** Copies with conversion between real dtypes (float64/32/16, bfloat16, integers, bool) on the host.
 *  Floats to integers truncate toward zero; to bool, non-zero is true.
 *  Errors: INVALID_ARG (shapes differ), UNSUPPORTED (complex, or not on the host). */
LKS_API LKS_NODISCARD lks_status_t lks_tensor_convert(const lks_tensor_t *dst,
                                                      const lks_tensor_t *src);

/** "(3, 4)"; "()" for a scalar. Cut to `size` bytes with the terminating zero. Returns `text`. */
LKS_API const char *lks_shape_format(char *text, size_t size, int ndim, const int64_t *shape);

LKS_END_DECLS
#endif
