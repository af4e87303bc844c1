/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - ranks of one process reduce each other's buckets.
 * Each rank has two counters that only grow: buckets posted and buckets done, over all steps. A bucket can be reduced
 * when everybody's first counter has passed it; a step is over when everybody's second one has.
 * Where there are other processes, a part is a column's (column.h), and goes on whenever the rank looks, or its progress
 * thread (progress.h): they look in turns.
 * A rank that gives up must know that nobody touches its memory any more: peers mark when they are at work on others'
 * memory, and look for an abort after they have set the mark; who leaves an aborted job waits for the marks to go. */
#include "collectives/exchange.h"
#include "collectives/backend.h"
#include "collectives/column.h"
#include "collectives/memory.h"
#include "collectives/progress.h"
#include "collectives/reduce.h"
#include "core/fnv.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_LINE 64u

typedef struct shared shared_t;

/* What a rank shows its peers. */
typedef struct slot {
    _Alignas(CACHE_LINE) _Atomic uint64_t posted;
    _Alignas(CACHE_LINE) _Atomic uint64_t done;
    _Atomic bool working; /* on the memory of peers */
    _Alignas(CACHE_LINE) const lks_exchange_bucket_t *buckets;
    const lks_place_t *places; /* of buckets, where other processes see them */
} slot_t;

struct lks_exchange {
    lks_comm_t *comm;
    lks_progress_t *progress; /* NULL: nothing travels as messages */
    pthread_mutex_t looking;  /* with it: who changes anything below, but `posted`, has this */
    lks_comm_host_t *host;
    lks_exchange_config_t config;
    int divisor;
    lks_exchange_bucket_t *buckets; /* (count) */
    lks_place_t *places;            /* (count) */
    size_t count;
    uint64_t steps;
    uint64_t posted, done; /* as in this rank's slot */
    shared_t *shared;
    const void **sources;  /* (ranks), scratch of a reduction */
    void **targets;        /* (ranks) */
    lks_column_t *column;  /* NULL: alone in the job, or without a part of it */
    lks_block_t *blocks;   /* (processes) */
    void **views;          /* (world_size) */
    lks_collective_t call; /* the bucket that is under way in the column */
    struct part *part;     /* likewise */
    bool under_way;
    uint64_t sequence;         /* buckets before set_buckets was called last */
    _Atomic uint64_t *counter; /* of buckets, which other processes see; NULL without any */
    lks_trace_t *trace;
    lks_trace_row_t *row;
    const char **spans; /* (count), with a trace */
    bool timing;
    lks_exchange_times_t times;
};

struct shared {
    _Atomic int references;
    slot_t slots[]; /* (ranks of the process) */
};

static slot_t *own_slot(const lks_exchange_t *exchange)
{
    return &exchange->shared->slots[exchange->comm->rank - exchange->comm->local_first];
}

/* --- waiting ------------------------------------------------------------------------------------ */

typedef enum { POSTED, DONE } counter_t;

static uint64_t counter(const lks_exchange_t *exchange, int local, counter_t which)
{
    slot_t *slot = &exchange->shared->slots[local];
    return atomic_load(which == POSTED ? &slot->posted : &slot->done);
}

/* What all ranks' counters have reached. */
static uint64_t reached(const lks_exchange_t *exchange, counter_t which)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < exchange->comm->local_size; i++) {
        uint64_t value = counter(exchange, i, which);
        least = value < least ? value : least;
    }
    return least;
}

/* Nobody is at work on our memory when this returns. The job is aborted, so nobody begins. */
static void wait_for_work(const lks_exchange_t *exchange)
{
    for (int i = 0; i < exchange->comm->local_size; i++) {
        slot_t *slot = &exchange->shared->slots[i];
        while (slot != own_slot(exchange) && atomic_load(&slot->working)) {
            (void)sched_yield();
        }
    }
}

