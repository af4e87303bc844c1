/* SPDX-License-Identifier: Apache-2.0 */
/* mpi.c - backend `mpi`: ranks are threads of several processes, on one node or many.
 * Threads of a process meet as in backend `local`; then a thread for each column exchanges its part with the other
 * processes (column.h), reading and writing the buffers of all threads of its process. */
#include "collectives/column.h"
#include "collectives/local.h"

#include <lockstep/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the ranks of this process share. */
typedef struct process {
    _Atomic int references;
    lks_fabric_t fabric;
    lks_column_t *farewell; /* the first column, which outlives its rank */
    lks_place_t *places;    /* (ranks): where each has the vector of the all-reduce under way */
} process_t;

typedef struct mpi {
    lks_comm_t comm;
    lks_comm_t *inner; /* among the threads of this process */
    process_t *process;
    uint64_t calls;
    lks_column_t *column, *exchange; /* NULL: this thread has none */
    lks_block_t *blocks;             /* (process_count) */
    const void **sources;            /* (local_size) */
    void **targets;                  /* (local_size) */
    void **views;                    /* (world_size) */
    const lks_collective_t *call;    /* that is under way */
} mpi_t;

static mpi_t *mpi_of(lks_comm_t *comm)
{
    return (mpi_t *)comm;
}

static lks_comm_host_t *mpi_host(lks_comm_t *comm)
{
    lks_comm_t *inner = mpi_of(comm)->inner;
    return inner->backend->host(inner);
}

static bool mpi_ended_elsewhere(lks_comm_t *comm)
{
    mpi_t *mpi = mpi_of(comm);
    lks_comm_host_t *host = mpi_host(comm);
    bool ended = lks_window_aborted(mpi->process->fabric.window, &host->aborted);
    if (ended) {
        mpi->inner->backend->abort(mpi->inner, NULL); /* wakes all; the reason is there */
    }
    return ended;
}

/* --- one collective ----------------------------------------------------------------------------- */

/* After a failure the other processes learn it. */
static lks_status_t spread_abort(mpi_t *mpi, lks_status_t status)
{
    lks_comm_host_t *host = mpi->inner->backend->host(mpi->inner);
    if (status != LKS_OK) {
        const lks_error_t error = *lks_last_error();
        lks_abort_state_set(&host->aborted, "%s", error.message);
        lks_window_abort(mpi->process->fabric.window, &host->aborted);
        return lks_error_raise(&error);
    }
    return LKS_OK;
}

static lks_status_t run(mpi_t *mpi, const lks_collective_t *call,
                        lks_status_t (*work)(void *context))
{
    lks_window_t *window = mpi->process->fabric.window;
    if (mpi_ended_elsewhere(&mpi->comm)) {
        return lks_abort_state_check(&mpi_host(&mpi->comm)->aborted,
                                     lks_collective_name(call->kind));
    }
    mpi->call = call;
    atomic_store_explicit(lks_window_calls(window, mpi->comm.rank, LKS_WINDOW_COLLECTIVES),
                          ++mpi->calls, memory_order_relaxed);
    return spread_abort(mpi, lks_local_run(mpi->inner, call, work, mpi));
}

static const lks_collective_t *posted(const mpi_t *mpi, int local)
{
    return lks_local_posted(mpi->inner, local);
}

static lks_status_t exchange(mpi_t *mpi, const lks_column_job_t *job)
{
    lks_column_job_t mine = *job;
    mine.call = mpi->call;
    mine.number = mpi->calls - 1;
    mine.blocks = mpi->blocks;
    mine.sources = mpi->sources;
    mine.targets = mpi->targets;
    lks_column_begin(mpi->column, &mine);
    return lks_column_finish(mpi->column);
}

/* Every local rank's buffers. */
static void gather_buffers(mpi_t *mpi)
{
    for (int i = 0; i < mpi->comm.local_size; i++) {
        mpi->sources[i] = posted(mpi, i)->send;
        mpi->targets[i] = posted(mpi, i)->recv;
    }
}

/* Where all ranks of this process have the vector. */
static lks_place_t common_place(const mpi_t *mpi)
{
    lks_place_t place = mpi->process->places[0];
    for (int i = 1; i < mpi->comm.local_size; i++) {
        place = lks_place_of_both(place, mpi->process->places[i]);
    }
    return place;
}

