/* SPDX-License-Identifier: Apache-2.0 */
/* sink.h - a file that appears whole or not at all.
 * Bytes go to a temporary file beside the target. Committing syncs it, renames it over the target and syncs
 * the directory. Until then the target is what it was; discarding, or a failed commit, removes the temporary
 * file. Errors stick: after a write failed the others do nothing, and commit reports the first error.
 * Threads: a sink belongs to one thread, which may have long payloads written by several. */
#ifndef LOCKSTEP_SERIALIZE_SINK_H
#define LOCKSTEP_SERIALIZE_SINK_H

#include "serialize/extent.h"
#include "serialize/source.h"

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lks_sink lks_sink_t;

/** Starts a replacement of `path`. A symbolic link is followed; a new file gets the mode that umask leaves,
 *  a replacement that of the file it replaces. Errors: IO (no such directory, no permission, the target is
 *  no regular file), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_sink_create(const char *path, lks_sink_t **out);

/** The same; messages call the file `shown`. */
LKS_NODISCARD lks_status_t lks_sink_create_shown(const char *path, const char *shown,
                                                 lks_sink_t **out);

/** Takes the disk space beforehand, so that a full disk is found before any work; a little too much is
 *  given back at commit. Where the file system cannot do that, nothing happens. Errors: IO. */
LKS_NODISCARD lks_status_t lks_sink_reserve(lks_sink_t *sink, uint64_t nbytes);

void lks_sink_write(lks_sink_t *sink, const void *data, size_t nbytes);

/** Threads that write extents; 0, as at first: one for each core, at most 8. */
void lks_sink_set_threads(lks_sink_t *sink, size_t threads);
size_t lks_sink_threads(const lks_sink_t *sink);

/** Extents may lie in that mapped file, which must outlive the sink (NULL: in none). They are read by its descriptor
 *  then, in slices that stay in the cache until they are written: that takes less than bringing the pages of the map. */
void lks_sink_set_source(lks_sink_t *sink, const lks_source_t *source);

/** Writes extents, each at its offset behind the position, and sets their checksums. The position stays: skip
 *  the extents when it is their turn. Errors: NO_MEMORY; those of writing stick. */
LKS_NODISCARD lks_status_t lks_sink_write_extents(lks_sink_t *sink, lks_extent_t *extents,
                                                  size_t count);

/** Moves the position over `nbytes` bytes that were, or will be, written as extents. */
void lks_sink_skip(lks_sink_t *sink, uint64_t nbytes);

/** True once a write has failed, which commit will report. */
bool lks_sink_failed(const lks_sink_t *sink);

/** Bytes written or skipped so far. */
uint64_t lks_sink_position(const lks_sink_t *sink);

/** Makes the (still empty) sink a clone of an open file of `nbytes` bytes, which shares its blocks. False, with nothing
 *  done, where the file system cannot do that. The clone may be changed through lks_sink_descriptor. */
bool lks_sink_clone_file(lks_sink_t *sink, int fd, uint64_t nbytes);
int lks_sink_descriptor(const lks_sink_t *sink);

/** Fills the (still empty) sink with the contents of an open file, sharing its blocks where it can. */
void lks_sink_copy_file(lks_sink_t *sink, int fd, uint64_t nbytes);

/** Puts the file in place and frees the sink, also on failure. `sync` false skips the fsyncs.
 *  Errors: IO. */
LKS_NODISCARD lks_status_t lks_sink_commit(lks_sink_t *sink, bool sync);

/** Removes the temporary file and frees the sink. NULL does nothing. */
void lks_sink_discard(lks_sink_t *sink);

#endif
