/* SPDX-License-Identifier: Apache-2.0 */
/* temporary.h - files and directories in the making, beside what they will replace: ".<name>.<16 hex digits>.tmp".
 * Whoever makes one holds a lock on it (flock), which the system drops when the process ends, however it ends. So
 * a temporary that nobody holds is litter of a save that was killed, and the next save of that target removes it.
 * Where the file system has no locks nothing is removed. */
#ifndef LOCKSTEP_SERIALIZE_TEMPORARY_H
#define LOCKSTEP_SERIALIZE_TEMPORARY_H

#include <stdbool.h>

/** A name for a temporary of `target`, to be freed; NULL when memory ran out. */
char *lks_temporary_name(const char *target);

/** Locks the temporary at `path`, just made and open as `fd`, until the last copy of `fd` is closed. False if somebody
 *  took it for litter meanwhile: make another one. */
bool lks_temporary_lock(const char *path, int fd);

/** Removes the temporaries of `target` that nobody holds: files, and directories with the files in them. What
 *  cannot be removed stays. */
void lks_temporary_sweep(const char *target);

/** Removes a directory and the files in it. What cannot be removed stays. */
void lks_temporary_remove_directory(const char *path);

#endif
