/* SPDX-License-Identifier: Apache-2.0 */
/* launcher.c - the variables of Open MPI's, MPICH's (hydra) and Slurm's launchers. Slurm's come last: mpirun may have been
 * started by srun, or in an allocation of Slurm's. */
#include "collectives/launcher.h"

#include <lockstep/comm.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX (1 << 24)

/* The first of `names` that is a number of at least `least`. */
static int number(const char *const *names, int least, int otherwise)
{
    for (; *names; names++) {
        const char *text = getenv(*names);
        char *end;
        long value = text && *text ? strtol(text, &end, 10) : -1;
        if (text && *text && *end == '\0' && value >= least && value <= NUMBER_MAX) {
            return (int)value;
        }
    }
    return otherwise;
}

/* "2(x3),1" is 2 tasks on each of 3 nodes and 1 on the fourth: those of node `node`, 0 if it is not in the list. */
static int tasks_of_node(const char *list, long node)
{
    while (list && *list) {
        char *end;
        long tasks = strtol(list, &end, 10), nodes = 1;
        if (strncmp(end, "(x", 2) == 0) {
            nodes = strtol(end + 2, &end, 10);
            end += *end == ')';
        }
        if (end == list || tasks < 1 || tasks > NUMBER_MAX || nodes < 1) {
            return 0;
        }
        if (node < nodes) {
            return (int)tasks;
        }
        node -= nodes;
        list = *end == ',' ? end + 1 : "";
    }
    return 0;
}

static int near_count(int otherwise)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", NULL};
    static const char *const node[] = {"SLURM_NODEID", NULL};
    int tasks = tasks_of_node(getenv("SLURM_STEP_TASKS_PER_NODE"), number(node, 0, 0));
    return number(names, 1, tasks > otherwise ? tasks : otherwise);
}

static const char *mpi_of_launcher(const char *asked)
{
    if (*asked) {
        return strcmp(asked, "none") == 0 ? "" : asked;
    }
    if (getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK")) {
        return "openmpi";
    }
    return getenv("PMI_RANK") || getenv("PMI_FD") ? "mpich" : "";
}

/* SLURM_STEP_NUM_TASKS is there under srun alone; SLURM_NTASKS also in a batch script, which is one process. */
lks_launcher_t lks_launcher_get(void)
{
    static const char *const processes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                            "SLURM_STEP_NUM_TASKS", NULL};
    static const char *const near[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                       "SLURM_LOCALID", NULL};
    static const char *const near_cpus[] = {"SLURM_CPUS_ON_NODE", NULL};
    const char *asked = getenv("LOCKSTEP_MPI");
    asked = asked ? asked : "";
    lks_launcher_t launcher = {.mpi = mpi_of_launcher(asked), .near = number(near, 0, 0)};
    launcher.processes = strcmp(asked, "none") == 0 ? 1 : number(processes, 1, 1);
    launcher.near_count = near_count(launcher.near + 1);
    launcher.near_cpus = number(near_cpus, 1, 0);
    return launcher;
}

bool lks_comm_is_launched(void)
{
    lks_launcher_t launcher = lks_launcher_get();
    return *launcher.mpi != '\0' || launcher.processes > 1;
}
