/* SPDX-License-Identifier: Apache-2.0 */
/* shared_trials.h - all-reduce of memory that ranks of other processes see (lks_comm_memory_t). */
#ifndef LOCKSTEP_TESTS_COLLECTIVES_SHARED_TRIALS_H
#define LOCKSTEP_TESTS_COLLECTIVES_SHARED_TRIALS_H

#include "collectives/ranks.h"

/** Every dtype and op, at two places: bits as along one tree of all ranks, however they are spread. */
lks_status_t reduce_shared(lks_comm_t *comm, void *context);

/** Some ranks have their vector in shared memory, some elsewhere, or at another place of it. */
lks_status_t reduce_partly_shared(lks_comm_t *comm, void *context);

/** Memories that come and go between collectives; some stay until destroy_kept_memories, after the communicator. */
lks_status_t make_memories(lks_comm_t *comm, void *context);
void destroy_kept_memories(void);

/** One process may not share as much: nobody does, and all goes on. */
lks_status_t fall_back(lks_comm_t *comm, void *context);

/** Ranks ask for different sizes. */
lks_status_t sizes_differ(lks_comm_t *comm, void *context);

#endif
