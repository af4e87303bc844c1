/* SPDX-License-Identifier: Apache-2.0 */
/* share.c - a process that may use fewer cores than the machine has was given its own. */
#include "collectives/launcher.h"
#include "runtime/launch/launch.h"

#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

void lks_launch_share(int *process, int *processes)
{
    cpu_set_t mask;
    lks_launcher_t launcher = lks_launcher_get();
    bool bound = sched_getaffinity(0, sizeof mask, &mask) == 0 &&
                 CPU_COUNT(&mask) < sysconf(_SC_NPROCESSORS_ONLN);
    bool alone = bound || launcher.near >= launcher.near_count;
    *process = alone ? 0 : launcher.near;
    *processes = alone ? 1 : launcher.near_count;
}
