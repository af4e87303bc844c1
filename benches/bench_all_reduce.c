/* SPDX-License-Identifier: Apache-2.0 */
/* bench_all_reduce.c - an all-reduce of float32 (sum, in place) from 4 B to 400 MB, in the columns of nccl-tests.
 *     bench_all_reduce [--json] [--ranks N] [--least BYTES] [--most BYTES] [--private]
 *     mpirun -np P bench_all_reduce ...          the same among P processes with N ranks each, in memory that they share;
 *                                                --private: in memory of their own
 * The floor stands beside it: the same sums by N threads that do nothing else (all_reduce_floor.c), or, for two processes of
 * one rank each, through shared memory (all_reduce_window.c). Both alternate, so that they meet the same moods of a shared machine; medians of rank 0 after a
 * warm-up. The round trip between two cores is printed before and after: small sizes cannot be compared where it differs.
 * time: of a call. algbw = bytes / time; busbw = algbw x 2 (ranks - 1) / ranks. #wrong: elements that are not the sum, which is
 * exact in any order. ratio = floor / time. */
#include "all_reduce_floor.h"
#include "all_reduce_rounds.h"
#include "all_reduce_window.h"
#include "bench.h"

#include <lockstep/comm.h>

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

typedef struct options {
    bool json, launched, private;
    int ranks;          /* of this process */
    size_t least, most; /* bytes */
} options_t;

typedef struct worker {
    lks_comm_t *comm;
    floor_team_t *team;     /* the floor to compare with: threads, */
    floor_window_t *window; /* or two processes; both NULL: none */
    const options_t *options;
    pthread_t thread;
} worker_t;

static void die(const char *what)
{
    (void)fprintf(stderr, "bench_all_reduce: %s\n", what);
    exit(1);
}

static void start_together(lks_comm_t *comm, float *data, size_t nbytes)
{
    if (all_reduce_calls(nbytes) == 1) {
        memset(data, 0, nbytes);
    }
    bench_must(lks_comm_barrier(comm));
}

/* Seconds per call. */
static double time_ours(lks_comm_t *comm, float *data, size_t nbytes)
{
    int calls = all_reduce_calls(nbytes);
    start_together(comm, data, nbytes);
    double start = bench_now();
    for (int i = 0; i < calls; i++) {
        bench_must(lks_comm_all_reduce(comm, data, data, nbytes / sizeof *data, LKS_DTYPE_F32,
                                       LKS_REDUCE_SUM, NULL));
    }
    return (bench_now() - start) / calls;
}

static double time_floor(const worker_t *worker, float *data, size_t nbytes)
{
    int calls = all_reduce_calls(nbytes);
    size_t count = nbytes / sizeof *data;
    start_together(worker->comm, data, nbytes);
    double start = bench_now();
    for (int i = 0; i < calls; i++) {
        if (worker->window) {
            floor_window_all_reduce(worker->window, data, count + count % 2);
        } else {
            floor_all_reduce(worker->team, lks_comm_rank(worker->comm), count);
        }
    }
    return (bench_now() - start) / calls;
}

