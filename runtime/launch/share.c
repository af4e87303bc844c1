/* SPDX-License-Identifier: Apache-2.0 */
/* share.c - a process that may use fewer processing units than the machine has was given its own; or than Slurm gave to the
 * processes of this machine together, which it may confine to these without binding each. */
#include "collectives/launcher.h"
#include "runtime/launch/launch.h"

#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

void lks_launch_share(int *process, int *processes)
{
    cpu_set_t mask;
    lks_launcher_t launcher = lks_launcher_get();
    long together = sysconf(_SC_NPROCESSORS_ONLN);
    if (launcher.near_cpus > 0 && launcher.near_cpus < together) {
        together = launcher.near_cpus;
    }
    bool bound = sched_getaffinity(0, sizeof mask, &mask) == 0 && CPU_COUNT(&mask) < together;
    bool alone = bound || launcher.near >= launcher.near_count;
    *process = alone ? 0 : launcher.near;
    *processes = alone ? 1 : launcher.near_count;
}
