/* SPDX-License-Identifier: Apache-2.0 */
/* zip_maker.c - see zip_maker.h. */
#include "serialize/zip_maker.h"
#include "serialize/bytes.h"
#include "serialize/zip_format.h"
#include "support/support.h"

#include <stdlib.h>
#include <zlib.h>

static void put(lks_strbuf_t *out, uint64_t value, unsigned width)
{
    unsigned char bytes[8];
    (void)lks_put_uint(bytes, value, width);
    lks_strbuf_append(out, bytes, width);
}

static void *deflated(const test_record_t *record, size_t *nbytes)
{
    size_t bound = record->nbytes + record->nbytes / 2 + 64;
    unsigned char *out = malloc(bound);
    z_stream stream = {.next_in = (z_const Bytef *)(uintptr_t)record->data,
                       .avail_in = (uInt)record->nbytes,
                       .next_out = out,
                       .avail_out = (uInt)bound};
    cr_assert(out && deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, 0) == Z_OK);
    cr_assert(deflate(&stream, Z_FINISH) == Z_STREAM_END);
    *nbytes = bound - stream.avail_out;
    (void)deflateEnd(&stream);
    return out;
}

/* The sizes and offset that one of the headers states. */
typedef struct stated {
    uint32_t crc, stored, size, offset;
} stated_t;

/* Version needed to the length of the extra fields. */
static void put_common(lks_strbuf_t *out, const test_record_t *record, stated_t stated,
                       const char *name, size_t extra)
{
    put(out, 20, 2);
    put(out, (uint64_t)record->flags | (record->descriptor ? ZIP_FLAG_DESCRIPTOR : 0), 2);
    put(out, record->method ? record->method : record->deflate ? ZIP_DEFLATED : ZIP_STORED, 2);
    put(out, 0, 4); /* time, date */
    put(out, stated.crc, 4);
    put(out, record->zip64 ? ZIP_SATURATED_32 : stated.stored, 4);
    put(out, record->zip64 ? ZIP_SATURATED_32 : stated.size, 4);
    put(out, strlen(name), 2);
    put(out, record->zip64 ? extra : 0, 2);
}

static void put_extra64(lks_strbuf_t *out, unsigned id, stated_t stated, bool central)
{
    put(out, 0x7777, 2); /* another field in front */
    put(out, 0, 2);
    put(out, id, 2);
    put(out, central ? 24 : 16, 2);
    put(out, stated.size, 8);
    put(out, stated.stored, 8);
    if (central) {
        put(out, stated.offset, 8);
    }
}

static void add(lks_strbuf_t *out, lks_strbuf_t *directory, const test_record_t *record)
{
    size_t stored = record->nbytes;
    void *packed = record->deflate ? deflated(record, &stored) : NULL;
    const char *local_name = record->local_name ? record->local_name : record->name;
    stated_t stated = {.crc = (uint32_t)crc32(0, record->data, (uInt)record->nbytes) +
                              record->wrong_crc,
                       .stored = (uint32_t)stored,
                       .size = (uint32_t)record->nbytes,
                       .offset = (uint32_t)out->length + record->wrong_offset};
    put(out, ZIP_LOCAL_SIGNATURE, 4);
    put_common(out, record, record->descriptor ? (stated_t){0} : stated, local_name, 24);
    lks_strbuf_append_str(out, local_name);
    if (record->zip64) {
        put_extra64(out, ZIP_EXTRA_ZIP64, stated, false);
    }
    lks_strbuf_append(out, packed ? packed : record->data, stored);
    free(packed);

    stated.stored += record->wrong_stored;
    stated.size += record->wrong_size;
    put(directory, ZIP_CENTRAL_SIGNATURE, 4);
    put(directory, 20, 2);
    put_common(directory, record, stated, record->name, 32);
    put(directory, 0, 2); /* comment */
    put(directory, record->disk, 2);
    put(directory, 0, 6); /* attributes */
    put(directory, record->zip64 ? ZIP_SATURATED_32 : stated.offset, 4);
    lks_strbuf_append_str(directory, record->name);
    if (record->zip64) {
        put_extra64(directory, ZIP_EXTRA_ZIP64 + record->wrong_extra, stated, true);
    }
}

lks_strbuf_t test_zip(const test_record_t *records, size_t count)
{
    lks_strbuf_t out = {0}, directory = {0};
    for (size_t i = 0; i < count; i++) {
        add(&out, &directory, &records[i]);
    }
    size_t offset = out.length;
    lks_strbuf_append(&out, directory.data, directory.length);
    put(&out, ZIP_END_SIGNATURE, 4);
    put(&out, 0, 4); /* disks */
    put(&out, count, 2);
    put(&out, count, 2);
    put(&out, directory.length, 4);
    put(&out, offset, 4);
    put(&out, 0, 2); /* comment */
    lks_strbuf_fini(&directory);
    cr_assert(lks_strbuf_ok(&out));
    return out;
}

lks_strbuf_t test_torch_zip(const void *pickle, size_t nbytes, const test_record_t *records,
                            size_t count)
{
    test_record_t *all = calloc(count + 2, sizeof *all);
    cr_assert(all);
    all[0] = (test_record_t){.name = "archive/data.pkl", .data = pickle, .nbytes = nbytes};
    all[1] = (test_record_t){.name = "archive/version", .data = "3\n", .nbytes = 2};
    for (size_t i = 0; i < count; i++) {
        all[2 + i] = records[i];
    }
    lks_strbuf_t out = test_zip(all, count + 2);
    free(all);
    return out;
}
