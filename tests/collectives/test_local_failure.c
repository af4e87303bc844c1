/* SPDX-License-Identifier: Apache-2.0 */
/* How collectives among threads end when something is wrong: every rank learns it, and nobody hangs. A test that
 * hangs is ended by ctest's time limit. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define RANKS 4

static float buffer[RANKS][2][8000];

static void assert_all(const lks_error_t errors[], lks_status_t status, const char *text)
{
    for (int i = 0; i < RANKS; i++) {
        cr_assert(errors[i].status == status, "rank %d: %s, wanted %s", i,
                  lks_status_name(errors[i].status), lks_status_name(status));
        cr_assert(strstr(errors[i].message, text), "rank %d: '%s' is not in '%s'", i, text,
                  errors[i].message);
    }
}

/* --- ranks that disagree ------------------------------------------------------------------------ */

/* Two barriers, then rank 2 does what `context` says while the others sum 10 float32. */
typedef lks_status_t (*odd_fn_t)(lks_comm_t *comm, float *send, float *recv);

static lks_status_t disagree(lks_comm_t *comm, void *context)
{
    int rank = lks_comm_rank(comm);
    float *send = buffer[rank][0], *recv = buffer[rank][1];
    LKS_TRY(lks_comm_barrier(comm));
    LKS_TRY(lks_comm_barrier(comm));
    lks_status_t status =
        rank == 2 ? (*(odd_fn_t *)context)(comm, send, recv)
                  : lks_comm_all_reduce(comm, send, recv, 10, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
    lks_error_t first = *lks_last_error();
    RANK_CHECK(lks_comm_barrier(comm) == LKS_ERR_ABORTED, "the communicator lives on");
    RANK_CHECK(strstr(lks_last_error()->message, "rank 2 called"), "the reason is lost: %s",
               lks_last_error()->message);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&first);
}

static void check_disagreement(odd_fn_t odd, const char *rank_2_called)
{
    lks_error_t errors[RANKS_MAX];
    char wanted[256];
    run_ranks(RANKS, NULL, disagree, &odd, errors);
    (void)snprintf(wanted, sizeof wanted,
                   "collective 2: rank 0 called all_reduce of 10 float32 (sum), rank 2 called %s",
                   rank_2_called);
    assert_all(errors, LKS_ERR_ABORTED, wanted);
}

static lks_status_t odd_count(lks_comm_t *comm, float *send, float *recv)
{
    return lks_comm_all_reduce(comm, send, recv, 8000, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
}

static lks_status_t odd_dtype(lks_comm_t *comm, float *send, float *recv)
{
    return lks_comm_all_reduce(comm, send, recv, 10, LKS_DTYPE_I32, LKS_REDUCE_SUM, NULL);
}

static lks_status_t odd_op(lks_comm_t *comm, float *send, float *recv)
{
    return lks_comm_all_reduce(comm, send, recv, 10, LKS_DTYPE_F32, LKS_REDUCE_AVG, NULL);
}

static lks_status_t odd_collective(lks_comm_t *comm, float *send, float *recv)
{
    (void)recv;
    return lks_comm_broadcast(comm, send, 10, LKS_DTYPE_F32, 1, NULL);
}

static lks_status_t odd_all_gather(lks_comm_t *comm, float *send, float *recv)
{
    return lks_comm_all_gather(comm, send, recv, 10, LKS_DTYPE_F32, NULL);
}

static lks_status_t odd_barrier(lks_comm_t *comm, float *send, float *recv)
{
    (void)send, (void)recv;
    return lks_comm_barrier(comm);
}

Test(local_failure, another_call_on_one_rank_fails_on_all)
{
    check_disagreement(odd_count, "all_reduce of 8000 float32 (sum)");
    check_disagreement(odd_dtype, "all_reduce of 10 int32 (sum)");
    check_disagreement(odd_op, "all_reduce of 10 float32 (avg)");
    check_disagreement(odd_collective, "broadcast of 10 float32 (root 1)");
    check_disagreement(odd_all_gather, "all_gather of 10 float32");
    check_disagreement(odd_barrier, "barrier");
}

static lks_status_t disagree_on_the_root(lks_comm_t *comm, void *context)
{
    (void)context;
    int rank = lks_comm_rank(comm);
    return lks_comm_broadcast(comm, buffer[rank][0], 10, LKS_DTYPE_F32, rank < 2 ? 0 : rank, NULL);
}

Test(local_failure, every_rank_unlike_rank_0_is_named)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(RANKS, NULL, disagree_on_the_root, NULL, errors);
    assert_all(errors, LKS_ERR_ABORTED,
               "rank 0 called broadcast of 10 float32 (root 0), rank 2 called broadcast of 10 "
               "float32 (root 2), rank 3 called broadcast of 10 float32 (root 3)");
}

