/* SPDX-License-Identifier: Apache-2.0 */
/* progress.h - a thread that looks after messages while the thread of their rank computes. MPI moves a large message only
 * while somebody is inside the library; between two gradients of a large layer nobody would be. */
#ifndef LOCKSTEP_COLLECTIVES_PROGRESS_H
#define LOCKSTEP_COLLECTIVES_PROGRESS_H

#include <lockstep/status.h>
#include <stdbool.h>

typedef struct lks_progress lks_progress_t;

/** `look(context)` does what can be done without waiting and tells whether something is still under way. The thread runs where
 *  its creator may run. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_progress_create(bool (*look)(void *context), void *context,
                                               lks_progress_t **out);

/** Something is under way: looks follow each other until nothing is. From any thread. */
void lks_progress_wake(lks_progress_t *progress);

/** Waits for a look that is under way. NULL does nothing. */
void lks_progress_destroy(lks_progress_t *progress);

#endif
