/* SPDX-License-Identifier: Apache-2.0 */
/* extent.c - see extent.h. */
#include "serialize/extent.h"
#include "core/checked.h"
#include "core/parallel.h"
#include "serialize/crc32.h"

#include <stdlib.h>

/* A thread costs some 50 us: it must have that much to do. */
#define BYTES_PER_THREAD ((size_t)2 << 20)

typedef struct block {
    size_t extent, at, nbytes;
    uint32_t crc;
} block_t;

typedef struct pass {
    lks_extent_t *extents;
    block_t *blocks; /* in the order of the extents */
    size_t count;
    lks_extent_visit_t *visit;
    void *context;
} pass_t;

static uint32_t checksum(void *context, const lks_extent_t *extent, size_t at, size_t nbytes)
{
    (void)context;
    return lks_crc32(0, extent->data + at, nbytes);
}

static size_t block_count(size_t nbytes)
{
    return nbytes / LKS_EXTENT_BLOCK + (nbytes % LKS_EXTENT_BLOCK > 0);
}

/* Equal blocks, so that none of the threads is left with a large one at the end. */
static void cut(pass_t *pass, size_t index)
{
    size_t nbytes = pass->extents[index].nbytes, blocks = block_count(nbytes);
    for (size_t i = 0, at = 0; i < blocks; i++) {
        size_t length = (nbytes - at) / (blocks - i);
        pass->blocks[pass->count++] = (block_t){.extent = index, .at = at, .nbytes = length};
        at += length;
    }
}

static void run_block(void *context, size_t index)
{
    const pass_t *pass = context;
    block_t *block = &pass->blocks[index];
    block->crc =
        pass->visit(pass->context, &pass->extents[block->extent], block->at, block->nbytes);
}

static void join_blocks(const pass_t *pass, size_t extents)
{
    for (size_t i = 0; i < extents; i++) {
        pass->extents[i].crc = 0;
    }
    for (size_t i = 0; i < pass->count; i++) {
        const block_t *block = &pass->blocks[i];
        uint32_t *crc = &pass->extents[block->extent].crc;
        *crc = block->at > 0 ? lks_crc32_join(*crc, block->crc, block->nbytes) : block->crc;
    }
}

static size_t thread_count(size_t wanted, size_t nbytes)
{
    size_t useful = nbytes / BYTES_PER_THREAD;
    size_t threads = wanted > 0 ? wanted : lks_allowed_cores();
    return useful < 2 ? 1 : threads < useful ? threads : useful;
}

lks_status_t lks_extents_pass(lks_extent_t *extents, size_t count, size_t threads,
                              lks_extent_visit_t *visit, void *context)
{
    size_t blocks = 0, total = 0, nbytes;
    for (size_t i = 0; i < count; i++) {
        blocks += block_count(extents[i].nbytes);
        total += extents[i].nbytes < SIZE_MAX - total ? extents[i].nbytes : SIZE_MAX - total;
    }
    pass_t pass = {.extents = extents, .visit = visit ? visit : checksum, .context = context};
    pass.blocks = lks_mul_size(blocks + 1, sizeof *pass.blocks, &nbytes) ? malloc(nbytes) : NULL;
    if (!pass.blocks) {
        return lks_fail(LKS_ERR_NO_MEMORY, "%zu blocks of bytes: out of memory", blocks);
    }
    for (size_t i = 0; i < count; i++) {
        cut(&pass, i);
    }
    lks_parallel_for(thread_count(threads, total), pass.count, run_block, &pass);
    join_blocks(&pass, count);
    free(pass.blocks);
    return LKS_OK;
}
