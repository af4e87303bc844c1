/* SPDX-License-Identifier: Apache-2.0 */
/* shape.c - arithmetic on shapes and strides, every overflow checked. */
#include "core/checked.h"

#include <lockstep/tensor.h>

#include <inttypes.h>
#include <stdio.h>

lks_status_t lks_shape_numel(int ndim, const int64_t *shape, int64_t *out)
{
    int64_t numel = 1;
    bool empty = false;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0) {
            return lks_fail(LKS_ERR_INVALID_ARG, "dimension %d has the negative size %" PRId64, i,
                            shape[i]);
        }
        empty |= shape[i] == 0;
    }
    for (int i = 0; i < ndim && !empty; i++) {
        if (!lks_mul_i64(numel, shape[i], &numel)) {
            return lks_fail(LKS_ERR_INVALID_ARG, "the shape has more than 2^63 elements");
        }
    }
    *out = empty ? 0 : numel;
    return LKS_OK;
}

lks_status_t lks_shape_span(int ndim, const int64_t *shape, const int64_t *stride, int64_t *out)
{
    int64_t numel;
    LKS_TRY(lks_shape_numel(ndim, shape, &numel));
    int64_t last = 0; /* offset of the last element */
    for (int i = 0; i < ndim; i++) {
        int64_t reach;
        if (stride[i] < 0) {
            return lks_fail(LKS_ERR_INVALID_ARG, "dimension %d has the negative stride %" PRId64, i,
                            stride[i]);
        }
        if (numel == 0) {
            continue;
        }
        if (!lks_mul_i64(shape[i] - 1, stride[i], &reach) || !lks_add_i64(last, reach, &last)) {
            return lks_fail(LKS_ERR_INVALID_ARG, "the strides reach beyond 2^63 elements");
        }
    }
    if (numel > 0 && !lks_add_i64(last, 1, &last)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the strides reach beyond 2^63 elements");
    }
    *out = last;
    return LKS_OK;
}

void lks_shape_contiguous_stride(int ndim, const int64_t *shape, int64_t *stride)
{
    int64_t step = 1;
    for (int i = ndim - 1; i >= 0; i--) {
        stride[i] = step;
        if (!lks_mul_i64(step, shape[i] > 1 ? shape[i] : 1, &step)) {
            step = INT64_MAX; /* such a shape has no storage; its stride only has to be defined */
        }
    }
}

const char *lks_shape_format(char *text, size_t size, int ndim, const int64_t *shape)
{
    size_t used = 0;
    if (size == 0) {
        return text;
    }
    text[0] = '\0';
    for (int i = -1; i <= ndim && used < size; i++) {
        int n;
        if (i < 0) {
            n = snprintf(text, size, "(");
        } else if (i == ndim) {
            n = snprintf(text + used, size - used, ndim == 1 ? ",)" : ")");
        } else {
            n = snprintf(text + used, size - used, "%s%" PRId64, i ? ", " : "", shape[i]);
        }
        used += n > 0 ? (size_t)n : 0;
    }
    return text;
}
