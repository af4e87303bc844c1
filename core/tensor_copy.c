/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_copy.c - copying and converting between strided views.
 * A walk over the outer dimensions (an odometer) hands whole innermost rows to a row function. */
#include "core/convert.h"
#include "core/device_backend.h"

#include <lockstep/tensor.h>

#include <string.h>

/* One row of `count` elements; steps in bytes. Rows are indexed, never walked past: the stride of a
 * dimension of size 1 may be any number. */
typedef void (*row_fn_t)(unsigned char *dst, size_t dst_step, const unsigned char *src,
                         size_t src_step, int64_t count, const lks_tensor_t *to,
                         const lks_tensor_t *from);

static void walk_rows(const lks_tensor_t *dst, const lks_tensor_t *src, row_fn_t row)
{
    int64_t numel = lks_tensor_numel(dst);
    if (numel == 0) {
        return;
    }
    /* Packed on both sides (a scalar always is), the whole tensor is one row. */
    bool flat = lks_tensor_is_contiguous(dst) && lks_tensor_is_contiguous(src);
    int outer = flat ? 0 : dst->ndim - 1;
    int64_t inner = flat ? numel : dst->shape[outer];
    size_t dst_size = lks_dtype_size(dst->dtype), src_size = lks_dtype_size(src->dtype);
    size_t dst_step = flat ? dst_size : (size_t)dst->stride[outer] * dst_size;
    size_t src_step = flat ? src_size : (size_t)src->stride[outer] * src_size;
    int64_t at[LKS_MAX_NDIM] = {0};
    for (;;) {
        int64_t dst_offset = 0, src_offset = 0;
        for (int i = 0; i < outer; i++) {
            dst_offset += at[i] * dst->stride[i];
            src_offset += at[i] * src->stride[i];
        }
        row((unsigned char *)lks_tensor_data(dst) + (size_t)dst_offset * dst_size, dst_step,
            (const unsigned char *)lks_tensor_data(src) + (size_t)src_offset * src_size, src_step,
            inner, dst, src);
        int i = outer - 1;
        while (i >= 0 && ++at[i] == dst->shape[i]) {
            at[i--] = 0;
        }
        if (i < 0) {
            return;
        }
    }
}

/* With a constant `size` each memcpy is one move. */
static inline void copy_elements(unsigned char *dst, size_t dst_step, const unsigned char *src,
                                 size_t src_step, int64_t count, size_t size)
{
    for (size_t i = 0; i < (size_t)count; i++) {
        memcpy(dst + i * dst_step, src + i * src_step, size);
    }
}

static void copy_row(unsigned char *dst, size_t dst_step, const unsigned char *src, size_t src_step,
                     int64_t count, const lks_tensor_t *to, const lks_tensor_t *from)
{
    (void)from;
    size_t size = lks_dtype_size(to->dtype);
    if (dst_step == size && src_step == size) {
        memcpy(dst, src, (size_t)count * size);
        return;
    }
    switch (size) {
    case 1: copy_elements(dst, dst_step, src, src_step, count, 1); return;
    case 2: copy_elements(dst, dst_step, src, src_step, count, 2); return;
    case 4: copy_elements(dst, dst_step, src, src_step, count, 4); return;
    case 8: copy_elements(dst, dst_step, src, src_step, count, 8); return;
    default: copy_elements(dst, dst_step, src, src_step, count, size); return;
    }
}

static lks_status_t check_shapes(const lks_tensor_t *dst, const lks_tensor_t *src)
{
    if (!lks_tensor_same_shape(dst, src)) {
        char to[96], from[96];
        return lks_fail(LKS_ERR_INVALID_ARG, "cannot copy a tensor of shape %s into one of %s",
                        lks_shape_format(from, sizeof from, src->ndim, src->shape),
                        lks_shape_format(to, sizeof to, dst->ndim, dst->shape));
    }
    return LKS_OK;
}

static bool on_host(const lks_tensor_t *tensor)
{
    return lks_storage_device(tensor->storage)->backend == &lks_host_backend;
}

lks_status_t lks_tensor_copy(const lks_tensor_t *dst, const lks_tensor_t *src)
{
    LKS_TRY(check_shapes(dst, src));
    if (dst->dtype != src->dtype) {
        return lks_fail(LKS_ERR_INVALID_ARG, "cannot copy %s into %s", lks_dtype_name(src->dtype),
                        lks_dtype_name(dst->dtype));
    }
    if (lks_tensor_is_contiguous(dst) && lks_tensor_is_contiguous(src)) {
        return lks_device_copy(lks_storage_device(dst->storage), lks_tensor_data(dst),
                               lks_storage_device(src->storage), lks_tensor_data(src),
                               lks_tensor_nbytes(dst), NULL);
    }
    if (!on_host(dst) || !on_host(src)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "a strided copy needs both tensors on the host");
    }
    walk_rows(dst, src, copy_row);
    return LKS_OK;
}

static void convert_row(unsigned char *dst, size_t dst_step, const unsigned char *src,
                        size_t src_step, int64_t count, const lks_tensor_t *to,
                        const lks_tensor_t *from)
{
    lks_convert_row(to->dtype, dst, dst_step, from->dtype, src, src_step, (size_t)count);
}

static bool converts(const lks_tensor_t *tensor)
{
    return lks_dtype_is_convertible(tensor->dtype) && on_host(tensor);
}

lks_status_t lks_tensor_convert(const lks_tensor_t *dst, const lks_tensor_t *src)
{
    if (dst->dtype == src->dtype) {
        return lks_tensor_copy(dst, src);
    }
    LKS_TRY(check_shapes(dst, src));
    if (!converts(dst) || !converts(src)) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "cannot convert %s to %s%s",
                        lks_dtype_name(src->dtype), lks_dtype_name(dst->dtype),
                        on_host(dst) && on_host(src) ? "" : " off the host");
    }
    walk_rows(dst, src, convert_row);
    return LKS_OK;
}