static lks_status_t leave(const lks_exchange_t *exchange)
{
    wait_for_work(exchange);
    return lks_abort_state_check(&exchange->host->aborted, "gradient exchange");
}

static bool aborted(const lks_exchange_t *exchange)
{
    return atomic_load(&exchange->host->aborted.set);
}

static void end_late(const lks_exchange_t *exchange, counter_t which, uint64_t wanted)
{
    lks_strbuf_t sentence = {0};
    int late = 0;
    size_t count = exchange->count ? exchange->count : 1;
    lks_strbuf_appendf(&sentence, "gradients of step %" PRIu64 ", bucket %" PRIu64 ": rank",
                       exchange->steps, (wanted - 1) % count);
    for (int i = 0; i < exchange->comm->local_size; i++) {
        if (counter(exchange, i, which) < wanted) {
            lks_strbuf_appendf(&sentence, "%s%d", late++ ? ", " : " ",
                               exchange->comm->local_first + i);
        }
    }
    lks_strbuf_appendf(&sentence, " did not come within %g s",
                       (double)exchange->host->timeout * 1e-9);
    lks_abort_state_set_sentence(&exchange->host->aborted, true, lks_strbuf_text(&sentence));
    lks_strbuf_fini(&sentence);
    exchange->comm->backend->abort(exchange->comm, NULL); /* wakes all; the reason is there */
}

/* Whether a rank that is behind is at work with other processes. It waits for them itself, and knows whom to name. */
static bool waits_for_others(const lks_exchange_t *exchange, counter_t which, uint64_t wanted)
{
    bool waits = false;
    for (int i = 0; i < exchange->comm->local_size && exchange->comm->processes > 1; i++) {
        waits |= counter(exchange, i, which) < wanted &&
                 atomic_load(&exchange->shared->slots[i].working);
    }
    return waits;
}

/* Sleeps until all ranks' counters have reached `wanted` or the job is aborted. This rank counts as a sleeper before it
 * looks, and whoever advances a counter looks for sleepers after that: one of them sees the other. */
static void sleep_until(const lks_exchange_t *exchange, counter_t which, uint64_t wanted)
{
    lks_gate_t *gate = &exchange->host->gate;
    uint64_t deadline = lks_deadline_in(exchange->host->timeout);
    bool patient = true;
    atomic_fetch_add(&gate->sleepers, 1);
    for (;;) {
        uint32_t closed = atomic_load(&gate->value);
        if (reached(exchange, which) >= wanted || aborted(exchange)) {
            break;
        }
        if (lks_gate_wait_until(gate, closed, 0, deadline) != closed) {
            continue;
        }
        if (patient && waits_for_others(exchange, which, wanted)) {
            deadline = lks_deadline_in(exchange->host->timeout);
            patient = false;
        } else {
            end_late(exchange, which, wanted);
        }
    }
    atomic_fetch_sub(&gate->sleepers, 1);
}

/* Waits until all ranks' counters have reached `wanted`. */
static lks_status_t wait_for_all(const lks_exchange_t *exchange, counter_t which, uint64_t wanted)
{
    for (uint32_t i = 0; i < exchange->host->spin; i++) {
        if (reached(exchange, which) >= wanted) {
            return LKS_OK;
        }
        if (aborted(exchange)) { /* perhaps by a peer that had all, and left: then so have we */
            break;
        }
        lks_pause();
    }
    sleep_until(exchange, which, wanted);
    return reached(exchange, which) >= wanted ? LKS_OK : leave(exchange);
}

/* Sleepers look again. */
static void tell(const lks_exchange_t *exchange)
{
    if (atomic_load(&exchange->host->gate.sleepers) > 0) {
        lks_gate_advance(&exchange->host->gate);
    }
}

/* --- this rank's part of a bucket --------------------------------------------------------------- */

typedef struct part {
    lks_exchange_t *exchange;
    size_t bucket, first, count; /* elements of the bucket */
} part_t;

