/* SPDX-License-Identifier: Apache-2.0 */
/* window.h - memory that the processes of one node share: what they say to each other, and chunks of data on their way.
 * It is a memory file that one of them makes and the others map by way of /proc: no name that could stay behind.
 * A *column* is one thread of each process, which exchanges one part of every vector with its fellows. */
#ifndef LOCKSTEP_COLLECTIVES_WINDOW_H
#define LOCKSTEP_COLLECTIVES_WINDOW_H

#include "collectives/backend.h"
#include "collectives/memory.h"
#include "collectives/mpi_table.h"

enum {
    LKS_WINDOW_SLOTS = 4,   /* chunks of one kind on their way at a time */
    LKS_WINDOW_STAGE = 2048 /* bytes of a whole vector that travels in one piece */
};

/** What was called, and how far its data are: a cache line, so that both cross with one miss. */
typedef struct lks_window_put {
    _Alignas(64) _Atomic uint64_t up; /* chunks put, over all collectives */
    lks_collective_t call;
} lks_window_put_t;

/** Where the data of a collective lie that could stay there. */
typedef struct lks_window_meeting {
    _Alignas(64) _Atomic uint64_t met; /* collectives of the column, with this one */
    lks_place_t place;
} lks_window_meeting_t;

/** What a process tells the others of its node in one column, on cache lines of its own. */
typedef struct lks_window_post {
    lks_window_put_t puts[2]; /* by the parity of the column's collectives, as the next */
    lks_window_meeting_t meetings[2];
    _Alignas(64) _Atomic uint64_t done; /* chunks reduced, over all collectives */
} lks_window_post_t;

typedef struct lks_window lks_window_t;

/** Called by all processes of a node. `ranks`: of the whole job, for their counters. Errors: IO, NO_MEMORY, COMM. */
LKS_NODISCARD lks_status_t lks_window_create(const lks_mpi_table_t *mpi, int ranks, int columns,
                                             size_t chunk, lks_window_t **out);
void lks_window_destroy(lks_window_t *window);

int lks_window_process(const lks_window_t *window); /* this one, among those of the node */
int lks_window_processes(const lks_window_t *window);

/** `process`: among those of the node. */
lks_window_post_t *lks_window_post(const lks_window_t *window, int column, int process);
/** A partial of `from` for `to`; a result of `from`; a whole small vector of `from`, in one of two places. */
void *lks_window_partial(const lks_window_t *window, int column, int from, int to, uint64_t chunk);
void *lks_window_result(const lks_window_t *window, int column, int from, uint64_t chunk);
void *lks_window_stage(const lks_window_t *window, int column, int from, uint64_t collective);

/** What a rank of this node has come to: collectives, or buckets of gradients. */
typedef enum { LKS_WINDOW_COLLECTIVES, LKS_WINDOW_BUCKETS } lks_window_counter_t;
_Atomic uint64_t *lks_window_calls(const lks_window_t *window, int rank,
                                   lks_window_counter_t which);

/** Sleepers of any process look again. */
lks_gate_t *lks_window_gate(const lks_window_t *window);

/** Ends the job on this node for the reason of `state`; the first reason stays. */
void lks_window_abort(lks_window_t *window, const lks_abort_state_t *state);
/** Whether it was ended; `state` (may be NULL) gets the reason then, unless it has one. */
bool lks_window_aborted(const lks_window_t *window, lks_abort_state_t *state);

#endif
