/* SPDX-License-Identifier: Apache-2.0 */
/* peer_all_reduce.c - MPI_Allreduce on bench_all_reduce's job: float32, sum, in place; the same sizes, rounds and clock. One
 * JSON row per size. Compiled for each MPI that is there.
 *     mpirun -np N peer_all_reduce_openmpi [--least BYTES] [--most BYTES] */
#include "all_reduce_rounds.h"
#include "bench.h"

#include <mpi.h>
#include <string.h>

static double time_round(float *data, size_t nbytes)
{
    int calls = all_reduce_calls(nbytes), count = (int)(nbytes / sizeof *data);
    if (calls == 1) {
        memset(data, 0, nbytes);
    }
    (void)MPI_Barrier(MPI_COMM_WORLD);
    double start = bench_now();
    for (int i = 0; i < calls; i++) {
        (void)MPI_Allreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    }
    return (bench_now() - start) / calls;
}

static void run_size(float *data, size_t nbytes)
{
    double samples[ALL_REDUCE_ROUNDS_MAX];
    int rank, ranks, rounds = all_reduce_rounds(nbytes);
    (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    (void)MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    (void)time_round(data, nbytes);
    for (int k = 0; k < rounds; k++) {
        samples[k] = time_round(data, nbytes);
    }
    if (rank == 0) {
        (void)printf(
            "{\"bench\": \"all_reduce\", \"backend\": \"MPI\", \"ranks\": %d, \"bytes\": %zu, "
            "\"us\": %.3f}\n",
            ranks, nbytes, bench_median(samples, (size_t)rounds) * 1e6);
        (void)fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    size_t least = 0, most = ALL_REDUCE_MOST;
    (void)MPI_Init(&argc, &argv);
    for (int i = 1; i + 1 < argc; i += 2) {
        size_t *option = strcmp(argv[i], "--least") == 0 ? &least : &most;
        *option = strtoul(argv[i + 1], NULL, 10);
    }
    float *data = bench_huge_alloc(most);
    memset(data, 0, most);
    for (size_t i = 0; i < sizeof all_reduce_sizes / sizeof *all_reduce_sizes; i++) {
        if (all_reduce_sizes[i] >= least && all_reduce_sizes[i] <= most) {
            run_size(data, all_reduce_sizes[i]);
        }
    }
    bench_huge_free(data, most);
    (void)MPI_Finalize();
    return 0;
}
