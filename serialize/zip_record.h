/* SPDX-License-Identifier: Apache-2.0 */
/* zip_record.h - the headers of stored records, and the end of an archive, as bytes.
 * Payloads start at multiples of 64 bytes: a filler in the local header's extra field sees to it. zip64 where sizes,
 * offsets or counts ask for it. No times: same records, same bytes. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_RECORD_H
#define LOCKSTEP_SERIALIZE_ZIP_RECORD_H

#include "core/strbuf.h"
#include "serialize/zip_format.h"

#include <stdint.h>

typedef struct lks_zip_record {
    const char *name;   /* relative; need not be terminated */
    size_t name_length; /* less than 64 KiB */
    uint64_t header;    /* offset of the local header */
    uint64_t size;
    uint32_t crc;
} lks_zip_record_t;

/** Offset of the payload: the local header ends there. */
uint64_t lks_zip_record_payload(const lks_zip_record_t *record);

/** Appends the local header, and the directory's. */
void lks_zip_put_local(lks_strbuf_t *out, const lks_zip_record_t *record);
void lks_zip_put_central(lks_strbuf_t *out, const lks_zip_record_t *record);

/** Where a directory lies. */
typedef struct lks_zip_directory {
    uint64_t offset, size, count;
} lks_zip_directory_t;

#define LKS_ZIP_END_SIZE (ZIP64_END_SIZE + ZIP64_LOCATOR_SIZE + ZIP_END_SIZE)

/** The end records of an archive, to stand at offset `at`. Like torch's always with those of zip64: readers that know
 *  them prefer them. */
void lks_zip_put_end(unsigned char out[LKS_ZIP_END_SIZE], const lks_zip_directory_t *directory,
                     uint64_t at);

/** At most this many bytes of archive belong to a record; and to an archive besides its records. */
uint64_t lks_zip_record_bound(size_t name_length, uint64_t nbytes);
uint64_t lks_zip_end_bound(void);

#endif
