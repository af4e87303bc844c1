/* SPDX-License-Identifier: Apache-2.0 */
/* parallel.h - a loop over independent jobs on several threads, for work that comes now and then; what runs
 * again and again has a team (thread.h). */
#ifndef LOCKSTEP_CORE_PARALLEL_H
#define LOCKSTEP_CORE_PARALLEL_H

#include <stddef.h>

/** Processing units that the calling thread may run on, by its affinity mask. At least 1. */
size_t lks_allowed_cores(void);

/** Calls job(context, index) once for each index below `count`, on up to `threads` threads: the caller and
 *  helpers that live as long as this call. Jobs are taken in ascending order as threads come free. Helpers that
 *  cannot be started are done without: the caller alone is enough. */
void lks_parallel_for(size_t threads, size_t count, void (*job)(void *context, size_t index),
                      void *context);

#endif
