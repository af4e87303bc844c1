/* SPDX-License-Identifier: Apache-2.0 */
/* sampler.c - an epoch is a shuffle that starts afresh from 0..count-1, so that epoch and seed alone give it. */
#include "core/checked.h"
#include "core/rng.h"

#include <assert.h>
#include <lockstep/data.h>
#include <stdlib.h>

lks_status_t lks_sampler_init(lks_sampler_t *sampler, int64_t count, int64_t batch_size,
                              bool shuffle, uint64_t seed)
{
    if (count < 1 || batch_size < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "sampler: %lld samples in batches of %lld; both must be at least 1",
                        (long long)count, (long long)batch_size);
    }
    size_t nbytes;
    int64_t *order = lks_mul_size((size_t)count, sizeof *order, &nbytes) ? malloc(nbytes) : NULL;
    if (!order) {
        return lks_fail(LKS_ERR_NO_MEMORY, "sampler: out of memory for %lld samples",
                        (long long)count);
    }
    *sampler = (lks_sampler_t){
        .count = count,
        .batch_size = batch_size,
        .seed = seed,
        .shuffle = shuffle,
        .order = order,
    };
    lks_sampler_set_epoch(sampler, 0);
    return LKS_OK;
}

void lks_sampler_fini(lks_sampler_t *sampler)
{
    free(sampler->order);
    *sampler = (lks_sampler_t){0};
}

void lks_sampler_set_epoch(lks_sampler_t *sampler, int64_t epoch)
{
    sampler->epoch = epoch;
    for (int64_t i = 0; i < sampler->count; i++) {
        sampler->order[i] = i;
    }
    if (sampler->shuffle) {
        lks_rng_t rng;
        lks_rng_init(&rng, sampler->seed, (uint64_t)epoch << 32 | LKS_STREAM_SAMPLER);
        lks_rng_shuffle(&rng, sampler->order, sampler->count);
    }
}

int64_t lks_sampler_steps(const lks_sampler_t *sampler)
{
    return (sampler->count - 1) / sampler->batch_size + 1; /* a sum could overflow */
}

lks_batch_part_t lks_sampler_part(const lks_sampler_t *sampler, int64_t step, int rank,
                                  int world_size)
{
    assert(step >= 0 && step < lks_sampler_steps(sampler));
    assert(rank >= 0 && rank < world_size);
    int64_t start = step * sampler->batch_size, left = sampler->count - start;
    int64_t size = left < sampler->batch_size ? left : sampler->batch_size;
    int64_t share = size / world_size, larger = size % world_size;
    int64_t first = rank * share + (rank < larger ? rank : larger);
    return (lks_batch_part_t){
        .indices = sampler->order + start + first,
        .count = share + (rank < larger),
        .first = first,
        .global_count = size,
    };
}
