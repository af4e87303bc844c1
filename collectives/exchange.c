/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - ranks of one process reduce each other's buckets.
 * Each rank has two counters that only grow: buckets posted and buckets done, over all steps. A bucket can be reduced
 * when everybody's first counter has passed it; a step is over when everybody's second one has.
 * Where there are other processes, a part is a column's (column.h), and goes on whenever the rank looks, or its progress
 * thread (progress.h): they look in turns.
 * A rank that gives up must know that nobody touches its memory any more: peers mark when they are at work on others'
 * memory, and look for an abort after they have set the mark; who leaves an aborted job waits for the marks to go. */
#include "collectives/exchange_state.h"
#include "collectives/reduce.h"

#include <stdlib.h>

/* --- this rank's part of a bucket --------------------------------------------------------------- */

static void take_part(void *context, size_t first, size_t count, const void *numbers)
{
    const lks_exchange_part_t *part = context;
    const lks_exchange_config_t *config = &part->exchange->config;
    config->take(config->context, part->bucket, first, count, numbers);
}

/* Piece `index` of `pieces` of [first, first + count): whole cache lines. */
static lks_exchange_part_t cut(const lks_exchange_part_t *whole, size_t index, size_t pieces)
{
    size_t size = lks_dtype_size(whole->exchange->buckets[whole->bucket].dtype);
    size_t grain = LKS_EXCHANGE_LINE / size;
    size_t lines = whole->count / grain + (whole->count % grain != 0);
    size_t each = (lines + pieces - 1) / pieces * grain, skip = each * index;
    lks_exchange_part_t part = *whole;
    skip = skip < whole->count ? skip : whole->count;
    part.first += skip;
    part.count = whole->count - skip < each ? whole->count - skip : each;
    return part;
}

void lks_exchange_reduce(void *job, size_t index, size_t threads)
{
    const lks_exchange_part_t *whole = job;
    lks_exchange_part_t part = cut(whole, index, threads);
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
        .target_count = takes                   ? 0
                        : exchange->config.each ? 1
                                                : exchange->comm->local_size,
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
    lks_exchange_part_t all = {exchange, bucket, 0, own->count};
    lks_exchange_part_t part =
        cut(&all, (size_t)(comm->rank - comm->local_first), (size_t)comm->local_size);
    size_t bytes = part.count * lks_dtype_size(own->dtype) * (size_t)comm->local_size;
    if (exchange->config.spread) {
        exchange->config.spread(exchange->config.context, bytes, lks_exchange_reduce, &part);
    } else {
        lks_exchange_reduce(&part, 0, 1);
    }
}

void lks_exchange_record(const lks_exchange_t *exchange, size_t bucket, int64_t start)
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
        place = lks_place_of_both(place, exchange->shared->slots[i].places[bucket]);
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
    *exchange->part = (lks_exchange_part_t){exchange, bucket, 0, own->count};
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
    lks_exchange_wait_for_work(exchange);
    (void)lks_error_raise(&error);
    return status;
}

static lks_status_t work(lks_exchange_t *exchange, bool wait, bool *done)
{
    lks_exchange_slot_t *slot = lks_exchange_slot(exchange);
    atomic_store(&slot->working, true);
    if (lks_exchange_aborted(exchange)) {
        atomic_store(&slot->working, false);
        return lks_exchange_leave(exchange);
    }
    size_t bucket = (size_t)(exchange->done % exchange->count);
    int64_t start = lks_trace_begin(exchange->row);
    lks_status_t status = do_part(exchange, wait, done);
    if (exchange->row && status == LKS_OK) {
        lks_exchange_record(exchange, bucket, start);
    }
    atomic_store_explicit(&slot->working, false, memory_order_release);
    if (status != LKS_OK) {
        return fail(exchange, status);
    }
    exchange->done += *done;
    atomic_store(&slot->done, exchange->done);
    return LKS_OK;
}

