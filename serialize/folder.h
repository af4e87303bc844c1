/* SPDX-License-Identifier: Apache-2.0 */
/* folder.h - a directory of files that appears whole or not at all, as sink.h does for one file.
 * Files go to a temporary directory beside the target. Committing syncs it and puts it in the target's place: a
 * directory that was there is exchanged for it in one step and then removed. A directory that holds something else
 * than a checkpoint's files is not replaced: nobody's notes are lost. */
#ifndef LOCKSTEP_SERIALIZE_FOLDER_H
#define LOCKSTEP_SERIALIZE_FOLDER_H

#include "serialize/sink.h"

typedef struct lks_folder lks_folder_t;

/** Starts a replacement of the directory `path`. `is_part` tells the names of files that may be replaced with an
 *  old one. Errors: IO (no parent directory, no permission, not a directory, holds something else), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_folder_create(const char *path, bool (*is_part)(const char *name),
                                             lks_folder_t **out);

/** Starts a file in it; `name` has no slash. Its commit puts it into the temporary directory.
 *  Errors: as lks_sink_create. */
LKS_NODISCARD lks_status_t lks_folder_file(lks_folder_t *folder, const char *name,
                                           lks_sink_t **out);

/** Puts the directory in place and frees the folder, also on failure. Errors: IO. */
LKS_NODISCARD lks_status_t lks_folder_commit(lks_folder_t *folder, bool sync);

/** Removes the temporary directory and frees the folder. NULL does nothing. */
void lks_folder_discard(lks_folder_t *folder);

#endif
