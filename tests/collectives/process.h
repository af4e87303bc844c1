/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - one process of a job, which says on stderr what its ranks failed of. */
#ifndef LOCKSTEP_TESTS_COLLECTIVES_PROCESS_H
#define LOCKSTEP_TESTS_COLLECTIVES_PROCESS_H

#include "collectives/ranks.h"

/** Runs `run` on the `count` communicators, a thread each, and destroys them. The exit code: 1 if a rank failed. */
int run_process(int count, lks_comm_t *const *comms, rank_fn_t run, void *context);

#endif
