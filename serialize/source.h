/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - the bytes of a file, mapped.
 * References are counted, because storages that lie in the map keep it alive. A file that somebody shortens
 * in place while it is mapped takes the process down with SIGBUS, like any map; files that are replaced by
 * renaming, as lockstep and torch's atomic writers do, stay whole. */
#ifndef LOCKSTEP_SERIALIZE_SOURCE_H
#define LOCKSTEP_SERIALIZE_SOURCE_H

#include <lockstep/tensor.h>

typedef struct lks_source {
    const unsigned char *data;
    size_t size; /* > 0 */
    char *path;
    struct lks_source *whole; /* of a slice: what it is a part of, kept alive */
    bool mapped;              /* unmapped at the end */
    uint64_t device, inode;   /* of the file that is mapped */
    _Atomic size_t references;
} lks_source_t;

/** Maps a regular file, one reference. Errors: IO (the system's reason, or it is a directory or another
 *  thing that is no file), FORMAT (it is empty), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_source_open(const char *path, lks_source_t **out);

/** The caller's bytes as a source; they must outlive it. Errors: FORMAT (none), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_source_wrap(const void *data, size_t nbytes, const char *name,
                                           lks_source_t **out);

/** Bytes [offset, offset + nbytes), which the caller has checked to be there, as a source of their own; messages
 *  call it `name`. Errors: FORMAT (no bytes), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_source_slice(lks_source_t *source, size_t offset, size_t nbytes,
                                            const char *name, lks_source_t **out);
void lks_source_retain(lks_source_t *source);
void lks_source_release(lks_source_t *source); /* NULL does nothing */

/** A read-only storage over bytes [offset, offset + nbytes), which the caller has checked to be there.
 *  Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_source_storage(lks_source_t *source, size_t offset, size_t nbytes,
                                              lks_storage_t **out);

/** Gives back the pages of a mapped file; whoever touches them brings them back. What the system maps around a touched
 *  byte counts as the process's memory. */
void lks_source_drop_pages(const lks_source_t *source);

/** Whether that byte lies in it. */
static inline bool lks_source_holds(const lks_source_t *source, const void *data)
{
    uintptr_t begin = (uintptr_t)source->data, at = (uintptr_t)data;
    return at >= begin && at - begin < source->size;
}

/** Opens the mapped file once more, to read it by its descriptor; -1 where there is none, or its path no longer leads
 *  to it. */
int lks_source_reopen(const lks_source_t *source);

/** Reads bytes through that descriptor: 0, or the system's reason; LKS_SOURCE_SHORTER where the file ends before. */
int lks_source_read(int fd, uint64_t offset, void *out, size_t nbytes);
#define LKS_SOURCE_SHORTER (-1)

/** The sentence of such a reason. */
const char *lks_source_reason(int reason);

/** Opens a regular file for reading. Errors: IO, as above. */
LKS_NODISCARD lks_status_t lks_file_open_read(const char *path, int *fd, size_t *size);

#endif
