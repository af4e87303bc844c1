/* SPDX-License-Identifier: Apache-2.0 */
/* trials.h - what a rank does to find out whether its communicator computes what it should. Every result is compared by
 * its bits with a reference that reduces one element after the other along the same tree. */
#ifndef LOCKSTEP_TESTS_COLLECTIVES_TRIALS_H
#define LOCKSTEP_TESTS_COLLECTIVES_TRIALS_H

#include "collectives/ranks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One collective to try; every rank derives its data from the seed. */
typedef struct trial {
    lks_dtype_t dtype;
    lks_reduce_op_t op;
    size_t count;
    uint64_t seed;
    bool in_place;
    void *memory; /* NULL: of its own; else where an all-reduce has its input */
} trial_t;

lks_status_t try_all_reduce(lks_comm_t *comm, const trial_t *trial);

lks_status_t reduce_every_dtype_and_op(lks_comm_t *comm, void *context);
lks_status_t move_every_dtype(lks_comm_t *comm, void *context);
lks_status_t reduce_a_million(lks_comm_t *comm, void *context);
lks_status_t reduce_counts_around_the_stage(lks_comm_t *comm, void *context);
/** context: a uint64_t seed, the same on all ranks. */
lks_status_t run_random_collectives(lks_comm_t *comm, void *context);
lks_status_t reuse_a_buffer_at_once(lks_comm_t *comm, void *context);

#endif
