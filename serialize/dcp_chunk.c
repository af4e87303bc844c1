/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_chunk.c - see dcp_chunk.h.
 * Comparing every chunk with every other takes too long where there are many. Instead: if each point that is a corner
 * of an odd number of chunks is a corner of the tensor, and the other way round, then every element is in an odd
 * number of chunks; and if moreover the chunks have as many elements as the tensor, that number is one. Sets of points
 * are compared by the sum (exclusive or) of their hashes, seeded per process. (Nothing but this message depends on it:
 * every chunk is checked to lie within its tensor.) */
#include "serialize/dcp_chunk.h"
#include "core/checked.h"
#include "serialize/hashmap.h"

#include <string.h>

/* Dimensions along which the tensor is cut; others add nothing to what is compared. */
typedef struct cuts {
    int dims[LKS_DCP_CUTS_MAX];
    int count;
} cuts_t;

static bool is_cut(const lks_dcp_item_t *item, int dim)
{
    for (size_t i = 0; i < item->count; i++) {
        if (item->chunks[i].sizes[dim] != item->size[dim]) {
            return true;
        }
    }
    return false;
}

static lks_status_t find_cuts(const lks_dcp_item_t *item, cuts_t *cuts)
{
    cuts->count = 0;
    for (int dim = 0; dim < item->ndim; dim++) {
        if (!is_cut(item, dim)) {
            continue;
        }
        if (cuts->count == LKS_DCP_CUTS_MAX) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "it is cut along more than %d dimensions",
                            LKS_DCP_CUTS_MAX);
        }
        cuts->dims[cuts->count++] = dim;
    }
    return LKS_OK;
}

/* The hashes of all corners of a box. Bit i of `corner` says which end along cut i. */
static uint64_t corners(const cuts_t *cuts, const int64_t *offsets, const int64_t *sizes)
{
    uint64_t sum = 0;
    for (unsigned corner = 0; corner < 1u << cuts->count; corner++) {
        uint64_t hash = lks_hash_seed();
        for (int i = 0; i < cuts->count; i++) {
            int dim = cuts->dims[i];
            int64_t low = offsets ? offsets[dim] : 0;
            uint64_t at = (uint64_t)(low + (corner >> i & 1 ? sizes[dim] : 0));
            hash = lks_mix64(hash ^ lks_mix64(at + (uint64_t)i));
        }
        sum ^= hash;
    }
    return sum;
}

static lks_status_t check_inside(const lks_dcp_item_t *item, const lks_dcp_chunk_t *chunk)
{
    for (int dim = 0; dim < item->ndim; dim++) {
        int64_t end;
        if (!lks_add_i64(chunk->offsets[dim], chunk->sizes[dim], &end) || end > item->size[dim]) {
            return lks_fail(LKS_ERR_FORMAT, "a chunk lies outside of the tensor along dimension %d",
                            dim);
        }
    }
    return LKS_OK;
}

lks_status_t lks_dcp_check_tiles(const lks_dcp_item_t *item)
{
    int64_t total = 0, numel, whole;
    uint64_t sum = 0;
    cuts_t cuts;
    LKS_TRY(find_cuts(item, &cuts));
    for (size_t i = 0; i < item->count; i++) {
        const lks_dcp_chunk_t *chunk = &item->chunks[i];
        LKS_TRY(check_inside(item, chunk));
        LKS_TRY(lks_shape_numel(item->ndim, chunk->sizes, &numel));
        if (!lks_add_i64(total, numel, &total)) {
            return lks_fail(LKS_ERR_FORMAT, "its chunks have more than 2^63 elements");
        }
        sum ^= corners(&cuts, chunk->offsets, chunk->sizes);
    }
    LKS_TRY(lks_shape_numel(item->ndim, item->size, &whole));
    if (total != whole) {
        return lks_fail(LKS_ERR_FORMAT, "its chunks have %lld elements, the tensor has %lld",
                        (long long)total, (long long)whole);
    }
    if (whole > 0 && sum != corners(&cuts, NULL, item->size)) {
        return lks_fail(LKS_ERR_FORMAT, "its chunks overlap and leave holes");
    }
    return LKS_OK;
}

/* --- putting together --------------------------------------------------------------------------- */

lks_dcp_scatter_t lks_dcp_scatter_to(void *whole, const lks_dcp_item_t *item,
                                     const lks_dcp_chunk_t *chunk)
{
    lks_dcp_scatter_t scatter = {.whole = whole,
                                 .item = item,
                                 .chunk = chunk,
                                 .outer = item->ndim,
                                 .run_nbytes = lks_dtype_size(item->dtype)};
    bool full = true; /* along all dimensions below */
    while (full && scatter.outer > 0) {
        int dim = --scatter.outer;
        scatter.run_nbytes *= (size_t)chunk->sizes[dim];
        full = chunk->sizes[dim] == item->size[dim];
    }
    return scatter;
}

/* Where run number `run` begins in the whole, in bytes. */
static size_t run_start(const lks_dcp_scatter_t *scatter, size_t run)
{
    const lks_dcp_item_t *item = scatter->item;
    const lks_dcp_chunk_t *chunk = scatter->chunk;
    size_t start = 0, stride = lks_dtype_size(item->dtype);
    for (int dim = item->ndim - 1; dim >= 0; dim--) {
        size_t at = (size_t)chunk->offsets[dim];
        if (dim < scatter->outer) {
            at += run % (size_t)chunk->sizes[dim];
            run /= (size_t)chunk->sizes[dim];
        }
        start += at * stride;
        stride *= (size_t)item->size[dim];
    }
    return start;
}

void lks_dcp_scatter_write(void *context, const void *data, size_t nbytes)
{
    lks_dcp_scatter_t *scatter = context;
    const unsigned char *from = data;
    while (nbytes > 0) {
        size_t in_run = scatter->done % scatter->run_nbytes;
        size_t start = run_start(scatter, scatter->done / scatter->run_nbytes);
        size_t count =
            scatter->run_nbytes - in_run < nbytes ? scatter->run_nbytes - in_run : nbytes;
        memcpy(scatter->whole + start + in_run, from, count);
        scatter->done += count;
        from += count;
        nbytes -= count;
    }
}
