/* SPDX-License-Identifier: Apache-2.0 */
/* column.c - a job as three stages that follow each other at a distance of one chunk: put, reduce, take.
 * Slots are used again after LKS_WINDOW_SLOTS chunks. Nobody asks whether one is free: a process puts chunk k of a job after
 * it has taken chunk k - 3, and a peer's chunk k is waited for before chunk k is reduced, so whoever uses a slot again knows
 * that its last reader is done. */
#include "collectives/column_state.h"
#include "collectives/reduce.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

void lks_block_divide(size_t count, int processes, lks_block_t *blocks)
{
    enum { GRAIN = 64 }; /* elements: a line of the smallest dtype */
    size_t grains = count / GRAIN + (count % GRAIN != 0), shares = (size_t)processes;
    size_t each = (grains + shares - 1) / shares * GRAIN;
    for (size_t q = 0; q < shares; q++) {
        size_t first = q * each < count ? q * each : count, left = count - first;
        blocks[q] = (lks_block_t){first, left < each ? left : each};
    }
}

/* --- parts -------------------------------------------------------------------------------------- */

lks_block_t lks_column_part(const lks_column_t *column, int q)
{
    const lks_block_t *block = &column->job.blocks[q];
    size_t columns = (size_t)column->fabric->columns, grain = LINE / column->element;
    size_t lane = (size_t)column->index % columns;
    grain = grain ? grain : 1;
    size_t grains = block->count / grain + (block->count % grain != 0);
    size_t each = (grains + columns - 1) / columns * grain, skip = each * lane;
    skip = skip < block->count ? skip : block->count;
    size_t left = block->count - skip;
    return (lks_block_t){block->first + skip, left < each ? left : each};
}

/* Chunk j of it. */
static lks_block_t chunk_of(const lks_column_t *column, int q, size_t j)
{
    if (column->small) {
        return (lks_block_t){0, column->job.count};
    }
    lks_block_t part = lks_column_part(column, q);
    size_t skip = j * column->per_chunk;
    skip = skip < part.count ? skip : part.count;
    size_t left = part.count - skip;
    return (lks_block_t){part.first + skip, left < column->per_chunk ? left : column->per_chunk};
}

/* --- put ---------------------------------------------------------------------------------------- */

/* This process's ranks, reduced, as partials. */
static void reduce_own(const lks_column_t *column, lks_block_t range, void *partial)
{
    const lks_column_job_t *job = &column->job;
    void *target = lks_column_rebased(partial, range.first, column->partial);
    lks_reduce(&(lks_reduction_t){.dtype = job->call->dtype,
                                  .op = job->call->op,
                                  .first = range.first,
                                  .count = range.count,
                                  .sources = job->sources,
                                  .source_count = job->source_count,
                                  .targets = &target,
                                  .target_count = 1,
                                  .partial_targets = true});
}

/* What goes to process q with chunk k. */
static lks_block_t put_range(const lks_column_t *column, int q)
{
    return column->job.reduces ? chunk_of(column, q, column->k) : (lks_block_t){0};
}

static lks_status_t put_remote(lks_column_t *column, int q)
{
    int slot = lks_column_slot(column, column->k);
    lks_block_t range = put_range(column, q);
    if (range.count > 0) {
        reduce_own(column, range, lks_messages_partial_out(column->messages, q, slot));
    }
    if (column->job.gathers && !column->small && chunk_of(column, q, column->k).count > 0) {
        LKS_TRY(lks_messages_receive_result(column->messages, q, slot));
    }
    return lks_messages_exchange_partials(column->messages, q, slot, column->job.call,
                                          range.count * column->partial);
}

static void put_near(const lks_column_t *column, int q)
{
    const lks_fabric_t *fabric = column->fabric;
    int me = lks_window_process(fabric->window);
    lks_block_t range = put_range(column, q);
    if (range.count > 0) {
        reduce_own(column, range,
                   lks_window_partial(fabric->window, column->index, me,
                                      lks_column_process(column, q)->node_index,
                                      column->chunks + column->k));
    }
}

void lks_column_wake(const lks_column_t *column)
{
    lks_gate_t *gate = lks_window_gate(column->fabric->window);
    if (atomic_load(&gate->sleepers) > 0) {
        lks_gate_advance(gate);
    }
}

/* Whether the messages that lie in the slots of chunk j are out. */
static lks_status_t are_sent(lks_column_t *column, size_t j, bool results, bool *sent)
{
    *sent = true;
    return column->messages
               ? lks_messages_are_sent(column->messages, lks_column_slot(column, j), results, sent)
               : LKS_OK;
}

