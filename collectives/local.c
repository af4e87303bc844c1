/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - ranks are threads of one process and read each other's memory.
 * A collective: post what was called, meet, see that all called the same, do this rank's part of the work
 * straight from the peers' send buffers, meet again so that nobody's buffer is given back too early.
 * A small call copies its input into the post first; then no buffer of a peer is touched and the second
 * meeting falls away. Posts alternate between two places: a rank may post call n + 1 while others still read
 * call n, but nobody posts n + 2 before everyone has finished n, because all meet in n + 1.
 *
 * Abort and mismatch are decided at the first meeting, alike on all ranks: all do the work or none does.
 * So the second one cannot be aborted: everyone who is awaited there comes, and a rank that returned from it
 * may destroy its communicator while others are still waking up. */
#include "collectives/local.h"
#include "collectives/abort_state.h"
#include "collectives/backend.h"
#include "collectives/reduce.h"
#include "core/checked.h"
#include "core/parallel.h"
#include "core/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE_BYTES 2048u
#define CACHE_LINE 64u

typedef struct shared shared_t;

typedef struct local {
    lks_comm_t comm;
    shared_t *shared;
    uint64_t sequence;    /* collectives this rank has finished */
    const void **sources; /* (world_size), scratch of a reduction */
    void **targets;       /* (world_size) */
} local_t;

/* What a rank shows its peers, on cache lines of its own. */
typedef struct slot {
    _Alignas(CACHE_LINE) local_t local;
    _Alignas(CACHE_LINE) _Atomic uint64_t calls; /* collectives this rank has come to */
    _Alignas(CACHE_LINE) lks_collective_t posted[2];
    _Alignas(CACHE_LINE) unsigned char staged[2][STAGE_BYTES];
} slot_t;

struct shared {
    _Atomic int references; /* ranks that were not destroyed */
    int first_rank;         /* of the job, in sentences */
    void **pointers;        /* every rank's sources and targets */
    lks_comm_host_t host;
    lks_barrier_t all_posted;
    lks_barrier_t all_done; /* never aborted */
    slot_t slots[];         /* (world_size) */
};

/* The call that `rank` posted for the collective this rank is in. */
static lks_collective_t *posted(const local_t *local, int rank)
{
    return &local->shared->slots[rank].posted[local->sequence & 1];
}

static void post(const local_t *local, const lks_collective_t *call, size_t staged_bytes)
{
    lks_collective_t *mine = posted(local, local->comm.rank);
    *mine = *call;
    if (staged_bytes > 0) {
        unsigned char *stage = local->shared->slots[local->comm.rank].staged[local->sequence & 1];
        memcpy(stage, call->send, staged_bytes);
        mine->send = stage;
    }
    atomic_store_explicit(&local->shared->slots[local->comm.rank].calls, local->sequence + 1,
                          memory_order_release);
}

/* --- agreement ---------------------------------------------------------------------------------- */

/* After an abort: whoever waits looks up. */
static void wake_all(shared_t *shared)
{
    lks_barrier_abort(&shared->all_posted);
    lks_gate_advance(&shared->host.gate);
}

static const lks_collective_t *called(const void *context, int rank)
{
    const local_t *local = context;
    uint64_t calls = atomic_load_explicit(&local->shared->slots[rank].calls, memory_order_acquire);
    return calls > local->sequence ? posted(local, rank) : NULL;
}

/* Ends the job with a sentence, unless it has ended. */
static void end_job(const local_t *local, bool late, lks_strbuf_t *sentence)
{
    lks_abort_state_set_sentence(&local->shared->host.aborted, late, lks_strbuf_text(sentence));
    wake_all(local->shared);
    lks_strbuf_fini(sentence);
}

static lks_collective_round_t this_round(const local_t *local)
{
    return (lks_collective_round_t){.number = local->sequence,
                                    .first_rank = local->shared->first_rank,
                                    .world_size = local->comm.world_size,
                                    .called = called,
                                    .context = local};
}

static void end_late(void *context)
{
    const local_t *local = context;
    lks_collective_round_t round = this_round(local);
    lks_strbuf_t sentence = {0};
    lks_collective_describe_late(&round, posted(local, local->comm.rank),
                                 local->shared->host.timeout, &sentence);
    end_job(local, true, &sentence);
}

static lks_status_t fail_mismatch(const local_t *local)
{
    lks_collective_round_t round = this_round(local);
    lks_strbuf_t sentence = {0};
    lks_collective_describe_mismatch(&round, &sentence);
    end_job(local, false, &sentence);
    return lks_abort_state_check(&local->shared->host.aborted,
                                 lks_collective_name(posted(local, local->comm.rank)->kind));
}

