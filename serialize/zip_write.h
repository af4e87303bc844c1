/* SPDX-License-Identifier: Apache-2.0 */
/* zip_write.h - writing a zip archive of stored records, laid out as torch does: payloads start at multiples
 * of 64 bytes, so that a mapped file gives aligned tensors. CRC-32 and sizes are in both headers. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_WRITE_H
#define LOCKSTEP_SERIALIZE_ZIP_WRITE_H

#include "serialize/sink.h"
#include "serialize/zip_record.h"

#include <lockstep/status.h>

typedef struct lks_zip_waiting lks_zip_waiting_t;

/** Zeroed but for `sink` and `base` it is an empty archive. Errors stick, in the sink or here. */
typedef struct lks_zip_writer {
    lks_sink_t *sink;
    uint64_t base; /* where in the sink the archive begins; alignment counts from there */
    lks_zip_waiting_t *records; /* added and not yet written */
    size_t waiting, capacity;
    lks_strbuf_t names;     /* of those */
    lks_strbuf_t head;      /* the local header that is being written */
    lks_strbuf_t directory; /* the central one, as far as it is known */
    uint64_t count;
    uint64_t names_hash, crcs_hash; /* of all records written so far */
    bool failed;                    /* out of memory */
} lks_zip_writer_t;

/** Adds a record. `name` is relative and shorter than 64 KiB. The data is borrowed until it is written: all
 *  that waits is written at once, large payloads by several threads. `*crc` (unless NULL) is set then. */
void lks_zip_writer_add(lks_zip_writer_t *writer, const char *name, const void *data, size_t nbytes,
                        uint32_t *crc);

/** Starts a record of `nbytes` bytes with that CRC-32, which follow through lks_sink_write: for bytes that are never
 *  in memory all at once. `name` need not be kept. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_writer_begin(lks_zip_writer_t *writer, const char *name,
                                                uint64_t nbytes, uint32_t crc);

/** Writes what was added; the hashes are up to date then. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_writer_flush(lks_zip_writer_t *writer);

/** Flushes and ends the archive. Errors: NO_MEMORY. (The sink reports its own at commit.) */
LKS_NODISCARD lks_status_t lks_zip_writer_finish(lks_zip_writer_t *writer);
void lks_zip_writer_fini(lks_zip_writer_t *writer);

#endif
