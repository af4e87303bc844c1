/* SPDX-License-Identifier: Apache-2.0 */
/* env.c - the variables of Open MPI's, MPICH's (hydra) and Slurm's launchers. */
#include "runtime/launch/launch.h"

#include <lockstep/comm.h>

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* The first of `names` that is a number of at least `least`. */
static int number(const char *const *names, int least, int otherwise)
{
    for (; *names; names++) {
        const char *text = getenv(*names);
        char *end;
        long value = text && *text ? strtol(text, &end, 10) : -1;
        if (text && *text && *end == '\0' && value >= least && value <= 1 << 24) {
            return (int)value;
        }
    }
    return otherwise;
}

lks_launch_t lks_launch_get(void)
{
    static const char *const process[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", NULL};
    static const char *const processes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS",
                                            NULL};
    static const char *const near[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                       "SLURM_LOCALID", NULL};
    static const char *const near_count[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS",
                                             "SLURM_NTASKS_PER_NODE", NULL};
    lks_launch_t launch = {.launched = lks_comm_is_launched(), .processes = 1, .near_count = 1};
    if (launch.launched) {
        launch.process = number(process, 0, 0);
        launch.processes = number(processes, 1, 1);
        launch.near = number(near, 0, 0);
        launch.near_count = number(near_count, 1, launch.near + 1);
    }
    return launch;
}

void lks_launch_share(const lks_launch_t *launch, int *process, int *processes)
{
    cpu_set_t mask;
    bool bound = sched_getaffinity(0, sizeof mask, &mask) == 0 &&
                 CPU_COUNT(&mask) < sysconf(_SC_NPROCESSORS_ONLN);
    *process = bound ? 0 : launch->near;
    *processes = bound || launch->near >= launch->near_count ? 1 : launch->near_count;
}