/* --- abort -------------------------------------------------------------------------------------- */

/* Rank 1 gives up while the others wait for it, or are about to. */
static lks_status_t rank_1_aborts(lks_comm_t *comm, void *context)
{
    _Atomic int *about_to_wait = context;
    int rank = lks_comm_rank(comm);
    LKS_TRY(lks_comm_barrier(comm));
    if (rank == 1) {
        while (atomic_load(about_to_wait) < RANKS - 1) {
            sched_yield();
        }
        lks_comm_abort(comm, "disk full");
        lks_comm_abort(comm, "a later reason");
    } else {
        atomic_fetch_add(about_to_wait, 1);
    }
    return lks_comm_all_reduce(comm, buffer[rank][0], buffer[rank][1], 8000, LKS_DTYPE_F32,
                               LKS_REDUCE_SUM, NULL);
}

Test(local_failure, abort_reaches_ranks_that_wait)
{
    for (int i = 0; i < 50; i++) {
        _Atomic int about_to_wait = 0;
        lks_error_t errors[RANKS_MAX];
        run_ranks(RANKS, NULL, rank_1_aborts, &about_to_wait, errors);
        assert_all(errors, LKS_ERR_ABORTED, "all_reduce: aborted by rank 1: disk full");
    }
}

static lks_status_t rank_3_aborts_silently(lks_comm_t *comm, void *context)
{
    (void)context;
    if (lks_comm_rank(comm) == 3) {
        lks_comm_abort(comm, NULL);
    }
    return lks_comm_barrier(comm);
}

Test(local_failure, abort_needs_no_reason)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(RANKS, NULL, rank_3_aborts_silently, NULL, errors);
    assert_all(errors, LKS_ERR_ABORTED, "barrier: aborted by rank 3");
}

/* A thread of no rank ends a job that would run for ever. All ranks finish the same number of collectives. */
typedef struct endless {
    lks_comm_t *comm; /* rank 0's; NULL until rank 0 has started */
    size_t count;
    _Atomic int rounds, finished[RANKS];
    _Atomic bool started, aborted;
} endless_t;

static lks_status_t reduce_for_ever(lks_comm_t *comm, void *context)
{
    endless_t *endless = context;
    int rank = lks_comm_rank(comm);
    if (rank == 0) {
        endless->comm = comm;
        atomic_store(&endless->started, true);
    }
    lks_status_t status = LKS_OK;
    /* Allocated anew each time: a rank that left early would read a peer's freed memory. */
    while (status == LKS_OK) {
        float *data = calloc(endless->count, sizeof *data);
        status = lks_comm_all_reduce(comm, data, data, endless->count, LKS_DTYPE_F32,
                                     LKS_REDUCE_SUM, NULL);
        free(data);
        if (status == LKS_OK) {
            atomic_fetch_add(&endless->finished[rank], 1);
            atomic_fetch_add(&endless->rounds, 1);
        }
    }
    /* The aborting thread may still be inside its call. */
    while (rank == 0 && !atomic_load(&endless->aborted)) {
        sched_yield();
    }
    return status;
}

static void *abort_from_outside(void *argument)
{
    endless_t *endless = argument;
    while (!atomic_load(&endless->started) || atomic_load(&endless->rounds) < 40) {
        sched_yield();
    }
    lks_comm_abort(endless->comm, "interrupted");
    atomic_store(&endless->aborted, true);
    return NULL;
}

