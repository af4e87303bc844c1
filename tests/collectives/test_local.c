/* SPDX-License-Identifier: Apache-2.0 */
/* What collectives among threads compute. Every result is compared by its bits with a reference that reduces one
 * element after the other along the same tree; world sizes go beyond this machine's cores. */
#include "collectives/ranks.h"
#include "collectives/reduce.h"
#include "collectives/reference.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdlib.h>

static const int world_sizes[] = {1, 2, 3, 5, 8};
#define WORLD_SIZES (sizeof world_sizes / sizeof *world_sizes)

/* Nothing, one, a prime that is staged for every dtype, and one that is not for any. */
static const size_t counts[] = {0, 1, 61, 4099};
#define COUNTS (sizeof counts / sizeof *counts)

/* One collective to try; every rank derives its data from the seed. */
typedef struct trial {
    lks_dtype_t dtype;
    lks_reduce_op_t op;
    size_t count;
    uint64_t seed;
    bool in_place;
} trial_t;

static lks_status_t check_bytes(const void *got, const void *wanted, size_t nbytes,
                                const trial_t *trial, const char *what)
{
    RANK_CHECK(nbytes == 0 || memcmp(got, wanted, nbytes) == 0, "%s of %zu %s (%s)%s is wrong",
               what, trial->count, lks_dtype_name(trial->dtype), lks_reduce_op_name(trial->op),
               trial->in_place ? " in place" : "");
    return LKS_OK;
}

/* --- one trial of each collective --------------------------------------------------------------- */

static lks_status_t try_all_reduce(lks_comm_t *comm, const trial_t *t)
{
    size_t size = lks_dtype_size(t->dtype), nbytes = t->count * size;
    void *send = malloc(nbytes + 1), *wanted = malloc(nbytes + 1);
    void *recv = t->in_place ? send : malloc(nbytes + 1);
    rank_fill(t->dtype, t->seed, lks_comm_rank(comm), 0, t->count, send);
    for (size_t i = 0; i < t->count; i++) {
        rank_reduced(t->dtype, t->op, t->seed, lks_comm_world_size(comm), i,
                     (char *)wanted + i * size);
    }
    lks_status_t status;
    LKS_GOTO(lks_comm_all_reduce(comm, send, recv, t->count, t->dtype, t->op, NULL), free_all);
    status = check_bytes(recv, wanted, nbytes, t, "all_reduce");
free_all:
    if (recv != send) {
        free(recv);
    }
    free(send);
    free(wanted);
    return status;
}

static lks_status_t try_reduce_scatter(lks_comm_t *comm, const trial_t *t)
{
    size_t size = lks_dtype_size(t->dtype), nbytes = t->count * size;
    size_t ranks = (size_t)lks_comm_world_size(comm), rank = (size_t)lks_comm_rank(comm);
    char *send = malloc(ranks * nbytes + 1), *wanted = malloc(nbytes + 1);
    char *recv = t->in_place ? send + rank * nbytes : malloc(nbytes + 1);
    rank_fill(t->dtype, t->seed, (int)rank, 0, ranks * t->count, send);
    for (size_t i = 0; i < t->count; i++) {
        rank_reduced(t->dtype, t->op, t->seed, (int)ranks, rank * t->count + i, wanted + i * size);
    }
    lks_status_t status;
    LKS_GOTO(lks_comm_reduce_scatter(comm, send, recv, t->count, t->dtype, t->op, NULL), free_all);
    status = check_bytes(recv, wanted, nbytes, t, "reduce_scatter");
free_all:
    if (!t->in_place) {
        free(recv);
    }
    free(send);
    free(wanted);
    return status;
}

static lks_status_t try_all_gather(lks_comm_t *comm, const trial_t *t)
{
    size_t nbytes = t->count * lks_dtype_size(t->dtype);
    size_t ranks = (size_t)lks_comm_world_size(comm), rank = (size_t)lks_comm_rank(comm);
    char *recv = malloc(ranks * nbytes + 1), *wanted = malloc(ranks * nbytes + 1);
    char *send = t->in_place ? recv + rank * nbytes : malloc(nbytes + 1);
    rank_fill(t->dtype, t->seed, (int)rank, 0, t->count, send);
    for (size_t i = 0; i < ranks; i++) {
        rank_fill(t->dtype, t->seed, (int)i, 0, t->count, wanted + i * nbytes);
    }
    lks_status_t status;
    LKS_GOTO(lks_comm_all_gather(comm, send, recv, t->count, t->dtype, NULL), free_all);
    status = check_bytes(recv, wanted, ranks * nbytes, t, "all_gather");
free_all:
    if (!t->in_place) {
        free(send);
    }
    free(recv);
    free(wanted);
    return status;
}

