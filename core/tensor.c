/* SPDX-License-Identifier: Apache-2.0 */
/* tensor.c - views: making them, cutting them, copying between them. */
#include "core/checked.h"

#include <lockstep/tensor.h>

#include <inttypes.h>
#include <string.h>

static lks_status_t check_ndim(int ndim)
{
    if (ndim < 0 || ndim > LKS_MAX_NDIM) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a tensor has 0 to %d dimensions, not %d",
                        LKS_MAX_NDIM, ndim);
    }
    return LKS_OK;
}

/* The bytes that the elements of a shape fill when packed. */
static lks_status_t shape_nbytes(lks_dtype_t dtype, int ndim, const int64_t *shape, size_t *out)
{
    if (lks_dtype_size(dtype) == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "no dtype has the number %d", (int)dtype);
    }
    int64_t numel;
    LKS_TRY(lks_shape_numel(ndim, shape, &numel));
    if (!lks_mul_size((size_t)numel, lks_dtype_size(dtype), out)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a tensor of %" PRId64 " elements of %s is too large",
                        numel, lks_dtype_name(dtype));
    }
    return LKS_OK;
}

lks_status_t lks_tensor_create(lks_device_t *device, lks_dtype_t dtype, int ndim,
                               const int64_t *shape, lks_tensor_t *out)
{
    LKS_TRY(check_ndim(ndim));
    size_t nbytes = 0;
    LKS_TRY(shape_nbytes(dtype, ndim, shape, &nbytes));
    lks_storage_t *storage;
    LKS_TRY(lks_storage_create(device, nbytes, &storage));
    lks_tensor_t tensor = {.storage = storage, .dtype = dtype, .ndim = ndim};
    if (ndim > 0) {
        memcpy(tensor.shape, shape, (size_t)ndim * sizeof *shape);
    }
    lks_shape_contiguous_stride(ndim, tensor.shape, tensor.stride);
    *out = tensor; /* only now: `shape` may be out->shape */
    return LKS_OK;
}

lks_status_t lks_tensor_view(lks_storage_t *storage, lks_dtype_t dtype, int64_t offset, int ndim,
                             const int64_t *shape, const int64_t *stride, lks_tensor_t *out)
{
    LKS_TRY(check_ndim(ndim));
    lks_tensor_t view = {.storage = storage, .dtype = dtype, .ndim = ndim, .offset = offset};
    if (ndim > 0) {
        memcpy(view.shape, shape, (size_t)ndim * sizeof *shape);
    }
    if (stride && ndim > 0) {
        memcpy(view.stride, stride, (size_t)ndim * sizeof *stride);
    } else {
        lks_shape_contiguous_stride(ndim, view.shape, view.stride);
    }
    size_t nbytes; /* of an expanded view it may be more than memory holds */
    LKS_TRY(shape_nbytes(dtype, ndim, view.shape, &nbytes));
    int64_t span;
    LKS_TRY(lks_shape_span(ndim, view.shape, view.stride, &span));
    int64_t held = (int64_t)(lks_storage_nbytes(storage) / lks_dtype_size(dtype));
    if (offset < 0 || span > held || offset > held - span) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a view of %" PRId64 " elements at offset %" PRId64
                        " does not fit a storage of %" PRId64 " elements",
                        span, offset, held);
    }
    *out = view;
    return LKS_OK;
}

void lks_tensor_release(lks_tensor_t *tensor)
{
    lks_storage_release(tensor->storage);
    *tensor = (lks_tensor_t){0};
}

int64_t lks_tensor_numel(const lks_tensor_t *tensor)
{
    int64_t numel;
    return lks_shape_numel(tensor->ndim, tensor->shape, &numel) == LKS_OK ? numel : 0;
}

size_t lks_tensor_nbytes(const lks_tensor_t *tensor)
{
    return (size_t)lks_tensor_numel(tensor) * lks_dtype_size(tensor->dtype);
}

