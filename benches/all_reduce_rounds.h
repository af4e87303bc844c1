/* SPDX-License-Identifier: Apache-2.0 */
/* all_reduce_rounds.h - what an all-reduce is measured with, ours or a peer's. */
#ifndef LOCKSTEP_BENCHES_ALL_REDUCE_ROUNDS_H
#define LOCKSTEP_BENCHES_ALL_REDUCE_ROUNDS_H

#include <stddef.h>

enum {
    ALL_REDUCE_KIB = 1 << 10,
    ALL_REDUCE_MIB = 1 << 20,
    ALL_REDUCE_MOST = 400 * ALL_REDUCE_MIB,
    ALL_REDUCE_ROUNDS_MAX = 201
};

static const size_t all_reduce_sizes[] = {
    4,
    64,
    1 * ALL_REDUCE_KIB,
    4 * ALL_REDUCE_KIB,
    16 * ALL_REDUCE_KIB,
    64 * ALL_REDUCE_KIB,
    256 * ALL_REDUCE_KIB,
    1 * ALL_REDUCE_MIB,
    4 * ALL_REDUCE_MIB,
    25 * ALL_REDUCE_MIB,
    100 * ALL_REDUCE_MIB,
    400 * ALL_REDUCE_MIB,
};

/** Calls in a round. It is shorter than what a scheduler gives at a time: half of the rounds or more are undisturbed, whatever
 *  else runs. Where it is one call, its rank has just written the buffer, as it has its gradients: it lies near this core only. */
static inline int all_reduce_calls(size_t nbytes)
{
    return nbytes <= 4 * ALL_REDUCE_KIB ? 200 : nbytes <= 64 * ALL_REDUCE_KIB ? 20 : 1;
}

static inline int all_reduce_rounds(size_t nbytes)
{
    return nbytes <= 4 * ALL_REDUCE_MIB    ? ALL_REDUCE_ROUNDS_MAX
           : nbytes <= 25 * ALL_REDUCE_MIB ? 21
                                           : 9;
}

#endif