/* From every root. */
static lks_status_t try_broadcast(lks_comm_t *comm, const trial_t *t)
{
    size_t nbytes = t->count * lks_dtype_size(t->dtype);
    void *buffer = malloc(nbytes + 1), *wanted = malloc(nbytes + 1);
    lks_status_t status = LKS_OK;
    for (int root = 0; root < lks_comm_world_size(comm) && status == LKS_OK; root++) {
        rank_fill(t->dtype, t->seed, lks_comm_rank(comm), 0, t->count, buffer);
        rank_fill(t->dtype, t->seed, root, 0, t->count, wanted);
        LKS_GOTO(lks_comm_broadcast(comm, buffer, t->count, t->dtype, root, NULL), free_all);
        status = check_bytes(buffer, wanted, nbytes, t, "broadcast");
    }
free_all:
    free(buffer);
    free(wanted);
    return status;
}

/* --- all of them -------------------------------------------------------------------------------- */

static lks_status_t reduce_every_dtype_and_op(lks_comm_t *comm, void *context)
{
    (void)context;
    for (int pair = 0; pair < LKS_DTYPE_COUNT * LKS_REDUCE_OP_COUNT; pair++) {
        trial_t trial = {.dtype = (lks_dtype_t)(pair / LKS_REDUCE_OP_COUNT),
                         .op = (lks_reduce_op_t)(pair % LKS_REDUCE_OP_COUNT)};
        if (!lks_reduce_supports(trial.dtype, trial.op)) {
            continue;
        }
        for (size_t variant = 0; variant < 2 * COUNTS; variant++) {
            trial.count = counts[variant / 2];
            trial.in_place = variant % 2;
            trial.seed = (uint64_t)pair * 100 + variant;
            LKS_TRY(try_all_reduce(comm, &trial));
            trial.count = counts[variant / 2] / 3;
            LKS_TRY(try_reduce_scatter(comm, &trial));
        }
    }
    return LKS_OK;
}

Test(local, reductions_of_every_dtype_and_op_equal_the_reference)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], reduce_every_dtype_and_op, NULL);
    }
}

static lks_status_t move_every_dtype(lks_comm_t *comm, void *context)
{
    (void)context;
    for (int dtype = 0; dtype < LKS_DTYPE_COUNT; dtype++) {
        for (size_t variant = 0; variant < 2 * COUNTS; variant++) {
            trial_t trial = {.dtype = (lks_dtype_t)dtype,
                             .count = counts[variant / 2],
                             .in_place = variant % 2,
                             .seed = (uint64_t)dtype * 100 + variant};
            LKS_TRY(try_broadcast(comm, &trial));
            LKS_TRY(try_all_gather(comm, &trial));
        }
    }
    return LKS_OK;
}

Test(local, broadcast_and_all_gather_move_every_dtype)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], move_every_dtype, NULL);
    }
}

/* Small integers in floats: their sum is exact in any order, so equality is the test. */
static lks_status_t reduce_a_million(lks_comm_t *comm, void *context)
{
    (void)context;
    enum { COUNT = 1000003 };
    float *data = malloc(COUNT * sizeof *data);
    int ranks = lks_comm_world_size(comm), wrong = 0;
    for (int i = 0; i < COUNT; i++) {
        data[i] = (float)(i % 1000 * (lks_comm_rank(comm) + 1));
    }
    lks_status_t status =
        lks_comm_all_reduce(comm, data, data, COUNT, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
    for (int i = 0; i < COUNT; i++) {
        wrong += data[i] != (float)(i % 1000 * (ranks * (ranks + 1) / 2));
    }
    free(data);
    RANK_CHECK(status != LKS_OK || wrong == 0, "%d elements of %d are wrong", wrong, COUNT);
    return status;
}

Test(local, a_million_elements_sum_exactly)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], reduce_a_million, NULL);
    }
}

/* The data of try_all_reduce would notice another order: summed backwards it has other bits. */
Test(local, the_reference_depends_on_the_order)
{
    int different = 0;
    for (size_t i = 0; i < 100; i++) {
        float forward, x, backward = 0;
        rank_reduced(LKS_DTYPE_F32, LKS_REDUCE_SUM, 1, 5, i, &forward);
        for (int rank = 4; rank >= 0; rank--) {
            rank_element(LKS_DTYPE_F32, 1, rank, i, &x);
            backward += x;
        }
        different += forward != backward;
    }
    cr_assert(different > 20);
}