bool lks_tensor_is_contiguous(const lks_tensor_t *tensor)
{
    if (lks_tensor_numel(tensor) == 0) {
        return true;
    }
    int64_t step = 1;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && tensor->stride[i] != step) {
            return false;
        }
        step *= tensor->shape[i];
    }
    return true;
}

void *lks_tensor_data(const lks_tensor_t *tensor)
{
    unsigned char *base = lks_storage_data(tensor->storage);
    return base + (size_t)tensor->offset * lks_dtype_size(tensor->dtype);
}

bool lks_tensor_same_shape(const lks_tensor_t *a, const lks_tensor_t *b)
{
    if (a->ndim != b->ndim) {
        return false;
    }
    for (int i = 0; i < a->ndim; i++) {
        if (a->shape[i] != b->shape[i]) {
            return false;
        }
    }
    return true;
}

static lks_status_t check_dim(const lks_tensor_t *tensor, int dim)
{
    if (dim < 0 || dim >= tensor->ndim) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a tensor of %d dimensions has no dimension %d",
                        tensor->ndim, dim);
    }
    return LKS_OK;
}

lks_status_t lks_tensor_narrow(const lks_tensor_t *tensor, int dim, int64_t start, int64_t length,
                               lks_tensor_t *out)
{
    LKS_TRY(check_dim(tensor, dim));
    int64_t size = tensor->shape[dim];
    if (start < 0 || length < 0 || start > size || length > size - start) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%" PRId64 " elements from %" PRId64
                        " on are outside dimension %d of size %" PRId64,
                        length, start, dim, size);
    }
    lks_tensor_t view = *tensor;
    view.shape[dim] = length;
    if (lks_tensor_numel(&view) > 0) { /* nothing is nowhere: its offset stays inside the storage */
        view.offset += start * tensor->stride[dim];
    }
    *out = view;
    return LKS_OK;
}

lks_status_t lks_tensor_transpose(const lks_tensor_t *tensor, int dim0, int dim1, lks_tensor_t *out)
{
    LKS_TRY(check_dim(tensor, dim0));
    LKS_TRY(check_dim(tensor, dim1));
    lks_tensor_t view = *tensor;
    view.shape[dim0] = tensor->shape[dim1];
    view.stride[dim0] = tensor->stride[dim1];
    view.shape[dim1] = tensor->shape[dim0];
    view.stride[dim1] = tensor->stride[dim0];
    *out = view;
    return LKS_OK;
}

lks_status_t lks_tensor_reshape(const lks_tensor_t *tensor, int ndim, const int64_t *shape,
                                lks_tensor_t *out)
{
    if (!lks_tensor_is_contiguous(tensor)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "only a contiguous tensor can be reshaped");
    }
    int64_t numel;
    LKS_TRY(check_ndim(ndim));
    LKS_TRY(lks_shape_numel(ndim, shape, &numel));
    if (numel != lks_tensor_numel(tensor)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a tensor of %" PRId64 " elements does not reshape to %" PRId64,
                        lks_tensor_numel(tensor), numel);
    }
    return lks_tensor_view(tensor->storage, tensor->dtype, tensor->offset, ndim, shape, NULL, out);
}

lks_status_t lks_tensor_expand(const lks_tensor_t *tensor, int ndim, const int64_t *shape,
                               lks_tensor_t *out)
{
    LKS_TRY(check_ndim(ndim));
    int extra = ndim - tensor->ndim; /* new dimensions, in front */
    if (extra < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%d dimensions do not expand to %d", tensor->ndim,
                        ndim);
    }
    int64_t stride[LKS_MAX_NDIM] = {0};
    for (int i = extra; i < ndim; i++) {
        int64_t size = tensor->shape[i - extra];
        if (size != shape[i] && size != 1) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "dimension %d of size %" PRId64 " does not expand to %" PRId64, i, size,
                            shape[i]);
        }
        stride[i] = size == shape[i] ? tensor->stride[i - extra] : 0;
    }
    return lks_tensor_view(tensor->storage, tensor->dtype, tensor->offset, ndim, shape, stride,
                           out);
}
