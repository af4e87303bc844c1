/* SPDX-License-Identifier: Apache-2.0 */
/* zip_read.h - reading the directory of a zip archive that lies in memory.
 *     [local header, payload] ... [central directory] [zip64 end, its locator] [end record]
 * Opening checks what the directory says: payloads lie inside the archive and apart from each other, names are
 * unique, relative and without "..". Local headers are spread over the file; in archives laid out as torch's
 * only the first is read then, and the others with their payloads, when somebody asks: lks_zip_check.
 * Stored and deflated records are read, with zip64; encrypted and multi-disk archives are refused.
 * The format: PKWARE's APPNOTE.TXT 6.3.10. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_READ_H
#define LOCKSTEP_SERIALIZE_ZIP_READ_H

#include "serialize/hashmap.h"

#include <lockstep/status.h>

typedef struct lks_zip_entry {
    const char *name; /* in the archive: not terminated */
    size_t name_length;
    uint64_t header; /* offset of the local header */
    uint64_t data;   /* offset of the payload; as far as lks_zip_check agrees */
    uint64_t stored; /* bytes of the payload */
    uint64_t size;   /* bytes it stands for: equal unless deflated */
    uint32_t crc;    /* of those */
    bool deflated;
} lks_zip_entry_t;

/** The arguments of a "%.*s" that shows a record's name, which may be long. */
#define LKS_ZIP_NAME(entry)                                                                        \
    (int)((entry)->name_length < 200 ? (entry)->name_length : 200), (entry)->name

/** An archive; the memory it lies in is borrowed. */
typedef struct lks_zip {
    const unsigned char *data;
    size_t size;
    uint64_t directory; /* its offset: payloads end there */
    uint64_t directory_size;
    lks_zip_entry_t *entries; /* in the directory's order */
    size_t count;
    lks_strmap_t by_name;
} lks_zip_t;

/** Reads the directory. Errors: FORMAT, UNSUPPORTED (method, encryption, disks), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_open(const void *data, size_t size, lks_zip_t *out);
void lks_zip_close(lks_zip_t *zip);

/** True for names that records may have: "a/b"; not "/a", "a/../b", or one with a zero in it. */
bool lks_zip_name_is_allowed(const char *name, size_t length);

/** The record of that name, or NULL. */
const lks_zip_entry_t *lks_zip_find(const lks_zip_t *zip, const char *name, size_t nbytes);

/** Compares a record's two headers, name and place included. To be called before its payload is used.
 *  Errors: FORMAT. */
LKS_NODISCARD lks_status_t lks_zip_check(const lks_zip_t *zip, const lks_zip_entry_t *entry);

/** The same of a copy of the archive's bytes from the record's header to its payload. */
LKS_NODISCARD lks_status_t lks_zip_check_copy(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                              const void *head, size_t nbytes);

/** The bytes of a record, after checking it and their CRC-32: in the archive if stored (`*owned` is NULL), else
 *  inflated into memory to be freed (`*owned`). A record larger than `limit` bytes is refused with FORMAT.
 *  Errors: FORMAT, CORRUPT, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_read(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                        size_t limit, const unsigned char **data, void **owned);

/** Inflates a deflated and checked record into `out` of entry->size bytes. Errors: CORRUPT, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_inflate(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                           void *out);

/** The CRC-32 of a checked record's bytes, inflated or not; takes no memory. Errors: as lks_zip_inflate. */
LKS_NODISCARD lks_status_t lks_zip_crc(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                       uint32_t *out);

/** lks_zip_inflate of the first `nbytes` <= entry->size bytes alone. */
LKS_NODISCARD lks_status_t lks_zip_inflate_start(const lks_zip_t *zip, const lks_zip_entry_t *entry,
                                                 void *out, size_t nbytes);

#endif