/* Slices begin on cache lines: with few elements some ranks have none, and the last one has what is left. */
static lks_status_t reduce_counts_around_the_stage(lks_comm_t *comm, void *context)
{
    (void)context;
    for (size_t count = 1020; count < 1062; count++) {
        trial_t trial = {.dtype = LKS_DTYPE_F32, .count = count, .seed = count};
        LKS_TRY(try_all_reduce(comm, &trial));
        trial.dtype = LKS_DTYPE_C128;
        trial.count = count / 4; /* 4096 bytes are 256 of them */
        LKS_TRY(try_all_reduce(comm, &trial));
    }
    return LKS_OK;
}

Test(local, counts_around_the_limit_of_staging_are_right)
{
    run_ranks_ok(3, reduce_counts_around_the_stage, NULL);
    run_ranks_ok(8, reduce_counts_around_the_stage, NULL);
}

/* --- order and waiting -------------------------------------------------------------------------- */

/* The next one is the same on all ranks; the buffers of the last one are gone by then. */
static lks_status_t run_random_collectives(lks_comm_t *comm, void *context)
{
    uint64_t state = *(const uint64_t *)context;
    for (int i = 0; i < 200; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned bits = (unsigned)(state >> 32);
        trial_t trial = {.dtype = (lks_dtype_t)(bits % LKS_DTYPE_COUNT),
                         .op = (lks_reduce_op_t)(bits / 16 % LKS_REDUCE_OP_COUNT),
                         .count = bits / 256 % 2 ? bits / 512 % 40 : bits / 512 % 4000,
                         .in_place = bits >> 31,
                         .seed = state};
        if (!lks_reduce_supports(trial.dtype, trial.op)) {
            trial.op = LKS_REDUCE_SUM;
            trial.dtype = LKS_DTYPE_BF16;
        }
        switch (bits / 16384 % 5) {
        case 0: LKS_TRY(try_all_reduce(comm, &trial)); break;
        case 1: LKS_TRY(try_reduce_scatter(comm, &trial)); break;
        case 2: LKS_TRY(try_all_gather(comm, &trial)); break;
        case 3: LKS_TRY(try_broadcast(comm, &trial)); break;
        default: LKS_TRY(lks_comm_barrier(comm)); break;
        }
    }
    return LKS_OK;
}

Test(local, two_hundred_random_collectives_in_sequence)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], run_random_collectives, &(uint64_t){i});
    }
}

Test(local, ranks_that_spin_without_a_core_of_their_own_get_there)
{
    lks_error_t errors[RANKS_MAX];
    lks_comm_config_t config = lks_comm_config_default();
    config.cores = 64;
    run_ranks(8, &config, run_random_collectives, &(uint64_t){77}, errors);
    for (int i = 0; i < 8; i++) {
        cr_assert(errors[i].status == LKS_OK, "%s", errors[i].message);
    }
}

/* A small send buffer may be overwritten at once: nobody reads it any more. */
static lks_status_t reuse_a_buffer_at_once(lks_comm_t *comm, void *context)
{
    (void)context;
    int ranks = lks_comm_world_size(comm);
    for (int i = 0; i < 2000; i++) {
        int32_t x = i, sum = 0;
        LKS_TRY(lks_comm_all_reduce(comm, &x, &sum, 1, LKS_DTYPE_I32, LKS_REDUCE_SUM, NULL));
        x = -1000;
        RANK_CHECK(sum == i * ranks, "round %d has the sum %d", i, (int)sum);
    }
    return LKS_OK;
}

Test(local, a_buffer_may_be_reused_at_once)
{
    run_ranks_ok(3, reuse_a_buffer_at_once, NULL);
}

static lks_status_t count_arrivals(lks_comm_t *comm, void *context)
{
    _Atomic int *arrived = context;
    int ranks = lks_comm_world_size(comm);
    for (int round = 1; round <= 100; round++) {
        atomic_fetch_add(arrived, 1);
        LKS_TRY(lks_comm_barrier(comm));
        int seen = atomic_load(arrived);
        RANK_CHECK(seen >= round * ranks, "round %d: %d arrivals", round, seen);
        LKS_TRY(lks_comm_barrier(comm));
    }
    return LKS_OK;
}

Test(local, nobody_passes_a_barrier_early)
{
    _Atomic int arrived = 0;
    run_ranks_ok(5, count_arrivals, &arrived);
}

/* run_ranks destroys a rank's communicator as soon as its function returns: the others may still be waking up. */
static lks_status_t reduce_once(lks_comm_t *comm, void *context)
{
    trial_t trial = {.dtype = LKS_DTYPE_F32, .count = *(const size_t *)context, .in_place = true};
    return try_all_reduce(comm, &trial);
}

Test(local, destroying_after_the_last_collective_disturbs_nobody)
{
    for (int i = 0; i < 100; i++) {
        run_ranks_ok(3, reduce_once, &(size_t){10});
        run_ranks_ok(3, reduce_once, &(size_t){1100});
    }
}