static lks_status_t put(lks_column_t *column, bool *done)
{
    const lks_fabric_t *fabric = column->fabric;
    lks_window_put_t *mine = lks_column_put(column, fabric->process);
    LKS_TRY(are_sent(column, column->k, false, done));
    if (!*done) {
        return LKS_OK;
    }
    if (column->k == 0) {
        mine->call = *column->job.call;
    }
    if (column->small && column->job.reduces) {
        reduce_own(column, (lks_block_t){0, column->job.count},
                   lks_window_stage(fabric->window, column->index,
                                    lks_window_process(fabric->window), column->jobs));
    }
    for (int q = 0; q < fabric->process_count; q++) {
        if (q == fabric->process) {
            continue;
        }
        if (lks_column_is_remote(column, q)) {
            LKS_TRY(put_remote(column, q));
        } else if (!column->small) {
            put_near(column, q);
        }
    }
    atomic_store(&mine->up, column->chunks + column->k + 1);
    lks_column_wake(column);
    return LKS_OK;
}

/* --- agreement ---------------------------------------------------------------------------------- */

/* What process q called. */
static const lks_collective_t *called_by(const lks_column_t *column, int q)
{
    return lks_column_is_remote(column, q)
               ? lks_messages_call(column->messages, q, lks_column_slot(column, 0))
               : &lks_column_put(column, q)->call;
}

int lks_column_process_of(const lks_fabric_t *fabric, int rank)
{
    int q = 0;
    while (q + 1 < fabric->process_count && fabric->processes[q + 1].first_rank <= rank) {
        q++;
    }
    return q;
}

static const lks_collective_t *called_by_rank(const void *context, int rank)
{
    const lks_column_t *column = context;
    return called_by(column, lks_column_process_of(column->fabric, rank));
}

void lks_column_end_job(const lks_column_t *column, bool late, lks_strbuf_t *sentence)
{
    lks_fabric_t *fabric = column->fabric;
    if (!lks_window_aborted(fabric->window, &fabric->host->aborted)) {
        lks_abort_state_set_sentence(&fabric->host->aborted, late, lks_strbuf_text(sentence));
        lks_window_abort(fabric->window, &fabric->host->aborted);
    }
    lks_strbuf_fini(sentence);
}

bool lks_column_check(const lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    bool same = true;
    for (int q = 0; q < fabric->process_count && same; q++) {
        if (q != fabric->process && !lks_collective_same(called_by(column, q), column->job.call)) {
            lks_collective_round_t round = {.number = column->job.number,
                                            .world_size = fabric->world_size,
                                            .called = called_by_rank,
                                            .context = column};
            lks_strbuf_t sentence = {0};
            lks_collective_describe_mismatch(&round, &sentence);
            lks_column_end_job(column, false, &sentence);
            same = false;
        }
    }
    return same && !lks_window_aborted(fabric->window, NULL);
}

/* --- reduce ------------------------------------------------------------------------------------- */

lks_status_t lks_column_has_come(lks_column_t *column, int q, size_t j, bool *come)
{
    if (lks_column_is_remote(column, q)) {
        return lks_messages_partial_came(column->messages, q, lks_column_slot(column, j), come);
    }
    *come = atomic_load(&lks_column_put(column, q)->up) > column->chunks + j;
    return LKS_OK;
}

static lks_status_t have_all_come(lks_column_t *column, size_t j, bool *come)
{
    const lks_fabric_t *fabric = column->fabric;
    *come = true;
    for (int q = 0; q < fabric->process_count && *come; q++) {
        if (q != fabric->process) {
            LKS_TRY(lks_column_has_come(column, q, j, come));
        }
    }
    return LKS_OK;
}

/* Where chunk j of process q's partial for us lies. */
static const void *partial_from(const lks_column_t *column, int q, size_t j)
{
    const lks_fabric_t *fabric = column->fabric;
    if (lks_column_is_remote(column, q)) {
        return lks_messages_partial_in(column->messages, q, lks_column_slot(column, j));
    }
    int index = lks_column_process(column, q)->node_index;
    return column->small
               ? lks_window_stage(fabric->window, column->index, index, column->jobs)
               : lks_window_partial(fabric->window, column->index, index,
                                    lks_window_process(fabric->window), column->chunks + j);
}

/* Our own partial, in memory of ours unless the only rank's elements are one. */
static const void *own_partial(const lks_column_t *column, lks_block_t range)
{
    const lks_column_job_t *job = &column->job;
    if (column->small) {
        return lks_window_stage(column->fabric->window, column->index,
                                lks_window_process(column->fabric->window), column->jobs);
    }
    if (job->source_count == 1 && column->partial == column->element) {
        return (const char *)job->sources[0] + range.first * column->element;
    }
    reduce_own(column, range, column->own);
    return column->own;
}

