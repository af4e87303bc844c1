/* SPDX-License-Identifier: Apache-2.0 */
/* zip_update.h - small records of a huge archive replaced in place, whatever happens meanwhile.
 * Not a byte of the old archive is overwritten. The file grows by the new records, a new directory and a new end:
 *     [old archive][gap][new records][new directory][end]
 *                                                   P
 * in three steps, each on the disk before the next begins:
 *   1. `end` is written at P. It still names the old directory. The file is extended by that one write, and what lies
 *      before P is a hole that nobody looks at.
 *   2. The new records and the new directory fill the hole.
 *   3. `end` is overwritten: it names the new directory.
 * `end` lies within one 512-byte sector, so within one page: the writes of steps 1 and 3 happen whole or not at all,
 * for whoever kills the process and for a disk that loses power. So at every instant the last end record of the file
 * names a whole directory, the old one or the new one. (Between steps 1 and 3 readers must follow the offset in the
 * end record, as torch, libzip and we do; Python's zipfile would rather guess it from where the end record lies.)
 * If a step fails, the file is cut back to its old size, which is the old archive.
 *
 * What was replaced stays in the file as dead bytes, until somebody writes it anew. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_UPDATE_H
#define LOCKSTEP_SERIALIZE_ZIP_UPDATE_H

#include "serialize/zip_read.h"
#include "serialize/zip_record.h"

#include <lockstep/status.h>

/** A record to be added: its name and size; where it lies and its CRC-32 are worked out by the update. */
typedef struct lks_zip_addition {
    lks_zip_record_t record;
    const void *data;
} lks_zip_addition_t;

/** What is to become of an archive. */
typedef struct lks_zip_update {
    const lks_zip_t *zip; /* the archive as it is: all of the file */
    const bool *drop;     /* by entry: those that the new directory does not have */
    lks_zip_addition_t *additions;
    size_t addition_count;
} lks_zip_update_t;

/** Updates the file open as `fd` for writing; messages call it `path`. The file is as it was when the archive was
 *  opened, and the caller keeps others from changing it. `sync` false leaves out waiting for the disk: then only a
 *  killed process is harmless. Errors, the old archive intact: IO, NO_MEMORY, FORMAT (a record whose two headers
 *  contradict each other: readers of the new archive could refuse it). */
LKS_NODISCARD lks_status_t lks_zip_update_file(const lks_zip_update_t *update, int fd,
                                               const char *path, bool sync);

#endif
