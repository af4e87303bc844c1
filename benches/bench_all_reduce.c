/* SPDX-License-Identifier: Apache-2.0 */
/* bench_all_reduce.c - how near an all-reduce among threads comes to the memory's limit.
 *     bench_all_reduce [--json] [--ranks N]
 * The call: float32 sum in place. The limit: every rank reads and writes as many bytes of its own buffer, which is
 * the least an all-reduce can do, and touches nothing of its peers. Both alternate, so that they meet the same moods
 * of a shared machine; medians of rank 0 after a warm-up.
 * algbw = bytes / time; busbw = algbw x 2 (ranks - 1) / ranks, as nccl-tests defines it. */
#include "bench.h"

#include <lockstep/comm.h>

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RANKS_MAX = 64, ROUNDS_MAX = 41, MIB = 1 << 20 };

typedef struct size_case {
    size_t nbytes;
    int rounds, calls; /* calls in each round */
} size_case_t;

static const size_case_t cases[] = {
    {4, 41, 1000}, {1024, 41, 1000},  {64 << 10, 41, 200},
    {MIB, 41, 50}, {25 * MIB, 21, 4}, {100 * MIB, 11, 1},
};

typedef struct options {
    bool json;
    int ranks;
} options_t;

typedef struct worker {
    lks_comm_t *comm;
    const options_t *options;
    pthread_t thread;
} worker_t;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_all_reduce: %s\n", what);
    exit(1);
}

/* Seconds per call. */
static double time_all_reduce(lks_comm_t *comm, float *data, const size_case_t *c)
{
    bench_must(lks_comm_barrier(comm));
    double start = bench_now();
    for (int i = 0; i < c->calls; i++) {
        bench_must(lks_comm_all_reduce(comm, data, data, c->nbytes / sizeof *data, LKS_DTYPE_F32,
                                       LKS_REDUCE_SUM, NULL));
    }
    return (bench_now() - start) / c->calls;
}

static double time_limit(lks_comm_t *comm, float *data, const size_case_t *c)
{
    bench_must(lks_comm_barrier(comm));
    double start = bench_now();
    for (int i = 0; i < c->calls; i++) {
        for (size_t k = 0; k < c->nbytes / sizeof *data; k++) {
            data[k] += data[k];
        }
        __asm__ volatile("" : : "r"(data) : "memory"); /* each call writes its result */
    }
    bench_must(lks_comm_barrier(comm)); /* ranks that share a core take turns */
    return (bench_now() - start) / c->calls;
}

static void print_case(const options_t *options, const size_case_t *c, double seconds, double limit)
{
    double algbw = (double)c->nbytes / seconds * 1e-9;
    double busbw = algbw * 2 * (options->ranks - 1) / options->ranks;
    const char *format = options->json
                             ? "{\"bench\": \"all_reduce\", \"ranks\": %d, \"bytes\": %zu, \"us\": "
                               "%.3f, \"algbw\": %.3f, \"busbw\": %.3f, \"limit_us\": %.3f, "
                               "\"ratio\": %.3f}\n"
                             : "%5d %11zu %11.2f %11.2f %11.2f %11.2f %7.2f\n";
    (void)printf(format, options->ranks, c->nbytes, seconds * 1e6, algbw, busbw, limit * 1e6,
                 limit / seconds);
    (void)fflush(stdout);
}

/* A core for each rank, as the runtime gives it; the ranks take turns where there are too few. */
static void bind_rank(int rank)
{
    cpu_set_t core;
    CPU_ZERO(&core);
    CPU_SET((size_t)rank % (size_t)sysconf(_SC_NPROCESSORS_ONLN), &core);
    (void)pthread_setaffinity_np(pthread_self(), sizeof core, &core);
}

static void *run_rank(void *argument)
{
    const worker_t *worker = argument;
    bind_rank(lks_comm_rank(worker->comm));
    float *data = aligned_alloc(64, 100 * MIB);
    if (!data) {
        die("out of memory");
    }
    memset(data, 0, 100 * MIB); /* sums of zeros stay zeros, and the pages are there */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double ours[ROUNDS_MAX], limit[ROUNDS_MAX];
        (void)time_all_reduce(worker->comm, data, &cases[i]);
        for (int k = 0; k < cases[i].rounds; k++) {
            limit[k] = time_limit(worker->comm, data, &cases[i]);
            ours[k] = time_all_reduce(worker->comm, data, &cases[i]);
        }
        if (lks_comm_rank(worker->comm) == 0) {
            print_case(worker->options, &cases[i], bench_median(ours, (size_t)cases[i].rounds),
                       bench_median(limit, (size_t)cases[i].rounds));
        }
    }
    free(data);
    lks_comm_destroy(worker->comm);
    return NULL;
}

static options_t parse_options(int argc, char **argv)
{
    options_t options = {.ranks = 2};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (strcmp(argv[i], "--ranks") == 0 && i + 1 < argc) {
            options.ranks = atoi(argv[++i]);
        } else {
            die("usage: bench_all_reduce [--json] [--ranks N]");
        }
    }
    if (options.ranks < 1 || options.ranks > RANKS_MAX) {
        die("--ranks is 1 to 64");
    }
    return options;
}

int main(int argc, char **argv)
{
    options_t options = parse_options(argc, argv);
    lks_comm_t *comms[RANKS_MAX];
    worker_t workers[RANKS_MAX];
    bench_must(lks_comm_create_local(options.ranks, NULL, comms));
    if (!options.json) {
        (void)printf("%5s %11s %11s %11s %11s %11s %7s\n", "ranks", "bytes", "us", "algbw GB/s",
                     "busbw GB/s", "limit us", "ratio");
    }
    for (int i = 0; i < options.ranks; i++) {
        workers[i] = (worker_t){.comm = comms[i], .options = &options};
        if (pthread_create(&workers[i].thread, NULL, run_rank, &workers[i]) != 0) {
            die("cannot start a thread");
        }
    }
    for (int i = 0; i < options.ranks; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    return 0;
}
