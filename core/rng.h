/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h - Philox4x32-10: random numbers as a pure function of (key, counter).
 * Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; test vectors of Random123.
 * Counter-based, so that any thread or rank can compute any number of any sequence: nothing is shared,
 * nothing has to be saved but the position. */
#ifndef LOCKSTEP_CORE_RNG_H
#define LOCKSTEP_CORE_RNG_H

#include <stdint.h>

/** Four random words of a 64-bit key and a 128-bit counter. */
void lks_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]);

/** A uniform float32 in [0, 1): the upper 24 bits x 2^-24. */
static inline float lks_uniform_f32(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/** A sequence: words in order of counter (block, stream). `stream` separates uses of one seed. */
typedef struct lks_rng {
    uint64_t seed, stream, block;
    uint32_t words[4];
    int left; /* words not yet used */
} lks_rng_t;

/** Streams in use; one number per purpose, so that no two purposes share numbers. Dropout draws at counters
 *  (step, layer, sample, element / 4) of its own: a layer is at least 1, where a sequence's counter, the upper half of a
 *  block number, is 0. */
typedef enum {
    LKS_STREAM_INIT = 1, /* initial parameters */
    LKS_STREAM_SAMPLER,  /* + epoch, in the upper 32 bits */
    LKS_STREAM_SPLIT,    /* training and validation */
    LKS_STREAM_POWER_SGD /* + step, in the upper 32 bits */
} lks_stream_id_t;

void lks_rng_init(lks_rng_t *rng, uint64_t seed, uint64_t stream);
uint32_t lks_rng_u32(lks_rng_t *rng);
uint64_t lks_rng_u64(lks_rng_t *rng);

/** Uniform in [0, bound), without bias (Lemire's method); bound > 0. */
uint64_t lks_rng_below(lks_rng_t *rng, uint64_t bound);

/** Fisher-Yates. */
void lks_rng_shuffle(lks_rng_t *rng, int64_t *items, int64_t count);

#endif
