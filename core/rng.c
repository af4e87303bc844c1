/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c - Philox4x32-10, and a sequence on top of it. */
#include "core/rng.h"

#define PHILOX_ROUNDS 10
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u /* golden ratio */
#define PHILOX_W1 0xBB67AE85u /* sqrt(3) - 1 */

void lks_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

void lks_rng_init(lks_rng_t *rng, uint64_t seed, uint64_t stream)
{
    *rng = (lks_rng_t){.seed = seed, .stream = stream};
}

uint32_t lks_rng_u32(lks_rng_t *rng)
{
    if (rng->left == 0) {
        const uint32_t counter[4] = {(uint32_t)rng->block, (uint32_t)(rng->block >> 32),
                                     (uint32_t)rng->stream, (uint32_t)(rng->stream >> 32)};
        lks_philox(rng->seed, counter, rng->words);
        rng->block++;
        rng->left = 4;
    }
    return rng->words[4 - rng->left--];
}

uint64_t lks_rng_u64(lks_rng_t *rng)
{
    uint64_t low = lks_rng_u32(rng); /* two statements: C leaves the order of operands open */
    return (uint64_t)lks_rng_u32(rng) << 32 | low;
}

/* The upper 64 bits of a x b; the lower ones in *low. */
static uint64_t multiply_high(uint64_t a, uint64_t b, uint64_t *low)
{
    __extension__ typedef unsigned __int128 wide_t;
    wide_t product = (wide_t)a * b;
    *low = (uint64_t)product;
    return (uint64_t)(product >> 64);
}

uint64_t lks_rng_below(lks_rng_t *rng, uint64_t bound)
{
    uint64_t low;
    uint64_t result = multiply_high(lks_rng_u64(rng), bound, &low);
    if (low < bound) { /* only then can the draw be one of the 2^64 mod bound too many */
        uint64_t surplus = -bound % bound;
        while (low < surplus) {
            result = multiply_high(lks_rng_u64(rng), bound, &low);
        }
    }
    return result;
}

void lks_rng_shuffle(lks_rng_t *rng, int64_t *items, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)lks_rng_below(rng, (uint64_t)i + 1);
        int64_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}