static lks_status_t all_reduce_work(void *context)
{
    mpi_t *mpi = context;
    const lks_fabric_t *fabric = &mpi->process->fabric;
    size_t count = mpi->call->count;
    if (!mpi->column) {
        return LKS_OK;
    }
    lks_block_divide(count, fabric->process_count, mpi->blocks);
    gather_buffers(mpi);
    lks_place_t place = common_place(mpi);
    if (place.memory) {
        lks_comm_views(&mpi->comm, place, mpi->views);
    }
    return exchange(mpi, &(lks_column_job_t){.reduces = true,
                                             .gathers = true,
                                             .views = place.memory ? mpi->views : NULL,
                                             .place = place,
                                             .count = count,
                                             .source_count = mpi->comm.local_size,
                                             .target_count = mpi->comm.local_size});
}

static lks_status_t mpi_all_reduce(lks_comm_t *comm, const lks_collective_t *call)
{
    mpi_t *mpi = mpi_of(comm);
    mpi->process->places[lks_comm_local_rank(comm)] =
        call->send == call->recv ? lks_comm_place(comm, call->recv, call->nbytes)
                                 : (lks_place_t){0};
    return run(mpi, call, all_reduce_work);
}

static lks_status_t broadcast_work(void *context)
{
    mpi_t *mpi = context;
    const lks_fabric_t *fabric = &mpi->process->fabric;
    if (!mpi->column) {
        return LKS_OK;
    }
    int targets = 0;
    for (int q = 0; q < fabric->process_count; q++) {
        const lks_process_t *process = &fabric->processes[q];
        int local = mpi->call->root - process->first_rank;
        bool has_root = local >= 0 && local < process->ranks;
        mpi->blocks[q] = (lks_block_t){0, has_root ? mpi->call->count : 0};
        for (int i = 0; i < process->ranks && q == fabric->process; i++) {
            if (has_root && i == local) {
                mpi->sources[0] = posted(mpi, i)->send;
            } else {
                mpi->targets[targets++] = posted(mpi, i)->recv;
            }
        }
    }
    return exchange(mpi, &(lks_column_job_t){.gathers = true,
                                             .count = mpi->call->count,
                                             .source_count = 1,
                                             .target_count = targets});
}

static lks_status_t mpi_broadcast(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(mpi_of(comm), call, broadcast_work);
}

/* `count` elements for each rank: a process's block are its ranks'. */
static void cut_by_ranks(mpi_t *mpi, size_t count)
{
    const lks_fabric_t *fabric = &mpi->process->fabric;
    for (int q = 0; q < fabric->process_count; q++) {
        const lks_process_t *process = &fabric->processes[q];
        mpi->blocks[q] =
            (lks_block_t){(size_t)process->first_rank * count, (size_t)process->ranks * count};
    }
}

/* The slices of this process, into this rank's recv. */
static lks_status_t gather_near(void *context)
{
    mpi_t *mpi = context;
    const lks_collective_t *call = mpi->call;
    for (int i = 0; i < mpi->comm.local_size; i++) {
        char *slice = (char *)call->recv + (size_t)(mpi->comm.local_first + i) * call->nbytes;
        if (slice != posted(mpi, i)->send && call->nbytes > 0) {
            memcpy(slice, posted(mpi, i)->send, call->nbytes);
        }
    }
    return LKS_OK;
}

static lks_status_t gather_far(void *context)
{
    mpi_t *mpi = context;
    if (!mpi->column) {
        return LKS_OK;
    }
    cut_by_ranks(mpi, mpi->call->count);
    gather_buffers(mpi);
    mpi->sources[0] = posted(mpi, 0)->recv; /* where this process's block is whole */
    return exchange(mpi,
                    &(lks_column_job_t){.gathers = true,
                                        .count = mpi->call->count * (size_t)mpi->comm.world_size,
                                        .source_count = 1,
                                        .target_count = mpi->comm.local_size});
}

static lks_status_t mpi_all_gather(lks_comm_t *comm, const lks_collective_t *call)
{
    mpi_t *mpi = mpi_of(comm);
    LKS_TRY(run(mpi, call, gather_near));
    return run(mpi, call, gather_far);
}

/* Local rank i's slice, for every i that any process has. */
static lks_status_t reduce_scatter_work(void *context)
{
    mpi_t *mpi = context;
    const lks_fabric_t *fabric = &mpi->process->fabric;
    size_t count = mpi->call->count;
    int most = 0;
    for (int q = 0; q < fabric->process_count; q++) {
        most = fabric->processes[q].ranks > most ? fabric->processes[q].ranks : most;
    }
    for (int i = 0; i < most && mpi->column; i++) {
        bool mine = i < mpi->comm.local_size;
        gather_buffers(mpi);
        for (int q = 0; q < fabric->process_count; q++) {
            const lks_process_t *process = &fabric->processes[q];
            size_t first = (size_t)(process->first_rank + i) * count;
            mpi->blocks[q] = i < process->ranks ? (lks_block_t){first, count} : (lks_block_t){0, 0};
        }
        if (mine) { /* a target is as long as the whole vector; this slice of it is the rank's recv */
            size_t skip = (size_t)(mpi->comm.local_first + i) * mpi->call->nbytes;
            mpi->targets[0] = (void *)((uintptr_t)posted(mpi, i)->recv - skip);
        }
        LKS_TRY(exchange(mpi, &(lks_column_job_t){.reduces = true,
                                                  .count = count * (size_t)mpi->comm.world_size,
                                                  .source_count = mpi->comm.local_size,
                                                  .target_count = mine}));
    }
    return LKS_OK;
}