static lks_status_t work_on_posted(lks_exchange_t *exchange)
{
    uint64_t start = lks_exchange_clock(exchange);
    bool done = true;
    while (done && exchange->done < lks_exchange_reached(exchange, LKS_EXCHANGE_POSTED)) {
        LKS_TRY(work(exchange, false, &done));
    }
    exchange->times.hidden += lks_exchange_clock(exchange) - start;
    return LKS_OK;
}

/* --- the progress thread ------------------------------------------------------------------------ */

void lks_exchange_lock(lks_exchange_t *exchange)
{
    if (exchange->progress) {
        pthread_mutex_lock(&exchange->looking);
    }
}

void lks_exchange_unlock(lks_exchange_t *exchange)
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
    lks_exchange_unlock(exchange);
    return status;
}

/* A failure ends the job, which is how the rank learns of it. */
bool lks_exchange_look(void *context)
{
    lks_exchange_t *exchange = context;
    if (pthread_mutex_trylock(&exchange->looking) != 0) {
        return true;
    }
    lks_status_t status = work_on_posted(exchange);
    bool more =
        status == LKS_OK && exchange->done < atomic_load(&lks_exchange_slot(exchange)->posted);
    pthread_mutex_unlock(&exchange->looking);
    return more;
}

/* --- a step ------------------------------------------------------------------------------------- */

lks_status_t lks_exchange_post(lks_exchange_t *exchange)
{
    if (exchange->config.each) {
        return lks_exchange_post_each(exchange);
    }
    atomic_store(&lks_exchange_slot(exchange)->posted, ++exchange->posted);
    if (exchange->counter) {
        atomic_store_explicit(exchange->counter, exchange->sequence + exchange->posted,
                              memory_order_relaxed);
    }
    lks_exchange_tell(exchange);
    if (exchange->progress) {
        lks_progress_wake(exchange->progress);
    }
    bool last = exchange->posted % exchange->count == 0;
    if (!last) { /* that one is left to finish, which comes next */
        LKS_TRY(look_if_free(exchange));
    }
    if (!lks_exchange_aborted(exchange)) {
        return LKS_OK;
    }
    lks_exchange_lock(exchange); /* nor is the progress thread at work on it, when this returns */
    lks_status_t status = lks_exchange_leave(exchange);
    lks_exchange_unlock(exchange);
    return status;
}

static lks_status_t finish(lks_exchange_t *exchange)
{
    if (exchange->config.each) {
        return lks_exchange_finish_each(exchange);
    }
    while (exchange->done < exchange->posted) {
        int64_t start = lks_trace_begin(exchange->row);
        LKS_TRY(lks_exchange_wait(exchange, LKS_EXCHANGE_POSTED, exchange->done + 1));
        lks_trace_end(exchange->row, "wait", start, NULL, 0);
        bool done;
        LKS_TRY(work(exchange, true, &done));
    }
    lks_exchange_tell(exchange);
    int64_t start = lks_trace_begin(exchange->row);
    LKS_TRY(lks_exchange_wait(exchange, LKS_EXCHANGE_DONE, exchange->posted));
    lks_trace_end(exchange->row, "wait", start, NULL, 0);
    exchange->steps++;
    return LKS_OK;
}

lks_status_t lks_exchange_finish(lks_exchange_t *exchange)
{
    uint64_t start = lks_exchange_clock(exchange);
    lks_exchange_lock(exchange);
    lks_status_t status = finish(exchange);
    exchange->times.exposed += lks_exchange_clock(exchange) - start;
    lks_exchange_unlock(exchange);
    return status;
}

/* --- what is told of it ------------------------------------------------------------------------- */

lks_status_t lks_exchange_name_spans(lks_exchange_t *exchange)
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
    return row ? lks_exchange_name_spans(exchange) : LKS_OK;
}

void lks_exchange_set_timing(lks_exchange_t *exchange, bool timing)
{
    lks_exchange_lock(exchange);
    exchange->timing = timing;
    lks_exchange_unlock(exchange);
}

lks_exchange_times_t lks_exchange_times(lks_exchange_t *exchange)
{
    lks_exchange_lock(exchange);
    lks_exchange_times_t times = exchange->times;
    lks_exchange_unlock(exchange);
    return times;
}
