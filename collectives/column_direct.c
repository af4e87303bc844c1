/* SPDX-License-Identifier: Apache-2.0 */
/* column_direct.c - a vector that all ranks of a node have at the same place of shared memory stays where it is: every process
 * reduces its block of it, for all ranks, as threads of one process do (local.c), and waits until all have.
 * Whether it is so nobody knows before all have come. A process whose own vector lies elsewhere does not ask: it puts its
 * first chunk, from which the others see that all have to move. */
#include "collectives/column_state.h"
#include "collectives/reduce.h"

#include <string.h>

void lks_column_come(lks_column_t *column)
{
    lks_window_meeting_t *mine = lks_column_meeting(column, column->fabric->process);
    lks_column_put(column, column->fabric->process)->call = *column->job.call;
    mine->place = column->job.place;
    atomic_store(&mine->met, column->jobs + 1);
    lks_column_wake(column);
}

bool lks_column_has_met(const lks_column_t *column, int q)
{
    return atomic_load(&lks_column_meeting(column, q)->met) > column->jobs ||
           atomic_load(&lks_column_put(column, q)->up) > column->chunks;
}

bool lks_column_has_done(const lks_column_t *column, int q)
{
    return atomic_load(&lks_column_post(column, q)->done) > column->chunks;
}

/* All have come. */
static bool all_at_one_place(const lks_column_t *column)
{
    bool same = true;
    for (int q = 0; q < column->fabric->process_count; q++) {
        const lks_window_meeting_t *meeting = lks_column_meeting(column, q);
        same &= atomic_load(&meeting->met) > column->jobs &&
                lks_place_same(meeting->place, column->job.place);
    }
    return same;
}

/* Results go to all ranks; or to `take`, and to the first rank of each other process for its takers. */
static int collect_targets(const lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    if (!column->job.take) {
        memcpy(column->targets, column->job.views,
               (size_t)fabric->world_size * sizeof *column->targets);
        return fabric->world_size;
    }
    int count = 0;
    for (int q = 0; q < fabric->process_count; q++) {
        if (q != fabric->process) {
            column->targets[count++] = column->job.views[fabric->processes[q].first_rank];
        }
    }
    return count;
}

static void reduce_block(const lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    const lks_column_job_t *job = &column->job;
    lks_block_t part = lks_column_part(column, fabric->process);
    if (part.count == 0) {
        return;
    }
    for (int i = 0; i < fabric->world_size; i++) {
        column->sources[i] = job->views[i];
    }
    lks_reduce(&(lks_reduction_t){.dtype = job->call->dtype,
                                  .op = job->call->op,
                                  .first = part.first,
                                  .count = part.count,
                                  .sources = column->sources,
                                  .source_count = fabric->world_size,
                                  .targets = column->targets,
                                  .target_count = collect_targets(column),
                                  .divisor = job->divisor,
                                  .take = job->take,
                                  .take_context = job->context});
}

bool lks_column_meet(lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    bool all = true;
    for (int q = 0; q < fabric->process_count && all; q++) {
        all = q == fabric->process || lks_column_has_met(column, q);
    }
    if (!all || !lks_column_check(column)) {
        return false;
    }
    if (!all_at_one_place(column)) {
        column->way = LKS_COLUMN_MOVES;
        return true;
    }
    reduce_block(column);
    atomic_store(&lks_column_post(column, fabric->process)->done, column->chunks + 1);
    lks_column_wake(column);
    column->way = LKS_COLUMN_AWAITS;
    return true;
}

bool lks_column_await(lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    const char *own = column->job.views[lks_column_process(column, fabric->process)->first_rank];
    for (int q = 0; q < fabric->process_count; q++) {
        if (!lks_column_has_done(column, q)) {
            return false;
        }
    }
    if (lks_window_aborted(fabric->window, NULL)) { /* who left may have changed what we read */
        return false;
    }
    for (int q = 0; q < fabric->process_count && column->job.take; q++) {
        lks_block_t part = lks_column_part(column, q);
        if (q != fabric->process && part.count > 0) {
            lks_column_hand_out(column, own + part.first * column->element, part);
        }
    }
    column->count = 1; /* a number of a chunk, as if one had moved */
    column->k = column->count + 2;
    return true;
}