static void take_part(void *context, size_t first, size_t count, const void *numbers)
{
    const part_t *part = context;
    const lks_exchange_config_t *config = &part->exchange->config;
    config->take(config->context, part->bucket, first, count, numbers);
}

/* Piece `index` of `pieces` of [first, first + count): whole cache lines. */
static part_t cut(const part_t *whole, size_t index, size_t pieces)
{
    size_t size = lks_dtype_size(whole->exchange->buckets[whole->bucket].dtype);
    size_t grain = CACHE_LINE / size;
    size_t lines = whole->count / grain + (whole->count % grain != 0);
    size_t each = (lines + pieces - 1) / pieces * grain, skip = each * index;
    part_t part = *whole;
    skip = skip < whole->count ? skip : whole->count;
    part.first += skip;
    part.count = whole->count - skip < each ? whole->count - skip : each;
    return part;
}

static void reduce_piece(void *job, size_t index, size_t threads)
{
    const part_t *whole = job;
    part_t part = cut(whole, index, threads);
    lks_exchange_t *exchange = part.exchange;
    const lks_exchange_bucket_t *own = &exchange->buckets[part.bucket];
    const void *const own_source[] = {own->data};
    bool takes = exchange->config.take != NULL;
    if (part.count == 0 || (own->reduced && !takes)) {
        return;
    }
    lks_reduce(&(lks_reduction_t){
        .dtype = own->dtype,
        .op = own->reduced ? LKS_REDUCE_SUM : exchange->config.op,
        .first = part.first,
        .count = part.count,
        .sources = own->reduced ? own_source : exchange->sources,
        .source_count = own->reduced ? 1 : exchange->comm->local_size,
        .targets = exchange->targets,
        .target_count = takes ? 0 : exchange->comm->local_size,
        .divisor = exchange->divisor,
        .take = takes ? take_part : NULL,
        .take_context = &part,
    });
}

/* This rank's part, on all threads it has. */
static void reduce_part(lks_exchange_t *exchange, size_t bucket)
{
    const lks_comm_t *comm = exchange->comm;
    const lks_exchange_bucket_t *own = &exchange->buckets[bucket];
    for (int i = 0; i < comm->local_size; i++) {
        exchange->targets[i] = exchange->shared->slots[i].buckets[bucket].data;
        exchange->sources[i] = exchange->targets[i];
    }
    part_t all = {exchange, bucket, 0, own->count};
    part_t part = cut(&all, (size_t)(comm->rank - comm->local_first), (size_t)comm->local_size);
    size_t bytes = part.count * lks_dtype_size(own->dtype) * (size_t)comm->local_size;
    if (exchange->config.spread) {
        exchange->config.spread(exchange->config.context, bytes, reduce_piece, &part);
    } else {
        reduce_piece(&part, 0, 1);
    }
}

static void record_bucket(const lks_exchange_t *exchange, size_t bucket, int64_t start)
{
    const lks_exchange_bucket_t *own = &exchange->buckets[bucket];
    const lks_trace_arg_t bytes = {"bytes", (int64_t)(own->count * lks_dtype_size(own->dtype))};
    lks_trace_end(exchange->row, exchange->spans[bucket], start, &bytes, 1);
}

/* Where all ranks of this process have a bucket. */
static lks_place_t common_place(const lks_exchange_t *exchange, size_t bucket)
{
    lks_place_t place = exchange->places[bucket];
    for (int i = 0; i < exchange->comm->local_size; i++) {
        if (!lks_place_same(exchange->shared->slots[i].places[bucket], place)) {
            return (lks_place_t){0};
        }
    }
    return place;
}

