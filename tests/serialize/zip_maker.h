/* SPDX-License-Identifier: Apache-2.0 */
/* zip_maker.h - zip archives made field by field, right or wrong, without the writer under test. */
#ifndef LOCKSTEP_TESTS_ZIP_MAKER_H
#define LOCKSTEP_TESTS_ZIP_MAKER_H

#include "core/strbuf.h"

#include <stdint.h>

/** A record. Zeros mean what an honest writer would put. */
typedef struct test_record {
    const char *name;
    const void *data;
    size_t nbytes;
    bool deflate;           /* the data is deflated first */
    bool descriptor;        /* zeros in the local header, as torch writes */
    const char *local_name; /* another name in the local header */
    uint32_t wrong_crc;     /* added to the CRC in both headers */
    uint32_t wrong_size;    /* added to the uncompressed size in the directory */
    uint32_t wrong_stored;  /* added to the stored size in the directory */
    uint32_t wrong_offset;  /* added to the offset in the directory */
    bool zip64;             /* sizes and offset stand in extra fields */
    uint16_t wrong_extra;   /* added to the id of that field in the directory */
    uint16_t flags, method, disk;
} test_record_t;

/** The archive; clear it with lks_strbuf_fini. */
lks_strbuf_t test_zip(const test_record_t *records, size_t count);

/** A checkpoint file of that pickle: "archive/data.pkl", "archive/version" and then `records`. */
lks_strbuf_t test_torch_zip(const void *pickle, size_t nbytes, const test_record_t *records,
                            size_t count);

#endif
