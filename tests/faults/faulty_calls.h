/* SPDX-License-Identifier: Apache-2.0 */
/* faulty_calls.h - for programs that say themselves when the system calls that change files fail. */
#ifndef LOCKSTEP_TESTS_FAULTS_FAULTY_CALLS_H
#define LOCKSTEP_TESTS_FAULTS_FAULTY_CALLS_H

/** The fault `kind` (FAULT_KIND in faulty_calls.c) strikes the call number `after` from now, counted from 1, in place of
 *  what the environment says. `note` is called just before it, in the thread that it strikes. */
void faulty_calls_arm(long after, const char *kind, void (*note)(void));

#endif