/* Begins the exchange of a bucket with the other processes. */
static void begin(lks_exchange_t *exchange, size_t bucket)
{
    const lks_comm_t *comm = exchange->comm;
    const lks_exchange_bucket_t *own = &exchange->buckets[bucket];
    lks_block_divide(own->count, comm->processes, exchange->blocks);
    for (int i = 0; i < comm->local_size; i++) {
        exchange->targets[i] = exchange->shared->slots[i].buckets[bucket].data;
        exchange->sources[i] = exchange->targets[i];
    }
    exchange->call = (lks_collective_t){.kind = LKS_COLLECTIVE_GRADIENTS,
                                        .dtype = own->dtype,
                                        .op = exchange->config.op,
                                        .count = own->count};
    *exchange->part = (part_t){exchange, bucket, 0, own->count};
    lks_place_t place = common_place(exchange, bucket);
    if (place.memory) {
        lks_comm_views(comm, place, exchange->views);
    }
    lks_column_begin(exchange->column,
                     &(lks_column_job_t){.call = &exchange->call,
                                         .number = exchange->sequence + exchange->done,
                                         .reduces = true,
                                         .gathers = true,
                                         .divisor = exchange->divisor,
                                         .blocks = exchange->blocks,
                                         .count = own->count,
                                         .views = place.memory ? exchange->views : NULL,
                                         .place = place,
                                         .sources = exchange->sources,
                                         .source_count = comm->local_size,
                                         .targets = exchange->targets,
                                         .target_count = comm->local_size,
                                         .take = exchange->config.take ? take_part : NULL,
                                         .context = exchange->part});
    exchange->under_way = true;
}

/* This rank's part of the next bucket; `wait`: all of it, else what can be done now. */
static lks_status_t do_part(lks_exchange_t *exchange, bool wait, bool *done)
{
    size_t bucket = (size_t)(exchange->done % exchange->count);
    *done = true;
    if (exchange->comm->processes == 1 || exchange->buckets[bucket].reduced) {
        reduce_part(exchange, bucket);
        return LKS_OK;
    }
    if (!exchange->column) {
        return LKS_OK;
    }
    if (!exchange->under_way) {
        begin(exchange, bucket);
    }
    LKS_TRY(wait ? lks_column_finish(exchange->column)
                 : lks_column_advance(exchange->column, done));
    exchange->under_way = !*done;
    return LKS_OK;
}

/* Other processes learn why this one leaves. */
static lks_status_t fail(lks_exchange_t *exchange, lks_status_t status)
{
    const lks_error_t error = *lks_last_error();
    lks_comm_abort(exchange->comm, error.message);
    (void)leave(exchange);
    (void)lks_error_raise(&error);
    return status;
}

static lks_status_t work(lks_exchange_t *exchange, bool wait, bool *done)
{
    slot_t *slot = own_slot(exchange);
    atomic_store(&slot->working, true);
    if (aborted(exchange)) {
        atomic_store(&slot->working, false);
        return leave(exchange);
    }
    size_t bucket = (size_t)(exchange->done % exchange->count);
    int64_t start = lks_trace_begin(exchange->row);
    lks_status_t status = do_part(exchange, wait, done);
    if (exchange->row && status == LKS_OK) {
        record_bucket(exchange, bucket, start);
    }
    atomic_store_explicit(&slot->working, false, memory_order_release);
    if (status != LKS_OK) {
        return fail(exchange, status);
    }
    exchange->done += *done;
    atomic_store(&slot->done, exchange->done);
    return LKS_OK;
}

static uint64_t clock_if(bool timing)
{
    return timing ? lks_now_ns() : 0;
}

static lks_status_t work_on_posted(lks_exchange_t *exchange)
{
    uint64_t start = clock_if(exchange->timing);
    bool done = true;
    while (done && exchange->done < reached(exchange, POSTED)) {
        LKS_TRY(work(exchange, false, &done));
    }
    exchange->times.hidden += clock_if(exchange->timing) - start;
    return LKS_OK;
}

/* --- the progress thread ------------------------------------------------------------------------ */

static void lock(lks_exchange_t *exchange)
{
    if (exchange->progress) {
        pthread_mutex_lock(&exchange->looking);
    }
}

