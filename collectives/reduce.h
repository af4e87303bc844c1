/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.h - element-wise reduction of host buffers in a fixed order: what a communicator on the host computes. */
#ifndef LOCKSTEP_COLLECTIVES_REDUCE_H
#define LOCKSTEP_COLLECTIVES_REDUCE_H

#include <lockstep/comm.h>
#include <stdbool.h>
#include <stddef.h>

/** target[i] = (((source 0 [i] op source 1 [i]) op source 2 [i]) ...), the same in every target.
 *  AVG divides by source_count. A target may be one of the sources, else buffers do not overlap. */
typedef struct lks_reduction {
    lks_dtype_t dtype;
    lks_reduce_op_t op; /* one that lks_reduce_supports */
    size_t count;       /* elements of each buffer */
    const void *const *sources;
    int source_count; /* at least 1 */
    void *const *targets;
    int target_count; /* at least 1 */
} lks_reduction_t;

void lks_reduce(const lks_reduction_t *reduction);

/** False also for numbers that are no dtype or no op. */
bool lks_reduce_supports(lks_dtype_t dtype, lks_reduce_op_t op);

/** "sum"; "unknown op" for a number that is no op. */
const char *lks_reduce_op_name(lks_reduce_op_t op);

#endif
