/* SPDX-License-Identifier: Apache-2.0 */
/* fabric.c - see fabric.h. MPI waits for processes that do not come for ever, and cannot be interrupted: what it does here it
 * does on a thread that is left behind if it takes too long. */
#include "collectives/fabric.h"
#include "collectives/launcher.h"
#include "core/leaf.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nanoseconds that processes have to start in any case: it takes a while on a machine with much to do. */
#define START_PATIENCE 20000000000u

/* --- the library -------------------------------------------------------------------------------- */

lks_status_t lks_mpi_result(const lks_mpi_table_t *mpi, int code)
{
    char text[256];
    if (code) {
        mpi->error_text(code, text, sizeof text);
        return lks_fail(LKS_ERR_COMM, "%s: %s", mpi->name, text);
    }
    return LKS_OK;
}

/* Processes that nothing joins must not do the same job side by side, and write the same files. */
static lks_status_t not_joined(const lks_launcher_t *launcher)
{
    if (launcher->processes > 1) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "srun started %d processes that no MPI joins: give it --mpi=pmix (Open "
                        "MPI) or --mpi=pmi2 "
                        "(MPICH), or set LOCKSTEP_MPI=none if each is a job of its own",
                        launcher->processes);
    }
    return lks_fail(LKS_ERR_UNSUPPORTED, "no mpirun, mpiexec or srun started this process");
}

static lks_status_t open_mpi(const lks_launcher_t *launcher, const lks_mpi_table_t **out)
{
    const char *name = launcher->mpi;
    char leaf[64];
    const void *table;
    bool threads;
    if (!*name) {
        return not_joined(launcher);
    }
    if (strcmp(name, "openmpi") != 0 && strcmp(name, "mpich") != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "LOCKSTEP_MPI is '%s'; it may be openmpi, mpich or none", name);
    }
    (void)snprintf(leaf, sizeof leaf, "mpi_%s", name);
    LKS_TRY(lks_leaf_open(leaf, LKS_MPI_TABLE_VERSION, &table));
    const lks_mpi_table_t *mpi = table;
    LKS_TRY(lks_mpi_result(mpi, mpi->open(&threads)));
    if (!threads) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "%s was initialized without MPI_THREAD_MULTIPLE, which its ranks need",
                        mpi->name);
    }
    *out = mpi;
    return LKS_OK;
}

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a communicator among processes: out of memory");
}

/* --- the processes -------------------------------------------------------------------------------- */

/* What each process says of itself. */
typedef struct introduction {
    int ranks, node_index;
    cpu_set_t cores;
} introduction_t;

/* Who is where, and how many ranks each has. */
static lks_status_t introduce(lks_fabric_t *fabric, int local_size, introduction_t *all, int *near)
{
    const lks_mpi_table_t *mpi = fabric->mpi;
    introduction_t mine = {.ranks = local_size};
    int node, node_size;
    (void)sched_getaffinity(0, sizeof mine.cores, &mine.cores);
    LKS_TRY(lks_mpi_result(mpi, mpi->node(&node, &node_size)));
    LKS_TRY(lks_mpi_result(mpi, mpi->all_gather(&mine, all, sizeof mine)));
    LKS_TRY(lks_mpi_result(mpi, mpi->node_all_gather(&fabric->process, near, sizeof *near)));
    fabric->columns = local_size;
    for (int q = 0; q < fabric->process_count; q++) {
        lks_process_t *process = &fabric->processes[q];
        *process = (lks_process_t){fabric->world_size, all[q].ranks, -1};
        fabric->world_size += all[q].ranks;
        fabric->columns = all[q].ranks < fabric->columns ? all[q].ranks : fabric->columns;
    }
    for (int i = 0; i < node_size; i++) {
        fabric->processes[near[i]].node_index = i;
    }
    fabric->has_remote = node_size < fabric->process_count;
    return LKS_OK;
}