static void unlock(lks_exchange_t *exchange)
{
    if (exchange->progress) {
        pthread_mutex_unlock(&exchange->looking);
    }
}

/* Unless the progress thread is at it. */
static lks_status_t look_if_free(lks_exchange_t *exchange)
{
    if (exchange->progress && pthread_mutex_trylock(&exchange->looking) != 0) {
        return LKS_OK;
    }
    lks_status_t status = work_on_posted(exchange);
    unlock(exchange);
    return status;
}

/* A failure ends the job, which is how the rank learns of it. */
static bool look(void *context)
{
    lks_exchange_t *exchange = context;
    if (pthread_mutex_trylock(&exchange->looking) != 0) {
        return true;
    }
    lks_status_t status = work_on_posted(exchange);
    bool more = status == LKS_OK && exchange->done < atomic_load(&own_slot(exchange)->posted);
    pthread_mutex_unlock(&exchange->looking);
    return more;
}

/* --- a step ------------------------------------------------------------------------------------- */

lks_status_t lks_exchange_post(lks_exchange_t *exchange)
{
    atomic_store(&own_slot(exchange)->posted, ++exchange->posted);
    if (exchange->counter) {
        atomic_store_explicit(exchange->counter, exchange->sequence + exchange->posted,
                              memory_order_relaxed);
    }
    tell(exchange);
    if (exchange->progress) {
        lks_progress_wake(exchange->progress);
    }
    bool last = exchange->posted % exchange->count == 0;
    if (!last) { /* that one is left to finish, which comes next */
        LKS_TRY(look_if_free(exchange));
    }
    if (!aborted(exchange)) {
        return LKS_OK;
    }
    lock(exchange); /* nor is the progress thread at work on it, when this returns */
    lks_status_t status = leave(exchange);
    unlock(exchange);
    return status;
}

static lks_status_t finish(lks_exchange_t *exchange)
{
    while (exchange->done < exchange->posted) {
        int64_t start = lks_trace_begin(exchange->row);
        LKS_TRY(wait_for_all(exchange, POSTED, exchange->done + 1));
        lks_trace_end(exchange->row, "wait", start, NULL, 0);
        bool done;
        LKS_TRY(work(exchange, true, &done));
    }
    tell(exchange);
    int64_t start = lks_trace_begin(exchange->row);
    LKS_TRY(wait_for_all(exchange, DONE, exchange->posted));
    lks_trace_end(exchange->row, "wait", start, NULL, 0);
    exchange->steps++;
    return LKS_OK;
}

lks_status_t lks_exchange_finish(lks_exchange_t *exchange)
{
    uint64_t start = clock_if(exchange->timing);
    lock(exchange);
    lks_status_t status = finish(exchange);
    exchange->times.exposed += clock_if(exchange->timing) - start;
    unlock(exchange);
    return status;
}

/* --- what is told of it ------------------------------------------------------------------------- */

static lks_status_t name_spans(lks_exchange_t *exchange)
{
    free(exchange->spans);
    exchange->spans = calloc(exchange->count + 1, sizeof *exchange->spans);
    if (!exchange->spans) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a trace of gradient buckets: out of memory");
    }
    for (size_t i = 0; i < exchange->count; i++) {
        exchange->spans[i] = lks_trace_name(exchange->trace, "bucket %zu reduce", i);
    }
    return LKS_OK;
}

lks_status_t lks_exchange_set_trace(lks_exchange_t *exchange, lks_trace_t *trace,
                                    lks_trace_row_t *row)
{
    exchange->trace = trace;
    exchange->row = row;
    return row ? name_spans(exchange) : LKS_OK;
}

void lks_exchange_set_timing(lks_exchange_t *exchange, bool timing)
{
    lock(exchange);
    exchange->timing = timing;
    unlock(exchange);
}

