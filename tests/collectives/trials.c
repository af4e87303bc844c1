/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/trials.h"

#include "collectives/reduce.h"
#include "collectives/reference.h"

#include <stdlib.h>
#include <string.h>

/* Nothing, one, a prime that is staged for every dtype, and one that is not for any. */
static const size_t counts[] = {0, 1, 61, 4099};
#define COUNTS (sizeof counts / sizeof *counts)

static lks_status_t check_bytes(const void *got, const void *wanted, size_t nbytes,
                                const trial_t *trial, const char *what)
{
    RANK_CHECK(nbytes == 0 || memcmp(got, wanted, nbytes) == 0, "%s of %zu %s (%s)%s is wrong",
               what, trial->count, lks_dtype_name(trial->dtype), lks_reduce_op_name(trial->op),
               trial->in_place ? " in place" : "");
    return LKS_OK;
}

/* --- one trial of each collective --------------------------------------------------------------- */

lks_status_t try_all_reduce(lks_comm_t *comm, const trial_t *t)
{
    size_t size = lks_dtype_size(t->dtype), nbytes = t->count * size;
    void *own = malloc(nbytes + 1), *wanted = malloc(nbytes + 1);
    void *send = t->memory ? t->memory : own, *recv = t->in_place ? send : malloc(nbytes + 1);
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
    free(own);
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

lks_status_t reduce_every_dtype_and_op(lks_comm_t *comm, void *context)
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

lks_status_t move_every_dtype(lks_comm_t *comm, void *context)
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

/* Small integers in floats: their sum is exact in any order, so equality is the test. */
lks_status_t reduce_a_million(lks_comm_t *comm, void *context)
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

/* Slices begin on cache lines: with few elements some ranks have none, and the last one has what is left. */
lks_status_t reduce_counts_around_the_stage(lks_comm_t *comm, void *context)
{
    (void)context;
    for (size_t count = 508; count < 550; count++) {
        trial_t trial = {.dtype = LKS_DTYPE_F32, .count = count, .seed = count};
        LKS_TRY(try_all_reduce(comm, &trial));
        trial.dtype = LKS_DTYPE_C128;
        trial.count = count / 4; /* 2048 bytes are 128 of them */
        LKS_TRY(try_all_reduce(comm, &trial));
    }
    return LKS_OK;
}

/* The next one is the same on all ranks; the buffers of the last one are gone by then. */
lks_status_t run_random_collectives(lks_comm_t *comm, void *context)
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

/* A small send buffer may be overwritten at once: nobody reads it any more. */
lks_status_t reuse_a_buffer_at_once(lks_comm_t *comm, void *context)
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
