/* SPDX-License-Identifier: Apache-2.0 */
/* test_rng.c - Philox against the published vectors, and the sequence on top of it. */
#include "core/rng.h"
#include "support/support.h"

#include <stdbool.h>

/* Random123 1.14, tests/kat_vectors, "philox4x32 10" */
Test(rng, philox_gives_the_known_answers_of_random123)
{
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        uint32_t out[4];
        lks_philox((uint64_t)vectors[i].key[1] << 32 | vectors[i].key[0], vectors[i].counter, out);
        cr_assert_arr_eq(out, vectors[i].out, sizeof out, "vector %zu", i);
    }
}

Test(rng, sequence_is_the_words_of_counter_block_and_stream)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 0x0123456789abcdef, 0xfedcba9876543210);
    for (uint32_t block = 0; block < 3; block++) {
        uint32_t words[4];
        lks_philox(0x0123456789abcdef, (uint32_t[]){block, 0, 0x76543210, 0xfedcba98}, words);
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(lks_rng_u32(&rng), words[i]);
        }
    }
}

Test(rng, block_number_carries_into_its_upper_word)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 7, 0);
    rng.block = 0xffffffff;
    for (int i = 0; i < 4; i++) {
        (void)lks_rng_u32(&rng);
    }
    uint32_t words[4];
    lks_philox(7, (uint32_t[]){0, 1, 0, 0}, words);
    cr_assert_eq(lks_rng_u32(&rng), words[0]);
}

Test(rng, u64_takes_the_lower_word_first)
{
    lks_rng_t a, b;
    lks_rng_init(&a, 1, 2);
    lks_rng_init(&b, 1, 2);
    uint64_t low = lks_rng_u32(&a), high = lks_rng_u32(&a);
    cr_assert_eq(lks_rng_u64(&b), high << 32 | low);
}

Test(rng, streams_and_seeds_differ)
{
    lks_rng_t a, b, c;
    lks_rng_init(&a, 1, LKS_STREAM_INIT);
    lks_rng_init(&b, 1, LKS_STREAM_SAMPLER);
    lks_rng_init(&c, 2, LKS_STREAM_INIT);
    uint64_t x = lks_rng_u64(&a), y = lks_rng_u64(&b), z = lks_rng_u64(&c);
    cr_assert(x != y && x != z && y != z);
}

Test(rng, uniform_is_in_the_half_open_unit_interval)
{
    cr_assert_eq(lks_uniform_f32(0), 0.0f);
    cr_assert_eq(lks_uniform_f32(0xff), 0.0f);
    cr_assert_eq(lks_uniform_f32(0x100), 0x1p-24f);
    cr_assert_eq(lks_uniform_f32(0x80000000u), 0.5f);
    cr_assert_eq(lks_uniform_f32(0xffffffffu), 1.0f - 0x1p-24f);
}

Test(rng, below_one_is_zero)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 3, 3);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(lks_rng_below(&rng, 1), 0);
    }
}

Test(rng, below_is_even_over_a_small_bound)
{
    enum { BOUND = 7, DRAWS = 70000 };
    int seen[BOUND] = {0};
    lks_rng_t rng;
    lks_rng_init(&rng, 11, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t draw = lks_rng_below(&rng, BOUND);
        cr_assert_lt(draw, BOUND);
        seen[draw]++;
    }
    double chi2 = 0; /* 6 degrees of freedom: above 22.5 once in a thousand seeds */
    for (int i = 0; i < BOUND; i++) {
        double off = seen[i] - DRAWS / BOUND;
        chi2 += off * off / (DRAWS / BOUND);
    }
    cr_assert_lt(chi2, 22.5);
}

/* With this bound a draw without rejection would fall on multiples of 3 half as often again. */
Test(rng, below_rejects_the_surplus_of_a_large_bound)
{
    const uint64_t bound = 0xC000000000000000u; /* 3/4 of 2^64 */
    int residue[3] = {0};
    lks_rng_t rng;
    lks_rng_init(&rng, 5, 0);
    for (int i = 0; i < 30000; i++) {
        uint64_t draw = lks_rng_below(&rng, bound);
        cr_assert_lt(draw, bound);
        residue[draw % 3]++;
    }
    for (int i = 0; i < 3; i++) { /* 10000 +- 82 */
        cr_assert(residue[i] > 9600 && residue[i] < 10400, "residue %d: %d", i, residue[i]);
    }
}

Test(rng, shuffle_is_a_permutation_fixed_by_seed)
{
    enum { COUNT = 1000 };
    int64_t a[COUNT], b[COUNT];
    bool seen[COUNT] = {false};
    for (int i = 0; i < COUNT; i++) {
        a[i] = b[i] = i;
    }
    lks_rng_t rng;
    lks_rng_init(&rng, 42, LKS_STREAM_SAMPLER);
    lks_rng_shuffle(&rng, a, COUNT);
    lks_rng_init(&rng, 42, LKS_STREAM_SAMPLER);
    lks_rng_shuffle(&rng, b, COUNT);
    cr_assert_arr_eq(a, b, sizeof a);
    int moved = 0;
    for (int i = 0; i < COUNT; i++) {
        cr_assert(a[i] >= 0 && a[i] < COUNT && !seen[a[i]]);
        seen[a[i]] = true;
        moved += a[i] != i;
    }
    cr_assert_gt(moved, COUNT / 2);
}

/* All 6 orders of 3 items come equally often. */
Test(rng, shuffle_is_even_over_orders)
{
    int seen[27] = {0};
    lks_rng_t rng;
    lks_rng_init(&rng, 9, 0);
    for (int i = 0; i < 60000; i++) {
        int64_t items[3] = {0, 1, 2};
        lks_rng_shuffle(&rng, items, 3);
        seen[items[0] * 9 + items[1] * 3 + items[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        if (seen[i] > 0) {
            orders++;
            cr_assert(seen[i] > 9600 && seen[i] < 10400, "order %d: %d", i, seen[i]);
        }
    }
    cr_assert_eq(orders, 6);
}

Test(rng, shuffle_of_nothing_and_of_one_draws_nothing)
{
    lks_rng_t rng, untouched;
    lks_rng_init(&rng, 1, 1);
    untouched = rng;
    int64_t one = 5;
    lks_rng_shuffle(&rng, NULL, 0);
    lks_rng_shuffle(&rng, &one, 1);
    cr_assert_eq(one, 5);
    cr_assert_eq(rng.block, untouched.block);
}