static lks_status_t check_agreement(const local_t *local)
{
    for (int i = 1; i < local->comm.world_size; i++) {
        if (!lks_collective_same(posted(local, 0), posted(local, i))) {
            return fail_mismatch(local);
        }
    }
    return LKS_OK;
}

/* --- one collective ----------------------------------------------------------------------------- */

/* This rank's part of the work. Staged: every input is a copy, so only this rank's recv may be written. */
typedef void (*work_fn_t)(const local_t *local, const lks_collective_t *call, bool staged);

/* Posts the call, meets the others and sees that all called the same. */
static lks_status_t meet(local_t *local, const lks_collective_t *call, size_t staged_bytes)
{
    shared_t *shared = local->shared;
    const char *name = lks_collective_name(call->kind);
    LKS_TRY(lks_abort_state_check(&shared->host.aborted, name));
    post(local, call, staged_bytes);
    if (!lks_barrier_wait_for(&shared->all_posted, shared->host.timeout, end_late, local)) {
        return lks_abort_state_check(&shared->host.aborted, name);
    }
    return check_agreement(local);
}

/* `input_bytes`: of one rank's send; the same on all ranks that agree. */
static lks_status_t run(lks_comm_t *comm, const lks_collective_t *call, size_t input_bytes,
                        work_fn_t work)
{
    local_t *local = (local_t *)comm;
    bool staged = input_bytes <= STAGE_BYTES;
    bool has_input = call->kind != LKS_COLLECTIVE_BROADCAST || call->root == comm->rank;
    LKS_TRY(meet(local, call, staged && has_input ? input_bytes : 0));
    if (input_bytes > 0) {
        work(local, call, staged);
    }
    if (!staged) {
        (void)lks_barrier_wait(&local->shared->all_done);
    }
    local->sequence++;
    return LKS_OK;
}

lks_status_t lks_local_run(lks_comm_t *comm, const lks_collective_t *call,
                           lks_status_t (*work)(void *context), void *context)
{
    local_t *local = (local_t *)comm;
    LKS_TRY(meet(local, call, 0));
    lks_status_t status = work(context);
    (void)lks_barrier_wait(&local->shared->all_done); /* everyone comes, failed or not */
    local->sequence++;
    return status;
}

const lks_collective_t *lks_local_posted(lks_comm_t *comm, int rank)
{
    return posted((local_t *)comm, rank);
}

void lks_local_set_first_rank(lks_comm_t *comm, int first_rank)
{
    ((local_t *)comm)->shared->first_rank = first_rank;
}

static void broadcast_work(const local_t *local, const lks_collective_t *call, bool staged)
{
    (void)staged;
    if (local->comm.rank != call->root) {
        memcpy(call->recv, posted(local, call->root)->send, call->nbytes);
    }
}

static lks_status_t local_broadcast(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(comm, call, call->nbytes, broadcast_work);
}

/* `count` elements that begin `skip` bytes into every rank's send. */
static void reduce_from_all(const local_t *local, const lks_collective_t *call, size_t skip,
                            size_t count, int target_count)
{
    for (int i = 0; i < local->comm.world_size; i++) {
        local->sources[i] = (const char *)posted(local, i)->send + skip;
    }
    lks_reduce(&(lks_reduction_t){.dtype = call->dtype,
                                  .op = call->op,
                                  .count = count,
                                  .sources = local->sources,
                                  .source_count = local->comm.world_size,
                                  .targets = local->targets,
                                  .target_count = target_count,
                                  .divisor = local->comm.world_size});
}

/* Staged: all of it, for this rank. Else this rank's slice, for everyone; slices are whole cache lines. */
static void all_reduce_work(const local_t *local, const lks_collective_t *call, bool staged)
{
    if (staged) {
        local->targets[0] = call->recv;
        reduce_from_all(local, call, 0, call->count, 1);
        return;
    }
    size_t ranks = (size_t)local->comm.world_size, size = lks_dtype_size(call->dtype);
    size_t lines = (call->nbytes + CACHE_LINE - 1) / CACHE_LINE;
    size_t slice = (lines + ranks - 1) / ranks * (CACHE_LINE / size);
    size_t first = slice * (size_t)local->comm.rank;
    if (first >= call->count) {
        return;
    }
    size_t left = call->count - first;
    for (int i = 0; i < local->comm.world_size; i++) {
        local->targets[i] = (char *)posted(local, i)->recv + first * size;
    }
    reduce_from_all(local, call, first * size, left < slice ? left : slice, local->comm.world_size);
}

static lks_status_t local_all_reduce(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(comm, call, call->nbytes, all_reduce_work);
}

