/* SPDX-License-Identifier: Apache-2.0 */
/* mpi_job.c - one process of a job under mpirun: RANKS threads run one trial on their ranks.
 *     mpi_job RANKS TRIAL [TIMEOUT]
 * Exit code 1 and a sentence per rank that failed. */
#include "collectives/exchange.h"
#include "collectives/process.h"
#include "collectives/shared_trials.h"
#include "collectives/trials.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static lks_status_t random_collectives(lks_comm_t *comm, void *context)
{
    (void)context;
    for (uint64_t seed = 0; seed < 3; seed++) {
        LKS_TRY(run_random_collectives(comm, &seed));
    }
    return LKS_OK;
}

/* Rank 1 does something else than the others, in the third collective of the job. */
static lks_status_t prepare(lks_comm_t *comm)
{
    LKS_TRY(lks_comm_barrier(comm));
    return lks_comm_barrier(comm);
}

static lks_status_t reduce(lks_comm_t *comm, size_t count)
{
    static float buffers[8][100000];
    float *data = buffers[lks_comm_local_rank(comm)];
    return lks_comm_all_reduce(comm, data, data, count, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
}

/* The same of memory that all processes see. */
static lks_status_t reduce_seen(lks_comm_t *comm, size_t count, unsigned late)
{
    lks_comm_memory_t *memory;
    LKS_TRY(lks_comm_memory_create(comm, 100000 * sizeof(float), &memory)); /* two collectives */
    (void)sleep(late);
    float *data = lks_comm_memory_data(memory);
    lks_status_t status =
        lks_comm_all_reduce(comm, data, data, count, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL);
    lks_comm_memory_destroy(memory);
    return status;
}

static lks_status_t seen_count_differs(lks_comm_t *comm, void *context)
{
    (void)context;
    return reduce_seen(comm, lks_comm_rank(comm) == 1 ? 99999 : 100000, 0);
}

static lks_status_t seen_small_count_differs(lks_comm_t *comm, void *context)
{
    (void)context;
    return reduce_seen(comm, lks_comm_rank(comm) == 1 ? 100000 : 10, 0);
}

static lks_status_t seen_stalls(lks_comm_t *comm, void *context)
{
    (void)context;
    return reduce_seen(comm, 100000, lks_comm_rank(comm) == 1 ? 3 : 0);
}

static lks_status_t count_differs(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    return reduce(comm, lks_comm_rank(comm) == 1 ? 99999 : 100000);
}

static lks_status_t small_count_differs(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    return reduce(comm, lks_comm_rank(comm) == 1 ? 100000 : 10);
}

static lks_status_t collective_differs(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    return lks_comm_rank(comm) == 1 ? lks_comm_barrier(comm) : reduce(comm, 100000);
}

static lks_status_t stalls(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    if (lks_comm_rank(comm) == 1) {
        (void)sleep(3);
    }
    return reduce(comm, 100000);
}

static lks_status_t fails(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    if (lks_comm_rank(comm) == 1) {
        return lks_fail(LKS_ERR_IO, "disk full");
    }
    return reduce(comm, 100000);
}

static lks_status_t is_killed(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    if (lks_comm_rank(comm) == 1) {
        (void)kill(getpid(), SIGKILL);
    }
    return reduce(comm, 100000);
}

static lks_status_t is_stopped(lks_comm_t *comm, void *context)
{
    (void)context;
    LKS_TRY(prepare(comm));
    if (lks_comm_rank(comm) == 1) {
        (void)kill(getpid(), SIGSTOP);
        (void)sleep(1); /* any thread may be the one that stops first */
    }
    return reduce(comm, 100000);
}

/* Elements of the first bucket that this process has. */
static _Atomic size_t taken;

static void take(void *context, size_t bucket, size_t first, size_t count, const void *numbers)
{
    (void)context;
    for (size_t i = 0; i < count && bucket == 0; i++) {
        taken += ((const float *)numbers)[i] == (float)((first + i) % 1000);
    }
}

/* A large bucket travels while its rank computes, and does not look. */
static lks_status_t overlaps(lks_comm_t *comm, void *context)
{
    (void)context;
    enum { COUNT = 2000003 };
    lks_exchange_bucket_t buckets[2] = {{.count = COUNT, .dtype = LKS_DTYPE_F32},
                                        {.count = 1, .dtype = LKS_DTYPE_F32}};
    const lks_exchange_config_t config = {.op = LKS_REDUCE_AVG, .take = take};
    float *large = malloc(COUNT * sizeof *large), small = 0;
    lks_exchange_t *exchange;
    for (int i = 0; i < COUNT; i++) {
        large[i] = (float)(i % 1000);
    }
    buckets[0].data = large;
    buckets[1].data = &small;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, buckets, 2));
    LKS_TRY(lks_exchange_post(exchange));
    for (int i = 0; i < 2000 && taken < COUNT; i++) {
        (void)usleep(10000);
    }
    size_t so_far = taken;
    LKS_TRY(lks_exchange_post(exchange));
    LKS_TRY(lks_exchange_finish(exchange));
    lks_exchange_destroy(exchange);
    free(large);
    RANK_CHECK(so_far == COUNT, "only %zu elements came while nobody looked", so_far);
    return LKS_OK;
}

