/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_sampler.c - properties of the division of samples, over many sizes. */
#include "support/support.h"

#include <lockstep/data.h>
#include <stdlib.h>

static lks_sampler_t make(int64_t count, int64_t batch_size, bool shuffle, uint64_t seed)
{
    lks_sampler_t sampler;
    assert_ok(lks_sampler_init(&sampler, count, batch_size, shuffle, seed));
    return sampler;
}

static void assert_permutation(const int64_t *order, int64_t count)
{
    bool *seen = calloc((size_t)count, sizeof *seen);
    cr_assert(seen);
    for (int64_t i = 0; i < count; i++) {
        cr_assert(order[i] >= 0 && order[i] < count && !seen[order[i]]);
        seen[order[i]] = true;
    }
    free(seen);
}

static const int64_t counts[] = {1, 2, 3, 7, 10, 64, 149, 150, 1000};
static const int64_t batch_sizes[] = {1, 2, 3, 8, 50, 64, 150, 1000, INT64_MAX};
static const int worlds[] = {1, 2, 3, 4, 7, 8, 64};

/* The parts of one step, one behind the other, are the global batch at `start` of the order. */
static int64_t assert_step(const lks_sampler_t *sampler, int64_t step, int world, int64_t start)
{
    int64_t size = lks_sampler_part(sampler, step, 0, world).global_count, at = 0;
    int64_t previous = INT64_MAX;
    for (int rank = 0; rank < world; rank++) {
        lks_batch_part_t part = lks_sampler_part(sampler, step, rank, world);
        cr_assert_eq(part.global_count, size);
        cr_assert_eq(part.first, at);
        cr_assert(part.indices == sampler->order + start + at);
        cr_assert(part.count == size / world || part.count == size / world + 1);
        cr_assert(part.count <= previous, "larger parts come first");
        previous = part.count;
        at += part.count;
    }
    cr_assert_eq(at, size);
    return size;
}

Test(data_sampler, parts_are_disjoint_and_cover_every_global_batch)
{
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t b = 0; b < sizeof batch_sizes / sizeof *batch_sizes; b++) {
            lks_sampler_t sampler = make(counts[c], batch_sizes[b], true, 5);
            int64_t steps = lks_sampler_steps(&sampler);
            for (size_t w = 0; w < sizeof worlds / sizeof *worlds; w++) {
                int64_t start = 0;
                for (int64_t step = 0; step < steps; step++) {
                    cr_assert(start < counts[c]);
                    int64_t size = assert_step(&sampler, step, worlds[w], start);
                    cr_assert(size == batch_sizes[b] || step == steps - 1);
                    start += size;
                }
                cr_assert_eq(start, counts[c]);
            }
            lks_sampler_fini(&sampler);
        }
    }
}

Test(data_sampler, every_epoch_is_another_permutation)
{
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        lks_sampler_t sampler = make(counts[c], 4, true, 9);
        int64_t *previous = calloc((size_t)counts[c], sizeof *previous);
        cr_assert(previous);
        for (int64_t epoch = 0; epoch < 20; epoch++) {
            lks_sampler_set_epoch(&sampler, epoch);
            cr_assert_eq(sampler.epoch, epoch);
            assert_permutation(sampler.order, counts[c]);
            size_t nbytes = (size_t)counts[c] * sizeof *previous;
            cr_assert(counts[c] < 10 || memcmp(sampler.order, previous, nbytes) != 0);
            memcpy(previous, sampler.order, nbytes);
        }
        free(previous);
        lks_sampler_fini(&sampler);
    }
}

Test(data_sampler, seed_and_epoch_alone_give_the_order)
{
    lks_sampler_t a = make(50, 7, true, 3), b = make(50, 20, true, 3), c = make(50, 7, true, 4);
    cr_assert_eq(memcmp(a.order, b.order, 50 * sizeof(int64_t)), 0);
    cr_assert_neq(memcmp(a.order, c.order, 50 * sizeof(int64_t)), 0);
    lks_sampler_set_epoch(&a, 1);
    lks_sampler_set_epoch(&a, 17);
    lks_sampler_set_epoch(&b, 17);
    cr_assert_eq(memcmp(a.order, b.order, 50 * sizeof(int64_t)), 0);
    lks_sampler_set_epoch(&a, 0);
    lks_sampler_set_epoch(&b, 0);
    cr_assert_eq(memcmp(a.order, b.order, 50 * sizeof(int64_t)), 0);
    lks_sampler_fini(&a);
    lks_sampler_fini(&b);
    lks_sampler_fini(&c);
}

/* A checkpoint stores seed and epoch only: another version must draw the same orders. */
Test(data_sampler, the_orders_of_seed_42_do_not_change)
{
    static const int64_t orders[2][8] = {{2, 6, 0, 1, 3, 5, 7, 4}, {1, 2, 6, 5, 4, 3, 7, 0}};
    lks_sampler_t sampler = make(8, 2, true, 42);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        lks_sampler_set_epoch(&sampler, epoch);
        for (int i = 0; i < 8; i++) {
            cr_assert_eq(sampler.order[i], orders[epoch][i], "epoch %lld, %d: %lld",
                         (long long)epoch, i, (long long)sampler.order[i]);
        }
    }
    lks_sampler_fini(&sampler);
}

Test(data_sampler, without_shuffling_the_order_is_the_files)
{
    lks_sampler_t sampler = make(100, 30, false, 1);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        lks_sampler_set_epoch(&sampler, epoch);
        for (int64_t i = 0; i < 100; i++) {
            cr_assert_eq(sampler.order[i], i);
        }
    }
    cr_assert_eq(lks_sampler_steps(&sampler), 4);
    lks_sampler_fini(&sampler);
}

Test(data_sampler, a_shuffle_favours_no_sample)
{
    int64_t first[10] = {0};
    lks_sampler_t sampler = make(10, 10, true, 0);
    for (int64_t epoch = 0; epoch < 5000; epoch++) {
        lks_sampler_set_epoch(&sampler, epoch);
        first[sampler.order[0]]++;
    }
    for (int i = 0; i < 10; i++) { /* 500 expected, standard deviation 21 */
        cr_assert(first[i] > 390 && first[i] < 610, "%d: %lld", i, (long long)first[i]);
    }
    lks_sampler_fini(&sampler);
}

Test(data_sampler, impossible_sizes_are_refused)
{
    lks_sampler_t sampler = {.count = -7};
    assert_fails(lks_sampler_init(&sampler, 0, 1, true, 0), LKS_ERR_INVALID_ARG, "0 samples");
    assert_fails(lks_sampler_init(&sampler, 1, 0, true, 0), LKS_ERR_INVALID_ARG, "batches of 0");
    assert_fails(lks_sampler_init(&sampler, -1, 1, true, 0), LKS_ERR_INVALID_ARG, "-1 samples");
    assert_fails(lks_sampler_init(&sampler, INT64_MAX, 1, true, 0), LKS_ERR_NO_MEMORY,
                 "out of memory");
    cr_assert_eq(sampler.count, -7);
}
