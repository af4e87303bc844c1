/* SPDX-License-Identifier: Apache-2.0 */
/* local.h - what a backend of several processes asks of the communicator among the threads of each. */
#ifndef LOCKSTEP_COLLECTIVES_LOCAL_H
#define LOCKSTEP_COLLECTIVES_LOCAL_H

#include "collectives/backend.h"

/** Runs `work(context)` on every rank when all have come and called the same, and returns when all have done it: what
 *  ranks posted stays valid meanwhile. Errors: ABORTED; that of `work`. */
LKS_NODISCARD lks_status_t lks_local_run(lks_comm_t *comm, const lks_collective_t *call,
                                         lks_status_t (*work)(void *context), void *context);

/** In work: what a rank called. */
const lks_collective_t *lks_local_posted(lks_comm_t *comm, int rank);

/** What sentences call rank 0. Before the first collective. */
void lks_local_set_first_rank(lks_comm_t *comm, int first_rank);

#endif