static void *result_slot(const lks_column_t *column, size_t j)
{
    const lks_fabric_t *fabric = column->fabric;
    return lks_window_result(fabric->window, column->index, lks_window_process(fabric->window),
                             column->chunks + j);
}

static void reduce_block(const lks_column_t *column, size_t j, lks_block_t range)
{
    const lks_fabric_t *fabric = column->fabric;
    const lks_column_job_t *job = &column->job;
    int targets = job->take ? 0 : job->target_count;
    for (int q = 0; q < fabric->process_count; q++) {
        const void *partial =
            q == fabric->process ? own_partial(column, range) : partial_from(column, q, j);
        column->sources[q] = lks_column_rebased(partial, range.first, column->partial);
    }
    if (targets > 0) {
        memcpy(column->targets, job->targets, (size_t)targets * sizeof *column->targets);
    }
    if (job->gathers && !column->small) {
        column->targets[targets++] =
            lks_column_rebased(result_slot(column, j), range.first, column->element);
    }
    lks_reduce(&(lks_reduction_t){.dtype = job->call->dtype,
                                  .op = job->call->op,
                                  .first = range.first,
                                  .count = range.count,
                                  .sources = column->sources,
                                  .source_count = fabric->process_count,
                                  .partial_sources = true,
                                  .targets = column->targets,
                                  .target_count = targets,
                                  .divisor = job->divisor ? job->divisor : fabric->world_size,
                                  .take = job->take,
                                  .take_context = job->context});
}

void lks_column_hand_out(const lks_column_t *column, const void *elements, lks_block_t range)
{
    const lks_column_job_t *job = &column->job;
    if (job->take) {
        const void *source = lks_column_rebased(elements, range.first, column->element);
        lks_reduce(&(lks_reduction_t){.dtype = job->call->dtype,
                                      .op = LKS_REDUCE_SUM,
                                      .first = range.first,
                                      .count = range.count,
                                      .sources = &source,
                                      .source_count = 1,
                                      .take = job->take,
                                      .take_context = job->context});
        return;
    }
    for (int i = 0; i < job->target_count; i++) {
        char *to = (char *)job->targets[i] + range.first * column->element;
        if (to != elements) {
            memcpy(to, elements, range.count * column->element);
        }
    }
}

static lks_status_t send_result(lks_column_t *column, size_t j, lks_block_t range)
{
    for (int q = 0; q < column->fabric->process_count && column->messages; q++) {
        if (lks_column_is_remote(column, q)) {
            LKS_TRY(lks_messages_send_result(column->messages, q, lks_column_slot(column, j),
                                             result_slot(column, j),
                                             range.count * column->element));
        }
    }
    return LKS_OK;
}

static lks_status_t reduce(lks_column_t *column, bool *done)
{
    size_t j = column->k - 1;
    const lks_column_job_t *job = &column->job;
    LKS_TRY(have_all_come(column, j, done));
    if (*done && j == 0) {
        *done = lks_column_check(column);
    }
    if (*done) {
        LKS_TRY(are_sent(column, j, true, done));
    }
    if (!*done) {
        return LKS_OK;
    }
    lks_block_t range = chunk_of(column, column->fabric->process, j);
    if (range.count > 0 && job->reduces) {
        reduce_block(column, j, range);
    } else if (range.count > 0 && job->gathers && !column->small) {
        const char *from = (const char *)job->sources[0] + range.first * column->element;
        memcpy(result_slot(column, j), from, range.count * column->element);
        lks_column_hand_out(column, from, range);
    }
    atomic_store(&lks_column_post(column, column->fabric->process)->done, column->chunks + j + 1);
    lks_column_wake(column);
    return range.count > 0 && job->gathers && !column->small ? send_result(column, j, range)
                                                             : LKS_OK;
}

/* --- take --------------------------------------------------------------------------------------- */

static lks_status_t has_result(lks_column_t *column, int q, size_t j, bool *has)
{
    if (lks_column_is_remote(column, q)) {
        return lks_messages_result_came(column->messages, q, lks_column_slot(column, j), has);
    }
    *has = atomic_load(&lks_column_post(column, q)->done) > column->chunks + j;
    return LKS_OK;
}

static const void *result_from(const lks_column_t *column, int q, size_t j)
{
    if (lks_column_is_remote(column, q)) {
        return lks_messages_result_in(column->messages, q, lks_column_slot(column, j));
    }
    return lks_window_result(column->fabric->window, column->index,
                             lks_column_process(column, q)->node_index, column->chunks + j);
}