static void reduce_scatter_work(const local_t *local, const lks_collective_t *call, bool staged)
{
    (void)staged;
    local->targets[0] = call->recv;
    reduce_from_all(local, call, (size_t)local->comm.rank * call->nbytes, call->count, 1);
}

static lks_status_t local_reduce_scatter(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(comm, call, call->nbytes * (size_t)comm->world_size, reduce_scatter_work);
}

static void all_gather_work(const local_t *local, const lks_collective_t *call, bool staged)
{
    (void)staged;
    for (int i = 0; i < local->comm.world_size; i++) {
        char *slice = (char *)call->recv + (size_t)i * call->nbytes;
        const void *source = posted(local, i)->send;
        if (slice != source) {
            memcpy(slice, source, call->nbytes);
        }
    }
}

static lks_status_t local_all_gather(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(comm, call, call->nbytes, all_gather_work);
}

static lks_status_t local_barrier(lks_comm_t *comm, const lks_collective_t *call)
{
    return run(comm, call, 0, NULL);
}

/* --- life --------------------------------------------------------------------------------------- */

static void local_abort(lks_comm_t *comm, const char *reason)
{
    shared_t *shared = ((local_t *)comm)->shared;
    lks_abort_state_set_by_rank(&shared->host.aborted, comm->rank, reason);
    wake_all(shared);
}

static void shared_destroy(shared_t *shared)
{
    lks_abort_state_fini(&shared->host.aborted);
    free(shared->pointers);
    free(shared);
}

static void local_destroy(lks_comm_t *comm)
{
    shared_t *shared = ((local_t *)comm)->shared;
    lks_abort_state_set(&shared->host.aborted, "rank %d destroyed its communicator", comm->rank);
    wake_all(shared);
    if (atomic_fetch_sub(&shared->references, 1) == 1) {
        shared_destroy(shared);
    }
}

static lks_comm_host_t *local_host(lks_comm_t *comm)
{
    return &((local_t *)comm)->shared->host;
}

static const lks_comm_backend_t backend = {
    .name = "local",
    .broadcast = local_broadcast,
    .all_reduce = local_all_reduce,
    .reduce_scatter = local_reduce_scatter,
    .all_gather = local_all_gather,
    .barrier = local_barrier,
    .abort = local_abort,
    .destroy = local_destroy,
    .host = local_host,
};

/* NULL without memory. Everything but the ranks' slots is ready. */
static shared_t *shared_create(int world_size, uint32_t spin)
{
    size_t ranks = (size_t)world_size, nbytes, pointers;
    if (!lks_mul_size(ranks, sizeof(slot_t), &nbytes) ||
        !lks_add_size(nbytes, sizeof(shared_t), &nbytes) ||
        !lks_mul_size(ranks, 2 * ranks, &pointers)) {
        return NULL;
    }
    shared_t *shared = aligned_alloc(_Alignof(shared_t), nbytes);
    if (!shared) {
        return NULL;
    }
    memset(shared, 0, sizeof *shared);
    shared->pointers = calloc(pointers, sizeof *shared->pointers);
    if (!shared->pointers) {
        free(shared);
        return NULL;
    }
    atomic_init(&shared->references, world_size);
    lks_abort_state_init(&shared->host.aborted);
    lks_barrier_init(&shared->all_posted, (uint32_t)world_size, spin);
    lks_barrier_init(&shared->all_done, (uint32_t)world_size, spin);
    return shared;
}

lks_status_t lks_comm_create_local(int world_size, const lks_comm_config_t *config,
                                   lks_comm_t **out)
{
    if (world_size < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a communicator cannot have %d ranks", world_size);
    }
    uint64_t timeout;
    LKS_TRY(lks_comm_timeout(config, &timeout));
    size_t ranks = (size_t)world_size, cores = config ? config->cores : 0;
    bool own_cores = (cores ? cores : lks_allowed_cores()) >= ranks;
    shared_t *shared = shared_create(world_size, own_cores ? LKS_SPIN_ROUNDS : 0);
    if (!shared) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a communicator of %d ranks: out of memory", world_size);
    }
    shared->host.timeout = timeout;
    shared->host.spin = own_cores ? LKS_SPIN_ROUNDS : 0;
    for (int i = 0; i < world_size; i++) {
        atomic_init(&shared->slots[i].calls, 0);
        void **pointers = shared->pointers + 2 * ranks * (size_t)i;
        local_t *local = &shared->slots[i].local;
        *local = (local_t){
            .comm = {.backend = &backend,
                     .rank = i,
                     .world_size = world_size,
                     .processes = 1,
                     .local_size = world_size},
            .shared = shared,
            .sources = (const void **)pointers,
            .targets = pointers + ranks,
        };
        out[i] = &local->comm;
    }
    return LKS_OK;
}
