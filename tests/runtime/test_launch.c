/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes divide a machine's cores. Each test is a process, which may bind itself. */
#include "runtime/launch/launch.h"
#include "support/support.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void second_of_two(const char *cpus)
{
    static const char *const others[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE",
                                         "MPI_LOCALRANKID", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cr_assert_eq(unsetenv(others[i]), 0);
    }
    cr_assert_eq(setenv("SLURM_LOCALID", "1", 1), 0);
    cr_assert_eq(setenv("SLURM_NODEID", "0", 1), 0);
    cr_assert_eq(setenv("SLURM_STEP_TASKS_PER_NODE", "2", 1), 0);
    cr_assert_eq(cpus ? setenv("SLURM_CPUS_ON_NODE", cpus, 1) : unsetenv("SLURM_CPUS_ON_NODE"), 0);
}

static void check_share(int wanted_process, int wanted_processes)
{
    int process = -1, processes = -1;
    lks_launch_share(&process, &processes);
    cr_assert_eq(process, wanted_process, "place %d", process);
    cr_assert_eq(processes, wanted_processes, "of %d", processes);
}

/* To the first of those it may use; false if the machine has no other. */
static bool bind_to_one(void)
{
    cpu_set_t mask, one;
    cr_assert_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    for (size_t i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &mask)) {
            CPU_ZERO(&one);
            CPU_SET(i, &one);
            cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
            break;
        }
    }
    return sysconf(_SC_NPROCESSORS_ONLN) > 1;
}

Test(launch, processes_that_are_bound_have_cores_of_their_own)
{
    if (!bind_to_one()) {
        cr_skip("one processing unit");
    }
    second_of_two(NULL);
    check_share(0, 1);
    second_of_two("2");
    check_share(0, 1);
}

Test(launch, processes_that_are_confined_together_divide_what_they_have)
{
    (void)bind_to_one();
    second_of_two("1");
    check_share(1, 2);
}