static lks_status_t take(lks_column_t *column, bool *done)
{
    const lks_fabric_t *fabric = column->fabric;
    size_t j = column->k - 2;
    *done = true;
    if (!column->job.gathers || column->small) {
        return LKS_OK;
    }
    for (int q = 0; q < fabric->process_count && *done; q++) {
        if (q != fabric->process && chunk_of(column, q, j).count > 0) {
            LKS_TRY(has_result(column, q, j, done));
        }
    }
    for (int q = 0; q < fabric->process_count && *done; q++) {
        lks_block_t range = chunk_of(column, q, j);
        if (q != fabric->process && range.count > 0) {
            lks_column_hand_out(column, result_from(column, q, j), range);
        }
    }
    return LKS_OK;
}

/* --- a job -------------------------------------------------------------------------------------- */

void lks_column_begin(lks_column_t *column, const lks_column_job_t *job)
{
    column->job = *job;
    column->element = lks_dtype_size(job->call->dtype);
    column->partial = job->reduces ? lks_reduce_partial_size(job->call->dtype) : column->element;
    column->small =
        job->reduces && job->gathers && job->count * column->partial <= LKS_WINDOW_STAGE;
    column->per_chunk = column->partial ? column->fabric->chunk / column->partial : 0;
    column->running = true;
    column->way = LKS_COLUMN_MOVES;
    column->k = 0;
    column->stage = 0;
    column->count = 1;
    if (column->small && column->index % column->fabric->columns != 0) {
        column->k = 2; /* the first column has it all */
        column->count = 0;
    }
    for (int q = 0; q < column->fabric->process_count && !column->small; q++) {
        size_t part = lks_column_part(column, q).count, chunks;
        chunks = part / column->per_chunk + (part % column->per_chunk != 0);
        column->count = chunks > column->count ? chunks : column->count;
    }
    if (job->views && !column->small) {
        column->way = LKS_COLUMN_MEETS;
        lks_column_come(column);
    }
}

static lks_status_t run_stage(lks_column_t *column, bool *done)
{
    if (column->way != LKS_COLUMN_MOVES) {
        *done =
            column->way == LKS_COLUMN_MEETS ? lks_column_meet(column) : lks_column_await(column);
        return LKS_OK;
    }
    *done = true;
    switch (column->stage) {
    case 0: return column->k < column->count ? put(column, done) : LKS_OK;
    case 1: return column->k >= 1 && column->k <= column->count ? reduce(column, done) : LKS_OK;
    default: return column->k >= 2 ? take(column, done) : LKS_OK;
    }
}

/* The reason becomes that of this process's ranks, too. */
static lks_status_t check_aborted(lks_column_t *column)
{
    lks_fabric_t *fabric = column->fabric;
    (void)lks_window_aborted(fabric->window, &fabric->host->aborted);
    return lks_abort_state_check(&fabric->host->aborted,
                                 lks_collective_name(column->job.call->kind));
}

static bool is_over(const lks_column_t *column)
{
    return column->k >= column->count + 2;
}

lks_status_t lks_column_advance(lks_column_t *column, bool *done)
{
    while (!is_over(column)) {
        bool passed, moves = column->way == LKS_COLUMN_MOVES;
        LKS_TRY(run_stage(column, &passed));
        if (!passed) {
            *done = false;
            return check_aborted(column);
        }
        column->passed++;
        column->stage = moves ? (column->stage + 1) % 3 : 0;
        column->k += moves && column->stage == 0;
    }
    column->chunks += column->running ? column->count : 0;
    column->jobs += column->running && column->count > 0; /* one that it left out met nobody */
    column->running = false;
    *done = true;
    return LKS_OK;
}

/* --- life --------------------------------------------------------------------------------------- */

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "buffers between processes: out of memory");
}

lks_status_t lks_column_create(lks_fabric_t *fabric, int index, lks_column_t **out)
{
    lks_column_t *column = calloc(1, sizeof *column);
    if (!column) {
        return out_of_memory();
    }
    size_t ranks = (size_t)fabric->world_size;
    *column = (lks_column_t){.fabric = fabric, .index = index};
    column->own = aligned_alloc(LINE, fabric->chunk);
    column->sources = calloc(ranks, sizeof *column->sources);
    column->targets = calloc(ranks + 1, sizeof *column->targets);
    lks_status_t status =
        column->own && column->sources && column->targets ? LKS_OK : out_of_memory();
    if (status == LKS_OK && fabric->has_remote) {
        status = lks_messages_create(fabric, index, &column->messages);
    }
    if (status != LKS_OK) {
        lks_column_destroy(column);
        return status;
    }
    *out = column;
    return LKS_OK;
}

bool lks_column_has_messages(const lks_column_t *column)
{
    return column->fabric->has_remote;
}

void lks_column_destroy(lks_column_t *column)
{
    if (column) {
        free(column->own);
        free(column->sources);
        free(column->targets);
        lks_messages_destroy(column->messages);
        free(column);
    }
}
