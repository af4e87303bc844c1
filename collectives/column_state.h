/* SPDX-License-Identifier: Apache-2.0 */
/* column_state.h - what the sources of a column share: column.c (chunks), column_direct.c (no chunks), column_wait.c. */
#ifndef LOCKSTEP_COLLECTIVES_COLUMN_STATE_H
#define LOCKSTEP_COLLECTIVES_COLUMN_STATE_H

#include "collectives/column.h"
#include "collectives/messages.h"

struct lks_column {
    lks_fabric_t *fabric;
    int index;
    uint64_t chunks, jobs; /* before this job */
    lks_column_job_t job;
    enum {
        LKS_COLUMN_MEETS,  /* perhaps nothing has to move: until all have come, nobody knows */
        LKS_COLUMN_AWAITS, /* nothing moves: until all have done their part */
        LKS_COLUMN_MOVES
    } way;
    bool small;              /* the vector travels in one piece */
    size_t element, partial; /* bytes */
    size_t per_chunk;        /* elements */
    size_t k, count;         /* chunk that is put; of so many */
    int stage;
    uint64_t passed; /* stages, for who waits: it went on */
    bool running;
    char *own;                /* (chunk): this process's partial of its own block */
    const void **sources;     /* (world_size) */
    void **targets;           /* (world_size) */
    lks_messages_t *messages; /* NULL without other nodes */
};

static inline const lks_process_t *lks_column_process(const lks_column_t *column, int q)
{
    return &column->fabric->processes[q];
}

static inline bool lks_column_is_remote(const lks_column_t *column, int q)
{
    return lks_column_process(column, q)->node_index < 0;
}

/* What process q, of this node, tells. */
static inline lks_window_post_t *lks_column_post(const lks_column_t *column, int q)
{
    return lks_window_post(column->fabric->window, column->index,
                           lks_column_process(column, q)->node_index);
}

/* Of the job at hand. */
static inline lks_window_put_t *lks_column_put(const lks_column_t *column, int q)
{
    return &lks_column_post(column, q)->puts[column->jobs % 2];
}

static inline lks_window_meeting_t *lks_column_meeting(const lks_column_t *column, int q)
{
    return &lks_column_post(column, q)->meetings[column->jobs % 2];
}

static inline int lks_column_slot(const lks_column_t *column, size_t j)
{
    return (int)((column->chunks + j) % LKS_WINDOW_SLOTS);
}

/* The pointer whose element `first` is at `data`. */
static inline void *lks_column_rebased(const void *data, size_t first, size_t size)
{
    return (void *)((uintptr_t)data - first * size);
}

/** This column's part of a block: whole cache lines. */
lks_block_t lks_column_part(const lks_column_t *column, int q);

/** Whether chunk j of process q is here. */
LKS_NODISCARD lks_status_t lks_column_has_come(lks_column_t *column, int q, size_t j, bool *come);

/** All have come: ends the job if they did not call the same. Whether it goes on. */
bool lks_column_check(const lks_column_t *column);

/** Elements that are a result already, to where results go. */
void lks_column_hand_out(const lks_column_t *column, const void *elements, lks_block_t range);

/** Ends the job for all with a sentence, which is freed, unless it has ended. */
void lks_column_end_job(const lks_column_t *column, bool late, lks_strbuf_t *sentence);

/** Sleepers look again. */
void lks_column_wake(const lks_column_t *column);

/** The process that has a rank. */
int lks_column_process_of(const lks_fabric_t *fabric, int rank);

/** column_direct.c: lets the others see that this process has come, and where its vector is. */
void lks_column_come(lks_column_t *column);
/** Whether all have come, and this process has done its part or knows that chunks move; whether all have done theirs. */
bool lks_column_meet(lks_column_t *column);
bool lks_column_await(lks_column_t *column);
/** Whether process q has come; whether it has done its part. */
bool lks_column_has_met(const lks_column_t *column, int q);
bool lks_column_has_done(const lks_column_t *column, int q);

#endif
