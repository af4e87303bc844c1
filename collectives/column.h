/* SPDX-License-Identifier: Apache-2.0 */
/* column.h - how the processes of a job move one part of a vector among them.
 * Every process owns a *block* of the vector. In the first phase all send the owner their partial sums of its block; in the
 * second the owner sends the result to all. An all-reduce is both, chunk by chunk: while chunk k of the first phase is put,
 * chunk k - 1 is reduced, and chunk k - 2 taken. A reduce-scatter is the first phase, a broadcast or an all-gather the
 * second. A vector of at most LKS_WINDOW_STAGE bytes goes to everyone in one piece, and all reduce all of it.
 * Chunks go through the window between processes of one node and as MPI messages between nodes.
 * Between processes of one node, a vector that all ranks have at the same place of shared memory (memory.h) does not move.
 * Threads inside a process take a column each: the same part of every block. Their buffers are read and written directly.
 * Ranks disagree: each chunk comes with what its process called, which is compared before it is used. */
#ifndef LOCKSTEP_COLLECTIVES_COLUMN_H
#define LOCKSTEP_COLLECTIVES_COLUMN_H

#include "collectives/fabric.h"

typedef struct lks_column lks_column_t;

typedef struct lks_block {
    size_t first, count; /* elements */
} lks_block_t;

/** A vector divided evenly among processes, one block each, in whole cache lines of any dtype. */
void lks_block_divide(size_t count, int processes, lks_block_t *blocks);

/** One collective, as one process takes part in it. */
typedef struct lks_column_job {
    const lks_collective_t *call; /* what others must have called, too */
    uint64_t number;
    bool reduces, gathers;
    const lks_block_t *blocks; /* (process_count), of the whole vector */
    size_t count;              /* elements of the whole vector */
    int divisor;               /* of AVG; 0: the world size */
    /* Of an all-reduce in place whose vector all ranks of this process have at one place of shared memory: that, and the
     * vectors there of all ranks (world_size). They are reduced where they are if other processes say the same. NULL: no. */
    void *const *views;
    lks_place_t place;
    const void *const *sources; /* (source_count): whole vectors of this process's ranks */
    int source_count;
    void *const *targets; /* (target_count): whole vectors, one per rank that wants the result */
    int target_count;
    /* Or: gets results as numbers, in place of targets; may be NULL. What lies in `views` is void then. */
    void (*take)(void *context, size_t first, size_t count, const void *numbers);
    void *context;
} lks_column_job_t;

LKS_NODISCARD lks_status_t lks_column_create(lks_fabric_t *fabric, int index, lks_column_t **out);
void lks_column_destroy(lks_column_t *column);

/** Whether its jobs want somebody to advance them while this rank computes: messages do not move by themselves. */
bool lks_column_has_messages(const lks_column_t *column);

/** Begins a job; the one before is done. What `job` points to lives until it is done. */
void lks_column_begin(lks_column_t *column, const lks_column_job_t *job);

/** Does what can be done without waiting. `done`: nothing is left. Errors: ABORTED (also: ranks disagree), COMM. */
LKS_NODISCARD lks_status_t lks_column_advance(lks_column_t *column, bool *done);

/** Advances until all is done. Errors: ABORTED (also: a process did not come in time), COMM. */
LKS_NODISCARD lks_status_t lks_column_finish(lks_column_t *column);

#endif
