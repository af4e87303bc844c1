/* SPDX-License-Identifier: Apache-2.0 */
/* sink_path.h - where a sink's bytes go: the file that a path means, and the temporary one beside it. */
#ifndef LOCKSTEP_SERIALIZE_SINK_PATH_H
#define LOCKSTEP_SERIALIZE_SINK_PATH_H

#include <lockstep/status.h>
#include <stdbool.h>

typedef struct lks_sink_path {
    char *target;    /* after symbolic links */
    char *temporary; /* in the same directory */
    char *shown;     /* what messages call the target */
} lks_sink_path_t;

/** Resolves `path`, removes what killed saves left beside it (temporary.h) and creates the temporary file, with the
 *  mode and, where permitted, the owner of the file it will replace. Keep `*fd` open until it is in place or
 *  removed: its lock says that somebody is at it. Messages call the file `shown`; NULL: what `path` resolves to.
 *  Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_sink_path_open(const char *path, const char *shown,
                                              lks_sink_path_t *out, int *fd);

/** Renames the temporary file over the target and, if `sync`, syncs the directory; removes the temporary
 *  file where that fails. Errors: IO. */
LKS_NODISCARD lks_status_t lks_sink_path_replace(const lks_sink_path_t *path, bool sync);

/** Follows the symbolic links of `path`, the last of which may point to nothing yet; the result is to be freed.
 *  Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_sink_path_resolve(const char *path, char **out);

/** Syncs the directory in which `target` lies; messages call the latter `shown`. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_sink_path_sync_directory(const char *target, const char *shown);

/** Removes the temporary file. */
void lks_sink_path_remove(const lks_sink_path_t *path);
void lks_sink_path_fini(lks_sink_path_t *path);

#endif
