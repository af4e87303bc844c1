/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/launcher.h"
#include "tests/support/support.h"

#include <lockstep/comm.h>
#include <stdlib.h>

static const char *const known[] = {
    "LOCKSTEP_MPI",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "PMIX_RANK",
    "PMI_RANK",
    "PMI_SIZE",
    "PMI_FD",
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "SLURM_NTASKS",
    "SLURM_PROCID",
    "SLURM_CPUS_ON_NODE",
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_TASKS_PER_NODE",
};

typedef struct setting {
    const char *name, *value;
} setting_t;

#define LAUNCHED_BY(mpi, processes, near, near_count, ...)                                         \
    launched_by(mpi, processes, near, near_count, (const setting_t[]){__VA_ARGS__, {NULL, NULL}})

/* What the launcher is taken for, where only these variables are set. */
static void launched_by(const char *mpi, int processes, int near, int near_count,
                        const setting_t *settings)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        cr_assert_eq(unsetenv(known[i]), 0);
    }
    for (; settings->name; settings++) {
        cr_assert_eq(setenv(settings->name, settings->value, 1), 0);
    }
    lks_launcher_t launcher = lks_launcher_get();
    cr_assert_str_eq(launcher.mpi, mpi);
    cr_assert_eq(launcher.processes, processes, "%d processes", launcher.processes);
    cr_assert_eq(launcher.near, near, "place %d", launcher.near);
    cr_assert_eq(launcher.near_count, near_count, "of %d near ones", launcher.near_count);
    cr_assert_eq(lks_comm_is_launched(), *mpi != '\0' || processes > 1);
}

Test(launcher, nobody_started_it)
{
    LAUNCHED_BY("", 1, 0, 1, {"LOCKSTEP_MPI", ""});
}

Test(launcher, mpirun)
{
    LAUNCHED_BY("openmpi", 4, 1, 2, {"OMPI_COMM_WORLD_SIZE", "4"},
                {"OMPI_COMM_WORLD_LOCAL_RANK", "1"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                {"PMIX_RANK", "3"});
    LAUNCHED_BY("mpich", 4, 1, 2, {"PMI_SIZE", "4"}, {"PMI_RANK", "3"}, {"MPI_LOCALRANKID", "1"},
                {"MPI_LOCALNRANKS", "2"});
}

#define STEP                                                                                       \
    {"SLURM_NTASKS", "7"}, {"SLURM_STEP_NUM_TASKS", "7"},                                          \
    {                                                                                              \
        "SLURM_LOCALID", "1"                                                                       \
    }

Test(launcher, srun)
{
    LAUNCHED_BY("openmpi", 7, 1, 2, STEP, {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
                {"SLURM_NODEID", "2"}, {"PMIX_RANK", "5"});
    LAUNCHED_BY("mpich", 7, 1, 2, STEP, {"SLURM_STEP_TASKS_PER_NODE", "3,2(x2)"},
                {"SLURM_NODEID", "2"}, {"PMI_RANK", "5"}, {"PMI_SIZE", "7"});
}

Test(launcher, mpirun_in_a_step_of_srun)
{
    LAUNCHED_BY("openmpi", 2, 0, 2, STEP, {"OMPI_COMM_WORLD_SIZE", "2"},
                {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"});
    LAUNCHED_BY("mpich", 1, 0, 1, STEP, {"PMI_RANK", "0"}, {"PMI_SIZE", "1"},
                {"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "1"});
}

Test(launcher, a_list_of_tasks_that_makes_no_sense_is_passed_over)
{
    const char *const lists[] = {"",          "x",   "2(x",    "2(x0)",  "0(x9)", "-1",
                                 "2(x3)2(x9", "2,,", "2(x2),", "2(x-1)", ",2(x9)"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        LAUNCHED_BY("", 7, 1, 2, STEP, {"SLURM_STEP_TASKS_PER_NODE", lists[i]},
                    {"SLURM_NODEID", "8"});
    }
    LAUNCHED_BY("", 7, 1, 2, STEP, {"SLURM_STEP_TASKS_PER_NODE", "99999999999999999999(x2)"});
}

Test(launcher, several_that_srun_started_without_mpi_are_not_one_job)
{
    lks_comm_t *comm;
    LAUNCHED_BY("", 7, 1, 7, STEP, {"SLURM_STEP_TASKS_PER_NODE", "7"});
    assert_fails(lks_comm_create_mpi(1, NULL, &comm), LKS_ERR_UNSUPPORTED,
                 "srun started 7 processes that no MPI joins: give it --mpi=pmix");
    LAUNCHED_BY("", 1, 0, 1, {"SLURM_STEP_NUM_TASKS", "1"});
    assert_fails(lks_comm_create_mpi(1, NULL, &comm), LKS_ERR_UNSUPPORTED, "started this process");
}

Test(launcher, processing_units_of_this_machine)
{
    LAUNCHED_BY("", 7, 1, 2, STEP, {"SLURM_CPUS_ON_NODE", "12"});
    cr_assert_eq(lks_launcher_get().near_cpus, 12);
    LAUNCHED_BY("", 7, 1, 2, STEP, {"SLURM_CPUS_ON_NODE", "many"});
    cr_assert_eq(lks_launcher_get().near_cpus, 0);
}

Test(launcher, a_batch_script_is_one_process)
{
    LAUNCHED_BY("", 1, 0, 1, {"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"});
}

Test(launcher, what_was_asked_for_comes_first)
{
    LAUNCHED_BY("mpich", 7, 1, 2, STEP, {"LOCKSTEP_MPI", "mpich"}, {"PMIX_RANK", "5"});
    LAUNCHED_BY("", 1, 1, 7, STEP, {"SLURM_STEP_TASKS_PER_NODE", "7"}, {"LOCKSTEP_MPI", "none"},
                {"PMIX_RANK", "5"});
}
