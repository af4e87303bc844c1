/* SPDX-License-Identifier: Apache-2.0 */
/* launch.h - how processes that a launcher started on one machine divide it. */
#ifndef LOCKSTEP_RUNTIME_LAUNCH_LAUNCH_H
#define LOCKSTEP_RUNTIME_LAUNCH_LAUNCH_H

/** This process's place among those that divide this machine's cores: 0 of 1 where the launcher has bound them apart
 *  already, or there is none. */
void lks_launch_share(int *process, int *processes);

#endif