lks_exchange_times_t lks_exchange_times(lks_exchange_t *exchange)
{
    lock(exchange);
    lks_exchange_times_t times = exchange->times;
    unlock(exchange);
    return times;
}

/* --- life --------------------------------------------------------------------------------------- */

/* The pointer of the first rank of this process, for all of them. */
static lks_status_t share(lks_comm_t *comm, void *mine, void **out)
{
    int64_t address = (int64_t)(intptr_t)mine;
    int64_t *all = malloc((size_t)comm->world_size * sizeof *all);
    if (!all) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
    }
    lks_status_t status = lks_comm_all_gather(comm, &address, all, 1, LKS_DTYPE_I64, NULL);
    if (status == LKS_OK) {
        *out = (void *)(intptr_t)all[comm->local_first];
    }
    free(all);
    return status;
}

/* The first rank of a process makes what its ranks share. */
static lks_status_t open_shared(lks_exchange_t *exchange)
{
    lks_comm_t *comm = exchange->comm;
    size_t nbytes = sizeof(shared_t) + (size_t)comm->local_size * sizeof(slot_t);
    shared_t *made = NULL;
    if (comm->rank == comm->local_first && (made = aligned_alloc(CACHE_LINE, nbytes))) {
        memset(made, 0, nbytes);
        atomic_init(&made->references, comm->local_size);
    }
    void *shared = NULL;
    lks_status_t status = share(comm, made, &shared);
    if (status != LKS_OK) {
        free(made);
        return status;
    }
    exchange->shared = shared;
    return shared ? LKS_OK : lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
}

static lks_status_t open_column(lks_exchange_t *exchange)
{
    lks_comm_t *comm = exchange->comm;
    exchange->column = comm->backend->exchange(comm);
    exchange->counter = comm->backend->exchange_counter(comm);
    exchange->blocks = calloc((size_t)comm->processes, sizeof *exchange->blocks);
    exchange->views = calloc((size_t)comm->world_size, sizeof *exchange->views);
    exchange->part = calloc(1, sizeof *exchange->part);
    return exchange->blocks && exchange->views && exchange->part
               ? LKS_OK
               : lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
}

lks_status_t lks_exchange_create(lks_comm_t *comm, const lks_exchange_config_t *config,
                                 lks_exchange_t **out)
{
    if (!comm->backend->host) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "a gradient exchange: the %s backend has none",
                        comm->backend->name);
    }
    size_t ranks = (size_t)comm->local_size;
    lks_exchange_t *exchange = calloc(1, sizeof *exchange);
    void **pointers = calloc(2 * ranks, sizeof *pointers);
    if (!exchange || !pointers) {
        free(exchange);
        free(pointers);
        return lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
    }
    *exchange = (lks_exchange_t){.comm = comm,
                                 .host = comm->backend->host(comm),
                                 .config = *config,
                                 .divisor = comm->world_size,
                                 .sources = (const void **)pointers,
                                 .targets = pointers + ranks};
    pthread_mutex_init(&exchange->looking, NULL);
    lks_status_t status = comm->processes > 1 ? open_column(exchange) : LKS_OK;
    if (status == LKS_OK) {
        status = open_shared(exchange);
    }
    if (status == LKS_OK && exchange->column && lks_column_has_messages(exchange->column)) {
        status = lks_progress_create(look, exchange, &exchange->progress);
    }
    if (status != LKS_OK) {
        lks_exchange_destroy(exchange);
        return status;
    }
    *out = exchange;
    return LKS_OK;
}

/* Its owner gives it up because something failed, most likely. */
static void abort_step(lks_exchange_t *exchange)
{
    const lks_error_t *error = lks_last_error();
    char reason[LKS_ERROR_MESSAGE_MAX + 64];
    (void)snprintf(reason, sizeof reason, "it left in the middle of a step%s%s",
                   error->status == LKS_OK ? "" : ", its last error: ", error->message);
    lks_comm_abort(exchange->comm, reason);
}

