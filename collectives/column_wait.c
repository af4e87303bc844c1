/* SPDX-License-Identifier: Apache-2.0 */
/* column_wait.c - a job to its end: patience, sleep, and the sentence about who did not come. */
#include "collectives/column_state.h"

#include <time.h>

/* Whether process q, of this node, has done what this one waits for, at chunk j. */
static bool is_near_here(const lks_column_t *column, int q, size_t j)
{
    switch (column->way) {
    case LKS_COLUMN_MEETS: return lks_column_has_met(column, q);
    case LKS_COLUMN_AWAITS: return lks_column_has_done(column, q);
    default:
        return column->stage == 2
                   ? atomic_load(&lks_column_post(column, q)->done) > column->chunks + column->k - 2
                   : atomic_load(&lks_column_put(column, q)->up) > column->chunks + j;
    }
}

/* NULL for a rank that is missing: of a process that is, those which have not come to this collective. */
static const lks_collective_t *came(const void *context, int rank)
{
    const lks_column_t *column = context;
    const lks_fabric_t *fabric = column->fabric;
    int q = lks_column_process_of(fabric, rank);
    size_t j = column->k > 0 ? column->k - 1 : 0;
    bool here = q == fabric->process;
    if (!here && lks_column_is_remote(column, q)) {
        here = !lks_messages_awaits(column->messages, q, lks_column_slot(column, j));
    } else if (!here) {
        here = is_near_here(column, q, j);
        lks_window_counter_t which =
            column->index < fabric->columns ? LKS_WINDOW_COLLECTIVES : LKS_WINDOW_BUCKETS;
        uint64_t calls = atomic_load(lks_window_calls(fabric->window, rank, which));
        bool some_behind = false;
        for (int i = 0; i < fabric->processes[q].ranks; i++) {
            int other = fabric->processes[q].first_rank + i;
            some_behind |=
                atomic_load(lks_window_calls(fabric->window, other, which)) <= column->job.number;
        }
        here |= some_behind && calls > column->job.number;
    }
    return here ? column->job.call : NULL;
}

static void end_late(lks_column_t *column)
{
    const lks_fabric_t *fabric = column->fabric;
    size_t j = column->k > 0 ? column->k - 1 : 0;
    for (int q = 0; q < fabric->process_count;
         q++) { /* messages that are here, but were not looked for yet */
        bool come;
        if (q != fabric->process && lks_column_is_remote(column, q) &&
            lks_column_has_come(column, q, j, &come) != LKS_OK) {
            break;
        }
    }
    lks_collective_round_t round = {.number = column->job.number,
                                    .world_size = fabric->world_size,
                                    .called = came,
                                    .context = column};
    lks_strbuf_t sentence = {0};
    lks_collective_describe_late(&round, column->job.call, fabric->host->timeout, &sentence);
    lks_column_end_job(column, true, &sentence);
}

/* The deadline is past; but if this process was stopped meanwhile, the others may have come. */
static lks_status_t look_again(lks_column_t *column, bool *done)
{
    uint64_t passed = column->passed;
    LKS_TRY(lks_column_advance(column, done));
    if (!*done && column->passed == passed) {
        end_late(column);
    }
    return LKS_OK;
}

/* A while without a look at the window's gate: messages open none. */
static void doze(void)
{
    const struct timespec pause = {.tv_nsec = 20000};
    (void)nanosleep(&pause, NULL);
}

/* Advances until something is done, or something has happened, or the deadline is past. */
static lks_status_t wait_once(lks_column_t *column, uint64_t deadline, bool *done)
{
    lks_gate_t *gate = lks_window_gate(column->fabric->window);
    atomic_fetch_add(&gate->sleepers,
                     1); /* before the look: whoever wakes looks for sleepers after the change */
    uint32_t closed = atomic_load(&gate->value);
    uint64_t passed = column->passed;
    lks_status_t status = lks_column_advance(column, done);
    if (status == LKS_OK && !*done && column->passed == passed) {
        if (column->fabric->has_remote) {
            doze();
        } else {
            (void)lks_gate_wait_until(gate, closed, 0, deadline);
        }
    }
    atomic_fetch_sub(&gate->sleepers, 1);
    return status;
}

lks_status_t lks_column_finish(lks_column_t *column)
{
    bool done = false;
    uint64_t passed = column->passed;
    for (uint32_t i = 0; i <= column->fabric->host->spin; i++) {
        LKS_TRY(lks_column_advance(column, &done));
        if (done) {
            return LKS_OK;
        }
        i = column->passed != passed ? 0 : i; /* the patience is for one chunk */
        passed = column->passed;
        lks_pause();
    }
    uint64_t deadline = lks_deadline_in(column->fabric->host->timeout);
    while (!done) {
        LKS_TRY(wait_once(column, deadline, &done));
        if (column->passed != passed) {
            deadline = lks_deadline_in(column->fabric->host->timeout);
        } else if (!done && lks_now_ns() >= deadline) {
            LKS_TRY(look_again(column, &done));
        }
        passed = column->passed;
    }
    return LKS_OK;
}