static lks_status_t mpi_reduce_scatter(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(mpi_of(comm), call, reduce_scatter_work);
}

static lks_status_t barrier_work(void *context)
{
    mpi_t *mpi = context;
    if (!mpi->column || mpi->comm.rank != mpi->comm.local_first) {
        return LKS_OK;
    }
    cut_by_ranks(mpi, 0);
    return exchange(mpi, &(lks_column_job_t){.gathers = true});
}

static lks_status_t mpi_barrier(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(mpi_of(comm), call, barrier_work);
}

/* --- abort and end ------------------------------------------------------------------------------ */

static void mpi_abort(lks_comm_t *comm, const char *reason)
{
    mpi_t *mpi = mpi_of(comm);
    lks_comm_host_t *host = mpi_host(comm);
    lks_abort_state_set_by_rank(&host->aborted, comm->rank, reason);
    mpi->inner->backend->abort(mpi->inner, NULL);
    lks_window_abort(mpi->process->fabric.window, &host->aborted);
}

/* MPI_Finalize waits for all processes, however long: only if they are all here to enter it. */
static void finalize(process_t *process)
{
    lks_fabric_t *fabric = &process->fabric;
    const lks_collective_t call = {.kind = LKS_COLLECTIVE_BARRIER};
    lks_block_t *blocks = calloc((size_t)fabric->process_count, sizeof *blocks);
    if (!blocks || lks_window_aborted(fabric->window, NULL)) {
        free(blocks);
        return;
    }
    /* Ranks that have left ended what the threads of this process share; that is not the end of the job. */
    lks_comm_host_t alone = {.timeout = fabric->host->timeout, .spin = fabric->host->spin};
    lks_abort_state_init(&alone.aborted);
    fabric->host = &alone;
    lks_column_begin(process->farewell,
                     &(lks_column_job_t){
                         .call = &call, .number = UINT64_MAX, .gathers = true, .blocks = blocks});
    if (lks_column_finish(process->farewell) == LKS_OK) {
        (void)fabric->mpi->close();
    } else {
        lks_log(LKS_LOG_WARN, "leaving without MPI_Finalize: %s", lks_last_error()->message);
    }
    lks_abort_state_fini(&alone.aborted);
    free(blocks);
}

/* The last rank of a process leaves: an orderly end waits for the other processes, an abort for nobody. */
static void process_destroy(process_t *process, bool orderly)
{
    lks_fabric_t *fabric = &process->fabric;
    if (orderly) {
        finalize(process);
    }
    lks_column_destroy(process->farewell);
    lks_fabric_close(fabric);
    free(process->places);
    free(process);
}

static void rank_destroy(mpi_t *mpi)
{
    if (mpi->column != mpi->process->farewell) {
        lks_column_destroy(mpi->column);
    }
    lks_column_destroy(mpi->exchange);
    free(mpi->blocks);
    free(mpi->sources);
    free(mpi->targets);
    free(mpi->views);
    free(mpi);
}

static void mpi_destroy(lks_comm_t *comm)
{
    mpi_t *mpi = mpi_of(comm);
    process_t *process = mpi->process;
    lks_comm_t *inner = mpi->inner;
    rank_destroy(mpi);
    if (atomic_fetch_sub(&process->references, 1) == 1) {
        process_destroy(process, true); /* which waits as the inner communicator's host says */
    }
    lks_comm_destroy(inner);
}

static lks_column_t *mpi_exchange(lks_comm_t *comm)
{
    return mpi_of(comm)->exchange;
}

static _Atomic uint64_t *mpi_exchange_counter(lks_comm_t *comm)
{
    return lks_window_calls(mpi_of(comm)->process->fabric.window, comm->rank, LKS_WINDOW_BUCKETS);
}

static bool mpi_shares_memory(lks_comm_t *comm)
{
    return comm->processes > 1 && !mpi_of(comm)->process->fabric.has_remote;
}