void lks_exchange_destroy(lks_exchange_t *exchange)
{
    if (!exchange) {
        return;
    }
    lks_progress_destroy(exchange->progress);
    pthread_mutex_destroy(&exchange->looking);
    shared_t *shared = exchange->shared;
    if (shared) {
        if (exchange->count > 0 &&
            (exchange->posted % exchange->count != 0 || exchange->done < exchange->posted)) {
            abort_step(exchange);
        }
        if (aborted(exchange)) {
            wait_for_work(exchange);
        }
        if (atomic_fetch_sub(&shared->references, 1) == 1) {
            free(shared);
        }
    }
    free(exchange->buckets);
    free(exchange->places);
    free(exchange->spans);
    free(exchange->blocks);
    free(exchange->views);
    free(exchange->part);
    free(exchange->sources);
    free(exchange);
}

/* --- buckets ------------------------------------------------------------------------------------ */

/* Of what ranks must agree on. */
static uint64_t digest(const lks_exchange_bucket_t *buckets, size_t count)
{
    uint64_t hash = LKS_FNV_START;
    for (size_t i = 0; i < count; i++) {
        const uint64_t words[] = {buckets[i].count, (uint64_t)buckets[i].dtype, buckets[i].reduced};
        hash = lks_fnv(hash, words, sizeof words);
    }
    return hash;
}

static lks_status_t check_agreement(lks_exchange_t *exchange, const lks_exchange_bucket_t *buckets,
                                    size_t count)
{
    bool agree;
    LKS_TRY(lks_comm_agree(exchange->comm, digest(buckets, count), &agree));
    if (!agree) {
        lks_comm_abort(exchange->comm, "gradient buckets differ between ranks");
        return lks_abort_state_check(&exchange->host->aborted, "gradient exchange");
    }
    return LKS_OK;
}

void lks_exchange_set_take(lks_exchange_t *exchange,
                           void (*take)(void *context, size_t bucket, size_t first, size_t count,
                                        const void *numbers))
{
    exchange->config.take = take;
}

void lks_exchange_set_divisor(lks_exchange_t *exchange, int divisor)
{
    exchange->divisor = divisor;
}

/* Both arrays are the exchange's from here on. */
static lks_status_t take_over(lks_exchange_t *exchange, lks_exchange_bucket_t *buckets,
                              lks_place_t *places, size_t count)
{
    free(exchange->buckets);
    free(exchange->places);
    exchange->buckets = buckets;
    exchange->places = places;
    exchange->count = count;
    exchange->sequence += exchange->posted;
    exchange->posted = exchange->done = 0;
    slot_t *slot = own_slot(exchange);
    slot->buckets = buckets;
    slot->places = places;
    atomic_store(&slot->posted, 0);
    atomic_store(&slot->done, 0);
    return exchange->row ? name_spans(exchange) : LKS_OK;
}

lks_status_t lks_exchange_set_buckets(lks_exchange_t *exchange,
                                      const lks_exchange_bucket_t *buckets, size_t count)
{
    lks_exchange_bucket_t *copy = calloc(count ? count : 1, sizeof *copy);
    lks_place_t *places = calloc(count ? count : 1, sizeof *places);
    if (!copy || !places) {
        free(copy);
        free(places);
        return lks_fail(LKS_ERR_NO_MEMORY, "%zu gradient buckets: out of memory", count);
    }
    memcpy(copy, buckets, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        size_t nbytes = buckets[i].count * lks_dtype_size(buckets[i].dtype);
        places[i] = lks_comm_place(exchange->comm, buckets[i].data, nbytes);
    }
    lks_status_t status = check_agreement(exchange, buckets, count);
    if (status != LKS_OK) {
        free(copy);
        free(places);
        return status;
    }
    lock(exchange);
    status = take_over(exchange, copy, places, count);
    unlock(exchange);
    return status == LKS_OK ? lks_comm_barrier(exchange->comm) : status;
}
