/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - see pack.h.
 * Dimensions of size 1 are dropped and those that continue each other merged. The rest have at least two elements
 * each, so that fewer than 2^63 elements leave at most 62 of them, whatever the file claims. */
#include "serialize/pack.h"
#include "core/checked.h"

#include <stdlib.h>
#include <string.h>

#define AXES_MAX 62
#define BUFFER_SIZE ((size_t)32 << 10)

typedef struct axis {
    int64_t size, stride; /* >= 2; in elements */
} axis_t;

typedef struct view {
    int naxes;
    axis_t axes[AXES_MAX]; /* innermost first */
} view_t;

typedef struct packer {
    void (*write)(void *context, const void *data, size_t nbytes);
    void *context;
    size_t itemsize, used;
    unsigned char buffer[BUFFER_SIZE];
} packer_t;

/* The axes of a tensor that has elements. */
static void view_of(const lks_value_tensor_t *tensor, view_t *view)
{
    view->naxes = 0;
    for (int i = tensor->ndim - 1; i >= 0; i--) {
        const axis_t axis = {.size = tensor->shape[i], .stride = tensor->stride[i]};
        axis_t *inner = view->naxes > 0 ? &view->axes[view->naxes - 1] : NULL;
        if (axis.size == 1) {
            continue;
        }
        if (inner && axis.stride == inner->size * inner->stride) {
            inner->size *= axis.size;
        } else {
            view->axes[view->naxes++] = axis;
        }
    }
}

static bool in_one_piece(const view_t *view)
{
    return view->naxes == 0 || (view->naxes == 1 && view->axes[0].stride == 1);
}

lks_status_t lks_tensor_packed_size(const lks_value_tensor_t *tensor, uint64_t *nbytes)
{
    int64_t numel, total;
    LKS_TRY(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    if (!lks_mul_i64(numel, (int64_t)lks_dtype_size(tensor->dtype), &total)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the elements need more than 2^63 bytes");
    }
    *nbytes = (uint64_t)total;
    return LKS_OK;
}

bool lks_tensor_is_packed(const lks_value_tensor_t *tensor)
{
    int64_t numel;
    view_t view;
    if (lks_shape_numel(tensor->ndim, tensor->shape, &numel) != LKS_OK) {
        return false;
    }
    if (numel > 0) {
        view_of(tensor, &view);
    }
    return numel == 0 || in_one_piece(&view);
}

static int compare_i64(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

int lks_tensor_compare_layout(const lks_value_tensor_t *a, const lks_value_tensor_t *b)
{
    int order = compare_i64(a->dtype, b->dtype);
    order = order != 0 ? order : compare_i64(a->ndim, b->ndim);
    for (int i = 0; i < a->ndim && order == 0 && a != b; i++) {
        order = compare_i64(a->shape[i], b->shape[i]);
        order = order != 0 ? order : compare_i64(a->stride[i], b->stride[i]);
    }
    return order;
}

/* --- walking ------------------------------------------------------------------------------------ */

static void flush(packer_t *packer)
{
    if (packer->used > 0) {
        packer->write(packer->context, packer->buffer, packer->used);
    }
    packer->used = 0;
}

/* Copying by a width that is known is one move. */
static void gather(unsigned char *to, const unsigned char *from, size_t count, size_t itemsize,
                   size_t step)
{
#define GATHER(width)                                                                              \
    case width:                                                                                    \
        for (size_t i = 0; i < count; i++) {                                                       \
            memcpy(to + i * (width), from + i * step, width);                                      \
        }                                                                                          \
        break;
    switch (itemsize) {
        GATHER(1)
        GATHER(2)
        GATHER(3)
        GATHER(4)
        GATHER(8)
        GATHER(16)
    default: abort(); /* a dtype of a new size needs a line above */
    }
#undef GATHER
}

/* Elements along the innermost axis. */
static void pack_row(packer_t *packer, const unsigned char *from, const axis_t *axis)
{
    size_t itemsize = packer->itemsize, left = (size_t)axis->size;
    size_t step = (size_t)axis->stride * itemsize;
    if (step == itemsize && left > BUFFER_SIZE / 2 / itemsize) {
        flush(packer);
        packer->write(packer->context, from, left * itemsize);
        return;
    }
    while (left > 0) {
        size_t room = (BUFFER_SIZE - packer->used) / itemsize;
        size_t count = left < room ? left : room;
        unsigned char *to = packer->buffer + packer->used;
        if (step == itemsize) {
            memcpy(to, from, count * itemsize);
        } else {
            gather(to, from, count, itemsize, step);
        }
        packer->used += count * itemsize;
        from += count * step;
        left -= count;
        if (left > 0) {
            flush(packer);
        }
    }
}

/* Goes to the next row: like an odometer, whose first digit is axis 1. False at the end. */
static bool next_row(const view_t *view, int64_t at[AXES_MAX], int64_t *offset)
{
    for (int i = 1; i < view->naxes; i++) {
        const axis_t *axis = &view->axes[i];
        if (++at[i] < axis->size) {
            *offset += axis->stride;
            return true;
        }
        at[i] = 0;
        *offset -= (axis->size - 1) * axis->stride;
    }
    return false;
}

static void pack_rows(packer_t *packer, const unsigned char *data, const view_t *view)
{
    int64_t at[AXES_MAX] = {0}, offset = 0;
    do {
        pack_row(packer, data + (size_t)offset * packer->itemsize, &view->axes[0]);
    } while (next_row(view, at, &offset));
    flush(packer);
}

lks_status_t lks_tensor_pack(const lks_tree_t *tree, const lks_value_tensor_t *tensor,
                             void (*write)(void *context, const void *data, size_t nbytes),
                             void *context)
{
    uint64_t nbytes;
    LKS_TRY(lks_tensor_packed_size(tensor, &nbytes));
    if (nbytes == 0) {
        return LKS_OK;
    }
    packer_t packer = {
        .write = write, .context = context, .itemsize = lks_dtype_size(tensor->dtype)};
    const unsigned char *data = lks_storage_data(lks_tree_storage(tree, tensor->storage)->storage);
    data += (size_t)tensor->offset * packer.itemsize;
    view_t view;
    view_of(tensor, &view);
    if (in_one_piece(&view)) {
        write(context, data, (size_t)nbytes);
    } else {
        pack_rows(&packer, data, &view);
    }
    return LKS_OK;
}
