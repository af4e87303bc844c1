/* SPDX-License-Identifier: Apache-2.0 */
/* origin.h - what is to be opened: a file, mapped, or a directory. Formats look at it to tell whether it is theirs, and
 * then read it. What several of them need to look at (the directory of a zip archive) is read once. */
#ifndef LOCKSTEP_SERIALIZE_ORIGIN_H
#define LOCKSTEP_SERIALIZE_ORIGIN_H

#include "serialize/source.h"
#include "serialize/zip_read.h"

typedef struct lks_input {
    const char *path;
    lks_source_t *source; /* NULL: a directory */
    uint64_t nbytes;      /* of the file; a format of several files adds theirs */
    struct {
        bool read, failed;
        lks_error_t error;
        lks_zip_t archive;
    } zip;
} lks_origin_t;

/** Opens a path. Errors: IO, FORMAT (an empty file), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_origin_open(const char *path, lks_origin_t *out);

/** The same over a source, which it retains. */
void lks_origin_of(lks_source_t *source, lks_origin_t *out);
void lks_origin_fini(lks_origin_t *origin);

/** True if the file begins so. */
bool lks_origin_has(const lks_origin_t *origin, size_t offset, const void *bytes, size_t nbytes);

/** True for a file that begins as a zip archive does. */
bool lks_origin_is_zip(const lks_origin_t *origin);

/** The archive's directory, borrowed; NULL if the origin is no readable archive. */
const lks_zip_t *lks_origin_zip(lks_origin_t *origin);

/** Hands the archive over: the caller closes it. Errors: what reading its directory met. */
LKS_NODISCARD lks_status_t lks_origin_take_zip(lks_origin_t *origin, lks_zip_t *out);

/** True if a directory has an entry of that name. */
bool lks_origin_has_entry(const lks_origin_t *origin, const char *name);

#endif
