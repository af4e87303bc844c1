/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - what mpirun, mpiexec or srun tell a process of its place, by the environment alone: before a library of
 * theirs is opened. */
#ifndef LOCKSTEP_RUNTIME_LAUNCH_LAUNCH_H
#define LOCKSTEP_RUNTIME_LAUNCH_LAUNCH_H

#include <stdbool.h>

typedef struct lks_launch {
    bool launched;          /* one of several processes, or at least started as one */
    int process, processes; /* of the job; 0 of 1 where that is not told */
    int near, near_count;   /* of those on this machine */
} lks_launch_t;

lks_launch_t lks_launch_get(void);

/** The same, for processes that divide this machine's cores: 0 of 1 where the launcher has bound them apart already. */
void lks_launch_share(const lks_launch_t *launch, int *process, int *processes);

#endif
