/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.c - see scratch.h. */
#include "runtime/kernels/scratch.h"

#include "core/checked.h"

#include <inttypes.h>

#define ALIGN ((size_t)64)
#define BLOCK_MIN ((size_t)64 << 10)

void lks_scratch_init(lks_scratch_t *scratch, lks_device_t *device)
{
    *scratch = (lks_scratch_t){.device = device};
}

static void release_blocks(lks_scratch_t *scratch)
{
    for (size_t i = 0; i < scratch->count; i++) {
        lks_storage_release(scratch->blocks[i]);
    }
    scratch->count = 0;
}

void lks_scratch_fini(lks_scratch_t *scratch)
{
    release_blocks(scratch);
    *scratch = (lks_scratch_t){0};
}

static lks_status_t add_block(lks_scratch_t *scratch, size_t nbytes)
{
    size_t size = nbytes > BLOCK_MIN ? nbytes : BLOCK_MIN;
    size = size > scratch->total ? size : scratch->total;
    size_t total = 0;
    if (scratch->count > 0 && !lks_add_size(scratch->total, size, &total)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "scratch of more than 2^64 bytes");
    }
    lks_storage_t *block;
    LKS_TRY(lks_storage_create(scratch->device, size, &block));
    scratch->total = scratch->count > 0 ? total : size;
    scratch->blocks[scratch->count++] = block;
    scratch->used = 0;
    return LKS_OK;
}

/* Bytes of a tensor, rounded up so that the next one is aligned. */
static lks_status_t rounded_nbytes(lks_dtype_t dtype, int ndim, const int64_t *shape, size_t *out)
{
    int64_t numel;
    LKS_TRY(lks_shape_numel(ndim, shape, &numel));
    size_t nbytes;
    if (lks_dtype_size(dtype) == 0 ||
        !lks_mul_size((size_t)numel, lks_dtype_size(dtype), &nbytes) ||
        !lks_add_size(nbytes, ALIGN - 1, &nbytes)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "scratch of %" PRId64 " elements of %s is too large",
                        numel, lks_dtype_name(dtype));
    }
    *out = nbytes & ~(ALIGN - 1);
    return LKS_OK;
}

lks_status_t lks_scratch_tensor(lks_scratch_t *scratch, lks_dtype_t dtype, int ndim,
                                const int64_t *shape, lks_tensor_t *out)
{
    size_t nbytes;
    LKS_TRY(rounded_nbytes(dtype, ndim, shape, &nbytes));
    lks_storage_t *block = scratch->count > 0 ? scratch->blocks[scratch->count - 1] : NULL;
    if (!block || nbytes > lks_storage_nbytes(block) - scratch->used) {
        LKS_TRY(add_block(scratch, nbytes));
        block = scratch->blocks[scratch->count - 1];
    }
    int64_t offset = (int64_t)(scratch->used / lks_dtype_size(dtype));
    LKS_TRY(lks_tensor_view(block, dtype, offset, ndim, shape, NULL, out));
    scratch->used += nbytes;
    return LKS_OK;
}

void lks_scratch_reset(lks_scratch_t *scratch)
{
    scratch->used = 0;
    if (scratch->count > 1) {
        release_blocks(scratch); /* the next block will be as large as all of them */
    }
}