/* The second bucket is so small that only one thread of each process exchanges it, and some have no part of the first: a
 * process that is late finds what it has to compare. */
static lks_status_t skips_small_buckets(lks_comm_t *comm, void *context)
{
    (void)context;
    enum { BUCKETS = 3, ROUNDS = 4 };
    static const size_t counts[BUCKETS] = {528, 16, 640};
    bool late = lks_comm_rank(comm) >= lks_comm_world_size(comm) - lks_comm_local_size(comm);
    float data[BUCKETS][640];
    lks_exchange_bucket_t buckets[BUCKETS];
    const lks_exchange_config_t config = {.op = LKS_REDUCE_SUM};
    lks_exchange_t *exchange;
    for (int b = 0; b < BUCKETS; b++) {
        buckets[b] =
            (lks_exchange_bucket_t){.data = data[b], .count = counts[b], .dtype = LKS_DTYPE_F32};
    }
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, buckets, BUCKETS));
    for (int round = 0; round < ROUNDS; round++) {
        for (int b = 0; b < BUCKETS; b++) {
            memset(data[b], 0, sizeof data[b]);
            data[b][counts[b] - 1] = 1;
            LKS_TRY(lks_exchange_post(exchange));
            (void)usleep(late ? 200000 : 0);
        }
        LKS_TRY(lks_exchange_finish(exchange));
        for (int b = 0; b < BUCKETS; b++) {
            float sum = data[b][counts[b] - 1];
            RANK_CHECK(sum == (float)lks_comm_world_size(comm), "the sum is %g", (double)sum);
        }
    }
    lks_exchange_destroy(exchange);
    return LKS_OK;
}

static const struct named_trial {
    const char *name;
    rank_fn_t run;
} trials[] = {
    {"dtypes", reduce_every_dtype_and_op},
    {"moves", move_every_dtype},
    {"million", reduce_a_million},
    {"stage", reduce_counts_around_the_stage},
    {"random", random_collectives},
    {"reuse", reuse_a_buffer_at_once},
    {"count", count_differs},
    {"small-count", small_count_differs},
    {"collective", collective_differs},
    {"stall", stalls},
    {"fail", fails},
    {"kill", is_killed},
    {"stop", is_stopped},
    {"overlap", overlaps},
    {"small-buckets", skips_small_buckets},
    {"shared", reduce_shared},
    {"partly-shared", reduce_partly_shared},
    {"memories", make_memories},
    {"fall-back", fall_back},
    {"sizes", sizes_differ},
    {"seen-count", seen_count_differs},
    {"seen-small-count", seen_small_count_differs},
    {"seen-stall", seen_stalls},
};

static rank_fn_t find(const char *name)
{
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        if (strcmp(trials[i].name, name) == 0) {
            return trials[i].run;
        }
    }
    (void)fprintf(stderr, "mpi_job: no trial is called '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 0;
    if (count < 1 || count > RANKS_MAX) {
        (void)fprintf(stderr, "usage: mpi_job RANKS TRIAL [TIMEOUT]\n");
        return 2;
    }
    lks_comm_t *comms[RANKS_MAX];
    lks_comm_config_t config = lks_comm_config_default();
    config.timeout = argc > 3 ? atof(argv[3]) : 60;
    if (lks_comm_create_mpi(count, &config, comms) != LKS_OK) {
        (void)fprintf(stderr, "mpi_job: %s\n", lks_last_error()->message);
        return 1;
    }
    int code = run_process(count, comms, find(argv[2]), NULL);
    destroy_kept_memories();
    return code;
}
