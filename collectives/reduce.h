/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.h - element-wise reduction of host buffers in a fixed order: what a communicator on the host computes. */
#ifndef LOCKSTEP_COLLECTIVES_REDUCE_H
#define LOCKSTEP_COLLECTIVES_REDUCE_H

#include <lockstep/comm.h>
#include <stdbool.h>
#include <stddef.h>

/** Every target = the sources, reduced along a binary tree that their number alone decides: neighbours first, then
 *  pairs of neighbours: ((s0 op s1) op (s2 op s3)) op s4. A target may be one of the sources, else buffers do not
 *  overlap.
 *  A reduction in several steps hands on *partials*: numbers of lks_reduce_partial_size bytes in place of elements,
 *  neither rounded to the dtype nor divided. */
typedef struct lks_reduction {
    lks_dtype_t dtype;
    lks_reduce_op_t op;  /* one that lks_reduce_supports */
    size_t first, count; /* elements of each buffer: `count` from `first` on */
    const void *const *sources;
    int source_count; /* at least 1 */
    bool partial_sources;
    void *const *targets;
    int target_count; /* at least 1, or 0 with `take` */
    bool partial_targets;
    int divisor; /* of AVG; 0: source_count. Not used for partial targets */
    /* In place of targets: gets the results, rounded to the dtype, as numbers: `count` elements from element `first`
     * on, block by block while they are in the cache. */
    void (*take)(void *context, size_t first, size_t count, const void *numbers);
    void *take_context;
} lks_reduction_t;

void lks_reduce(const lks_reduction_t *reduction);

/** Bytes of one element of a partial: those of the element, but 4 for 16-bit floats. */
size_t lks_reduce_partial_size(lks_dtype_t dtype);

/** False also for numbers that are no dtype or no op. */
bool lks_reduce_supports(lks_dtype_t dtype, lks_reduce_op_t op);

/** "sum"; "unknown op" for a number that is no op. */
const char *lks_reduce_op_name(lks_reduce_op_t op);

#endif