static void check_abort_from_outside(size_t count)
{
    for (int i = 0; i < 30; i++) {
        endless_t endless = {.count = count};
        lks_error_t errors[RANKS_MAX];
        pthread_t outsider;
        cr_assert(pthread_create(&outsider, NULL, abort_from_outside, &endless) == 0);
        run_ranks(RANKS, NULL, reduce_for_ever, &endless, errors);
        cr_assert(pthread_join(outsider, NULL) == 0);
        assert_all(errors, LKS_ERR_ABORTED, "all_reduce: aborted by rank 0: interrupted");
        for (int k = 1; k < RANKS; k++) {
            cr_assert(endless.finished[k] == endless.finished[0],
                      "rank %d finished %d collectives, rank 0 %d", k, endless.finished[k],
                      endless.finished[0]);
        }
    }
}

Test(local_failure, abort_from_another_thread_ends_small_collectives_alike)
{
    check_abort_from_outside(16);
}

Test(local_failure, abort_from_another_thread_ends_large_collectives_alike)
{
    check_abort_from_outside(5000);
}

/* --- ranks that do not come --------------------------------------------------------------------- */

static const lks_comm_config_t impatient = {.timeout = 0.2};

/* Ranks in the bit set `context` stay away from the third collective, and come when the job has ended. */
static lks_status_t some_stay_away(lks_comm_t *comm, void *context)
{
    int rank = lks_comm_rank(comm);
    LKS_TRY(lks_comm_barrier(comm));
    LKS_TRY(lks_comm_barrier(comm));
    if (*(const unsigned *)context >> rank & 1) {
        (void)usleep(400000);
    }
    return lks_comm_all_reduce(comm, buffer[rank][0], buffer[rank][1], 8000, LKS_DTYPE_F32,
                               LKS_REDUCE_SUM, NULL);
}

Test(local_failure, a_rank_that_stays_away_is_named_on_every_rank)
{
    lks_error_t errors[RANKS_MAX];
    unsigned away = 1u << 2;
    run_ranks(RANKS, &impatient, some_stay_away, &away, errors);
    assert_all(errors, LKS_ERR_ABORTED,
               "all_reduce: collective 2, all_reduce of 8000 float32 (sum): rank 2 did not come "
               "within 0.2 s");
}

Test(local_failure, all_ranks_that_stay_away_are_named)
{
    lks_error_t errors[RANKS_MAX];
    unsigned away = 1u << 0 | 1u << 3;
    run_ranks(RANKS, &impatient, some_stay_away, &away, errors);
    assert_all(errors, LKS_ERR_ABORTED, "rank 0, 3 did not come within 0.2 s");
}

static lks_status_t come_late(lks_comm_t *comm, void *context)
{
    (void)context;
    for (int i = 0; i < 3; i++) {
        if (lks_comm_rank(comm) == i) {
            (void)usleep(100000);
        }
        LKS_TRY(lks_comm_barrier(comm));
    }
    return LKS_OK;
}

Test(local_failure, a_rank_may_come_late)
{
    lks_error_t errors[RANKS_MAX];
    lks_comm_config_t patient = {.timeout = 60};
    run_ranks(RANKS, &patient, come_late, NULL, errors);
    assert_all(errors, LKS_OK, "");
}

/* --- leaving ------------------------------------------------------------------------------------ */

static lks_status_t rank_2_leaves(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(lks_comm_barrier(comm));
    if (lks_comm_rank(comm) == 2) {
        return LKS_OK; /* run_ranks destroys its communicator */
    }
    return lks_comm_barrier(comm);
}

Test(local_failure, a_rank_that_leaves_ends_the_job_of_the_others)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(RANKS, NULL, rank_2_leaves, NULL, errors);
    for (int i = 0; i < RANKS; i++) {
        cr_assert(errors[i].status == (i == 2 ? LKS_OK : LKS_ERR_ABORTED));
        cr_assert(i == 2 || strstr(errors[i].message, "barrier: rank 2 destroyed its communicator"),
                  "%s", errors[i].message);
    }
}