/* Whether every rank of this node has a core of its own: as many cores as all may use together, and as all of each. */
static bool have_own_cores(const lks_fabric_t *fabric, const introduction_t *all)
{
    cpu_set_t together;
    int ranks = 0;
    bool each = true;
    CPU_ZERO(&together);
    for (int q = 0; q < fabric->process_count; q++) {
        if (fabric->processes[q].node_index >= 0) {
            CPU_OR(&together, &together, &all[q].cores);
            ranks += all[q].ranks;
            each &= CPU_COUNT(&all[q].cores) >= all[q].ranks;
        }
    }
    return each && CPU_COUNT(&together) >= ranks;
}

/* Slots get smaller with the number of processes, or they would not fit the cache, nor, at last, memory. */
static size_t chunk_bytes(int processes)
{
    size_t chunk = ((size_t)64 << 10) / (size_t)(processes > 2 ? processes : 2) / 4096 * 4096;
    return chunk > 4096 ? chunk : 4096;
}

static lks_status_t open_fabric(lks_fabric_t *fabric, int local_size, bool *own_cores)
{
    lks_launcher_t launcher = lks_launcher_get();
    int node, node_size;
    LKS_TRY(open_mpi(&launcher, &fabric->mpi));
    LKS_TRY(
        lks_mpi_result(fabric->mpi, fabric->mpi->world(&fabric->process, &fabric->process_count)));
    if (fabric->process_count == 1 && launcher.processes > 1) {
        return lks_fail(LKS_ERR_COMM,
                        "%s does not see the %d processes that were started: another MPI's "
                        "launcher started them",
                        fabric->mpi->name, launcher.processes);
    }
    LKS_TRY(lks_mpi_result(fabric->mpi, fabric->mpi->node(&node, &node_size)));
    size_t processes = (size_t)fabric->process_count;
    fabric->processes = calloc(processes, sizeof *fabric->processes);
    introduction_t *all = calloc(processes, sizeof *all);
    int *near = calloc(processes, sizeof *near);
    lks_status_t status = fabric->processes && all && near
                              ? introduce(fabric, local_size, all, near)
                              : out_of_memory();
    if (status == LKS_OK) {
        *own_cores = have_own_cores(fabric, all);
        fabric->chunk = chunk_bytes(node_size);
        status = lks_window_create(fabric->mpi, fabric->world_size, 2 * fabric->columns,
                                   fabric->chunk, &fabric->window);
    }
    free(all);
    free(near);
    return status;
}

/* --- in time ------------------------------------------------------------------------------------ */

typedef struct start {
    lks_fabric_t fabric;
    int local_size;
    bool own_cores;
    lks_error_t error;
    lks_gate_t over;
} start_t;

static void start(void *context)
{
    start_t *start = context;
    start->error.status = open_fabric(&start->fabric, start->local_size, &start->own_cores);
    if (start->error.status != LKS_OK) {
        start->error = *lks_last_error();
    }
    lks_gate_advance(&start->over);
}

lks_status_t lks_fabric_open(lks_fabric_t *fabric, int local_size, uint64_t timeout,
                             bool *own_cores)
{
    lks_thread_t *thread;
    uint64_t patience = timeout > START_PATIENCE ? timeout : START_PATIENCE;
    start_t *begun = calloc(1, sizeof *begun);
    if (!begun) {
        return out_of_memory();
    }
    begun->local_size = local_size;
    lks_status_t status = lks_thread_create("mpi start", start, begun, &thread);
    if (status != LKS_OK) {
        free(begun);
        return status;
    }
    if (lks_gate_wait_until(&begun->over, 0, 0, lks_deadline_in(patience)) == 0) {
        return lks_fail(LKS_ERR_COMM, "the processes of this job did not all start within %g s",
                        (double)patience * 1e-9);
    }
    lks_thread_join(thread);
    *fabric = begun->fabric;
    *own_cores = begun->own_cores;
    const lks_error_t error = begun->error;
    free(begun);
    return error.status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

void lks_fabric_close(lks_fabric_t *fabric)
{
    lks_window_destroy(fabric->window);
    free(fabric->processes);
}
