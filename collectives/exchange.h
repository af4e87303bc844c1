/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.h - gradient buckets that are reduced over all ranks while the ranks go on computing.
 * Every step, each rank posts its buckets in the same order as they fill up. Posting never waits: it lets the peers
 * see the bucket and does this rank's part of the buckets that all have posted by now. At the end of the step a rank
 * waits for what is left.
 * Of each bucket a rank reduces one part (or, with `each`, all of it for itself), straight from its peers' memory. It puts the result into everybody's bucket
 * or hands it, block by block while it is in the cache, to `take` (the optimizer). So a rank writes its peers' memory
 * between its first post and the end of lks_exchange_finish, on every rank.
 * Where buckets travel as messages to other machines, a thread of the exchange's own does the same while the rank computes;
 * `take` is then called from there, too, one call at a time.
 * Life:    create (all ranks of a communicator together) -> [set_buckets -> steps] ... -> destroy.
 * Threads: belongs to the thread of its rank, as the communicator does. */
#ifndef LOCKSTEP_COLLECTIVES_EXCHANGE_H
#define LOCKSTEP_COLLECTIVES_EXCHANGE_H

#include "core/trace.h"

#include <lockstep/comm.h>
#include <stdbool.h>

typedef struct lks_exchange lks_exchange_t;

/** One bucket of this rank. */
typedef struct lks_exchange_bucket {
    void *data; /* count elements; borrowed until the next set_buckets or destroy */
    size_t count;
    lks_dtype_t dtype;
    bool reduced; /* every rank's bucket holds the result already: parts are only handed out */
} lks_exchange_bucket_t;

enum { LKS_EXCHANGE_EACH_MOST = 2048 };

typedef struct lks_exchange_config {
    lks_reduce_op_t op;
    /* Gets elements [first, first + count) of the result of a bucket, as numbers (float32 for 16-bit floats). NULL: the
     * results go into every rank's bucket. */
    void (*take)(void *context, size_t bucket, size_t first, size_t count, const void *numbers);
    void *context;
    /* Every rank hands out, or reduces into its own bucket, all of every bucket, and not only a part for all ranks of its
     * process: cheaper for few gradients, since nobody then waits for the others' parts. All buckets together, each rounded up to
     * 64 bytes, have at most LKS_EXCHANGE_EACH_MOST bytes. Not with several processes. */
    bool each;
    /* Runs `run(job, index, threads)` for every index below `threads` and waits, `work` being the bytes it moves; `take`
     * may then be called by several threads at once. NULL: the rank's thread does it alone. */
    void (*spread)(void *context, size_t work, void (*run)(void *job, size_t index, size_t threads),
                   void *job);
} lks_exchange_config_t;

/** Called by all ranks. `comm` is borrowed. Errors: UNSUPPORTED (the backend has no host memory), INVALID_ARG (`each`
 *  with several processes), NO_MEMORY, ABORTED. */
LKS_NODISCARD lks_status_t lks_exchange_create(lks_comm_t *comm,
                                               const lks_exchange_config_t *config,
                                               lks_exchange_t **out);

/** Ends the job on the other ranks, as destroying the communicator does, unless all have finished. NULL does nothing. */
void lks_exchange_destroy(lks_exchange_t *exchange);

/** Called by all ranks, between steps, with buckets of the same counts and dtypes in the same order, reduced or not.
 *  Errors: ABORTED (they differ; the sentence says where), INVALID_ARG (too many bytes for each), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_exchange_set_buckets(lks_exchange_t *exchange,
                                                    const lks_exchange_bucket_t *buckets,
                                                    size_t count);

/** Another `take`, or none, from the next step on; all ranks of a process alike. */
void lks_exchange_set_take(lks_exchange_t *exchange,
                           void (*take)(void *context, size_t bucket, size_t first, size_t count,
                                        const void *numbers));

/** What AVG divides by from the next step on, at first the world size; all ranks alike. */
void lks_exchange_set_divisor(lks_exchange_t *exchange, int divisor);

/** Records this rank's reductions ("bucket 2 reduce") and its waiting in `row`, between steps; NULL: no longer. The
 *  names are the trace's. */
LKS_NODISCARD lks_status_t lks_exchange_set_trace(lks_exchange_t *exchange, lks_trace_t *trace,
                                                  lks_trace_row_t *row);

/** Nanoseconds since create (or since `timing` was turned on) that went into exchanging: while the rank had buckets still
 *  to post, or beside it in the thread that looks after messages, which backward hides; and in lks_exchange_finish, where it only waits and reduces what is left. */
typedef struct lks_exchange_times {
    uint64_t hidden, exposed;
} lks_exchange_times_t;

/** Off at first: a look at the clock costs as much as exchanging a small bucket. */
void lks_exchange_set_timing(lks_exchange_t *exchange, bool timing);
lks_exchange_times_t lks_exchange_times(lks_exchange_t *exchange);

/** The next bucket, in order, is complete on this rank. Errors: ABORTED. */
LKS_NODISCARD lks_status_t lks_exchange_post(lks_exchange_t *exchange);

/** Waits until all buckets are reduced by all ranks (with `each`: posted by all), and begins the next step. Every bucket
 *  was posted. Errors: ABORTED (a rank failed or did not come). On return no peer touches this rank's memory. */
LKS_NODISCARD lks_status_t lks_exchange_finish(lks_exchange_t *exchange);

#endif