static const lks_comm_backend_t backend = {
    .name = "mpi",
    .broadcast = mpi_broadcast,
    .all_reduce = mpi_all_reduce,
    .reduce_scatter = mpi_reduce_scatter,
    .all_gather = mpi_all_gather,
    .barrier = mpi_barrier,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
    .host = mpi_host,
    .ended_elsewhere = mpi_ended_elsewhere,
    .shares_memory = mpi_shares_memory,
    .exchange = mpi_exchange,
    .exchange_counter = mpi_exchange_counter,
};

/* --- life --------------------------------------------------------------------------------------- */

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a communicator among processes: out of memory");
}

static lks_status_t make_rank(process_t *process, lks_comm_t *inner, int local, lks_comm_t **out)
{
    lks_fabric_t *fabric = &process->fabric;
    const lks_process_t *own = &fabric->processes[fabric->process];
    size_t ranks = (size_t)own->ranks;
    mpi_t *mpi = calloc(1, sizeof *mpi);
    if (!mpi) {
        return out_of_memory();
    }
    *mpi = (mpi_t){
        .comm = {.backend = &backend,
                 .rank = own->first_rank + local,
                 .world_size = fabric->world_size,
                 .processes = fabric->process_count,
                 .local_first = own->first_rank,
                 .local_size = own->ranks},
        .inner = inner,
        .process = process,
    };
    mpi->blocks = calloc((size_t)fabric->process_count, sizeof *mpi->blocks);
    mpi->sources = calloc(ranks, sizeof *mpi->sources);
    mpi->targets = calloc(ranks, sizeof *mpi->targets);
    mpi->views = calloc((size_t)fabric->world_size, sizeof *mpi->views);
    bool made = mpi->blocks && mpi->sources && mpi->targets && mpi->views;
    lks_status_t status = made ? LKS_OK : out_of_memory();
    if (status == LKS_OK && local < fabric->columns) {
        status = lks_column_create(fabric, local, &mpi->column);
    }
    if (local == 0) {
        process->farewell = mpi->column;
    }
    if (status == LKS_OK && local < fabric->columns) {
        status = lks_column_create(fabric, fabric->columns + local, &mpi->exchange);
    }
    if (status != LKS_OK) {
        rank_destroy(mpi);
        return status;
    }
    *out = &mpi->comm;
    return LKS_OK;
}

static lks_status_t make_ranks(process_t *process, const lks_comm_config_t *config, bool own_cores,
                               lks_comm_t **inner, lks_comm_t **out)
{
    lks_fabric_t *fabric = &process->fabric;
    const lks_process_t *own = &fabric->processes[fabric->process];
    lks_comm_config_t local = config ? *config : lks_comm_config_default();
    local.cores = own_cores ? (size_t)own->ranks : 1;
    process->places = calloc((size_t)own->ranks, sizeof *process->places);
    if (!process->places) {
        return out_of_memory();
    }
    LKS_TRY(lks_comm_create_local(own->ranks, &local, inner));
    lks_local_set_first_rank(inner[0], own->first_rank);
    fabric->host = inner[0]->backend->host(inner[0]);
    fabric->host->spin = own_cores ? LKS_SPIN_ROUNDS : 0;
    for (int i = 0; i < own->ranks; i++) {
        lks_status_t status = make_rank(process, inner[i], i, &out[i]);
        if (status != LKS_OK) {
            for (int k = 0; k < own->ranks; k++) {
                if (k < i) {
                    rank_destroy(mpi_of(out[k]));
                }
                lks_comm_destroy(inner[k]);
            }
            return status;
        }
    }
    return LKS_OK;
}

lks_status_t lks_comm_create_mpi(int local_size, const lks_comm_config_t *config, lks_comm_t **out)
{
    uint64_t timeout;
    bool own_cores = false;
    LKS_TRY(lks_comm_timeout(config, &timeout));
    if (local_size < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a process cannot have %d ranks", local_size);
    }
    process_t *process = calloc(1, sizeof *process);
    lks_comm_t **inner = calloc((size_t)local_size, sizeof *inner);
    lks_comm_t **made = calloc((size_t)local_size, sizeof *made);
    lks_status_t status = process && inner && made ? LKS_OK : out_of_memory();
    if (status == LKS_OK) {
        atomic_init(&process->references, local_size);
        status = lks_fabric_open(&process->fabric, local_size, timeout, &own_cores);
    }
    if (status == LKS_OK) {
        status = make_ranks(process, config, own_cores, inner, made);
    }
    if (status == LKS_OK) {
        memcpy(out, made, (size_t)local_size * sizeof *made);
    } else if (process) {
        process_destroy(process, false);
    }
    free(inner);
    free(made);
    return status;
}
