/* SPDX-License-Identifier: Apache-2.0 */
/* launcher.h - what mpirun, mpiexec or srun tell a process, by the environment alone: before a library of theirs is
 * opened. Ranks and their number come from MPI; this says which MPI, and what cannot wait for it. */
#ifndef LOCKSTEP_COLLECTIVES_LAUNCHER_H
#define LOCKSTEP_COLLECTIVES_LAUNCHER_H

typedef struct lks_launcher {
    /* "openmpi", "mpich", or what LOCKSTEP_MPI says; "": none joins these processes */
    const char *mpi;
    /* That were started together; 1 where that is not told, or LOCKSTEP_MPI is "none". */
    int processes;
    /* This one's place among those on this machine; 0 of 1 where that is not told. */
    int near, near_count;
    /* Processing units that those have together; 0 where that is not told. */
    int near_cpus;
} lks_launcher_t;

lks_launcher_t lks_launcher_get(void);

#endif