static size_t count_wrong(lks_comm_t *comm, float *data, size_t count)
{
    int ranks = lks_comm_world_size(comm);
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)(i % 1000 * (size_t)(lks_comm_rank(comm) + 1));
    }
    bench_must(lks_comm_all_reduce(comm, data, data, count, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    for (size_t i = 0; i < count; i++) {
        wrong += data[i] != (float)(i % 1000 * (size_t)(ranks * (ranks + 1) / 2));
    }
    memset(data, 0, count * sizeof *data); /* sums of zeros stay zeros */
    return wrong;
}

static void print_row(const worker_t *worker, size_t nbytes, double seconds, double least,
                      double limit, size_t wrong)
{
    int ranks = lks_comm_world_size(worker->comm);
    double algbw = (double)nbytes / seconds * 1e-9, busbw = algbw * 2 * (ranks - 1) / ranks;
    if (worker->options->json) {
        (void)printf(
            "{\"bench\": \"all_reduce\", \"backend\": \"%s\", \"ranks\": %d, \"bytes\": %zu, "
            "\"us\": %.3f, \"least_us\": %.3f, \"algbw\": %.3f, \"busbw\": %.3f, "
            "\"wrong\": %zu, \"floor_us\": %.3f}\n",
            lks_comm_backend(worker->comm), ranks, nbytes, seconds * 1e6, least * 1e6, algbw, busbw,
            wrong, limit * 1e6);
    } else {
        (void)printf("%12zu %12zu %8s %6s %5d %10.2f %7.2f %7.2f %6zu", nbytes, nbytes / 4, "float",
                     "sum", -1, seconds * 1e6, algbw, busbw, wrong);
        if (limit > 0) {
            (void)printf(" %10.2f %6.2f", limit * 1e6, limit / seconds);
        }
        (void)putchar('\n');
    }
    (void)fflush(stdout);
}

static void run_size(const worker_t *worker, float *data, size_t nbytes)
{
    double ours[ALL_REDUCE_ROUNDS_MAX], floor[ALL_REDUCE_ROUNDS_MAX] = {0};
    int rounds = all_reduce_rounds(nbytes);
    size_t wrong = count_wrong(worker->comm, data, nbytes / sizeof *data);
    (void)time_ours(worker->comm, data, nbytes);
    for (int k = 0; k < rounds; k++) {
        if (worker->team || worker->window) {
            floor[k] = time_floor(worker, data, nbytes);
        }
        ours[k] = time_ours(worker->comm, data, nbytes);
    }
    if (lks_comm_rank(worker->comm) == 0) {
        double median = bench_median(ours, (size_t)rounds);
        print_row(worker, nbytes, median, ours[0], bench_median(floor, (size_t)rounds), wrong);
    }
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
    int rank = lks_comm_rank(worker->comm);
    bind_rank(rank);
    size_t most = worker->options->most;
    lks_comm_memory_t *memory = NULL;
    if (worker->options->launched && !worker->options->private) {
        bench_must(lks_comm_memory_create(worker->comm, most, &memory));
    }
    float *data = memory ? lks_comm_memory_data(memory) : bench_huge_alloc(most);
    memset(data, 0, most);
    if (worker->team) {
        worker->team->buffers[rank] = data;
    }
    for (size_t i = 0; i < sizeof all_reduce_sizes / sizeof *all_reduce_sizes; i++) {
        size_t nbytes = all_reduce_sizes[i];
        if (nbytes >= worker->options->least && nbytes <= most) {
            run_size(worker, data, nbytes);
        }
    }
    bench_must(lks_comm_barrier(worker->comm));
    if (memory) {
        lks_comm_memory_destroy(memory);
    } else {
        bench_huge_free(data, most);
    }
    lks_comm_destroy(worker->comm);
    return NULL;
}

static options_t parse_options(int argc, char **argv)
{
    options_t options = {.launched = lks_comm_is_launched(), .most = ALL_REDUCE_MOST};
    options.ranks = options.launched ? 1 : 2;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            options.json = true;
        } else if (strcmp(argv[i], "--private") == 0) {
            options.private = true;
        } else if (strcmp(argv[i], "--ranks") == 0 && i + 1 < argc) {
            options.ranks = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--least") == 0 && i + 1 < argc) {
            options.least = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--most") == 0 && i + 1 < argc) {
            options.most = strtoul(argv[++i], NULL, 10);
        } else {
            die("usage: bench_all_reduce [--json] [--ranks N] [--least BYTES] [--most BYTES] "
                "[--private]");
        }
    }
    if (options.ranks < 1 || options.ranks > FLOOR_RANKS_MAX) {
        die("--ranks is 1 to 8");
    }
    return options;
}

static void print_round_trip(const options_t *options)
{
    (void)printf(options->json ? "{\"bench\": \"round_trip\", \"ns\": %.0f}\n"
                               : "# core-to-core round trip %.0f ns\n",
                 floor_round_trip());
}

static void print_head(const options_t *options, bool floor)
{
    if (options->json) {
        return;
    }
    (void)printf("%12s %12s %8s %6s %5s %10s %7s %7s %6s%s\n", "size", "count", "type", "redop",
                 "root", "time", "algbw", "busbw", "#wrong", floor ? "      floor  ratio" : "");
    (void)printf("%12s %12s %8s %6s %5s %10s %7s %7s %6s%s\n", "(B)", "(elements)", "", "", "",
                 "(us)", "(GB/s)", "(GB/s)", "", floor ? "       (us)" : "");
}

/* NULL where there is none: more processes than two or than cores, more ranks than one in each, several machines. */
static floor_window_t *open_window(const options_t *options, lks_comm_t *comm)
{
    bool fits = options->launched && options->ranks == 1 && lks_comm_world_size(comm) == 2 &&
                sysconf(_SC_NPROCESSORS_ONLN) > 1;
    return fits ? floor_window_open(comm) : NULL;
}

int main(int argc, char **argv)
{
    static floor_team_t team;
    options_t options = parse_options(argc, argv);
    lks_comm_t *comms[FLOOR_RANKS_MAX];
    worker_t workers[FLOOR_RANKS_MAX];
    bool team_floor = !options.launched && options.ranks > 1;
    team.ranks = options.ranks;
    team.crowded = options.ranks > sysconf(_SC_NPROCESSORS_ONLN);
    bench_must(options.launched ? lks_comm_create_mpi(options.ranks, NULL, comms)
                                : lks_comm_create_local(options.ranks, NULL, comms));
    bool speaks = lks_comm_rank(comms[0]) == 0;
    floor_window_t *window = open_window(&options, comms[0]);
    if (speaks) {
        print_round_trip(&options);
        print_head(&options, team_floor || window);
    }
    for (int i = 0; i < options.ranks; i++) {
        workers[i] = (worker_t){.comm = comms[i],
                                .team = team_floor ? &team : NULL,
                                .window = window,
                                .options = &options};
        if (pthread_create(&workers[i].thread, NULL, run_rank, &workers[i]) != 0) {
            die("cannot start a thread");
        }
    }
    for (int i = 0; i < options.ranks; i++) {
        (void)pthread_join(workers[i].thread, NULL);
    }
    if (speaks) {
        print_round_trip(&options);
    }
    return 0;
}
