/* SPDX-License-Identifier: Apache-2.0 */
/* zip_write.c - see zip_write.h, and zip_read.h for the format. */
#include "serialize/zip_write.h"
#include "serialize/bytes.h"
#include "serialize/crc32.h"
#include "serialize/hashmap.h"
#include "serialize/zip_format.h"

#include <string.h>

#define EXTRA64_LOCAL_SIZE 20   /* id, length, two sizes */
#define EXTRA64_CENTRAL_SIZE 28 /* and an offset */
#define VERSION_PLAIN 20
#define VERSION_ZIP64 45
#define DATE_1980_01_01 0x0021u

/* A record up to this size is checksummed before its header is written; the header of a larger one is
 * patched afterwards, so that its bytes are fetched from memory once. */
#define CHECKSUM_FIRST_MAX ((size_t)64 << 10)

typedef struct record {
    const char *name;
    size_t name_length;
    uint64_t header, size;
    uint32_t crc;
    bool zip64; /* size */
} record_t;

/* Version needed to the length of the name: the part that local and central headers share. */
static unsigned char *put_common(unsigned char *out, const record_t *record, bool zip64)
{
    out = lks_put_uint(out, zip64 ? VERSION_ZIP64 : VERSION_PLAIN, 2);
    out = lks_put_uint(out, ZIP_FLAG_UTF8, 2);
    out = lks_put_uint(out, ZIP_STORED, 2);
    out = lks_put_uint(out, 0, 2);
    out = lks_put_uint(out, DATE_1980_01_01, 2);
    out = lks_put_uint(out, record->crc, 4);
    uint64_t size = record->zip64 ? ZIP_SATURATED_32 : record->size;
    out = lks_put_uint(out, size, 4);
    out = lks_put_uint(out, size, 4);
    return lks_put_uint(out, record->name_length, 2);
}

static void write_local(lks_zip_writer_t *writer, const record_t *record)
{
    unsigned char head[ZIP_LOCAL_SIZE + EXTRA64_LOCAL_SIZE + 4 + ZIP_ALIGNMENT];
    uint64_t start = record->header + ZIP_LOCAL_SIZE + record->name_length +
                     (record->zip64 ? EXTRA64_LOCAL_SIZE : 0) + 4;
    unsigned padding = (unsigned)(-start % ZIP_ALIGNMENT);
    unsigned char *out = lks_put_uint(head, ZIP_LOCAL_SIGNATURE, 4);
    out = put_common(out, record, record->zip64);
    out = lks_put_uint(out, (record->zip64 ? EXTRA64_LOCAL_SIZE : 0u) + 4u + padding, 2);
    lks_sink_write(writer->sink, head, (size_t)(out - head));
    lks_sink_write(writer->sink, record->name, record->name_length);
    out = head;
    if (record->zip64) {
        out = lks_put_uint(out, ZIP_EXTRA_ZIP64, 2);
        out = lks_put_uint(out, EXTRA64_LOCAL_SIZE - 4, 2);
        out = lks_put_uint(out, record->size, 8);
        out = lks_put_uint(out, record->size, 8);
    }
    out = lks_put_uint(out, ZIP_EXTRA_PADDING, 2);
    out = lks_put_uint(out, padding, 2);
    memset(out, 'Z', padding);
    lks_sink_write(writer->sink, head, (size_t)(out - head) + padding);
}

static void append_central(lks_zip_writer_t *writer, const record_t *record)
{
    unsigned char extra[EXTRA64_CENTRAL_SIZE], *tail = extra + 4;
    bool far = record->header >= ZIP_SATURATED_32;
    if (record->zip64) {
        tail = lks_put_uint(tail, record->size, 8);
        tail = lks_put_uint(tail, record->size, 8);
    }
    if (far) {
        tail = lks_put_uint(tail, record->header, 8);
    }
    size_t extra_size = record->zip64 || far ? (size_t)(tail - extra) : 0;
    (void)lks_put_uint(lks_put_uint(extra, ZIP_EXTRA_ZIP64, 2), (uint64_t)(tail - extra) - 4, 2);

    unsigned char head[ZIP_CENTRAL_SIZE];
    unsigned char *out = lks_put_uint(head, ZIP_CENTRAL_SIGNATURE, 4);
    out = lks_put_uint(out, VERSION_ZIP64, 2); /* made by, and for no system: no attributes */
    out = put_common(out, record, extra_size > 0);
    out = lks_put_uint(out, extra_size, 2);
    out = lks_put_uint(out, 0, 2 + 2); /* comment, disk */
    out = lks_put_uint(out, 0, 2 + 4); /* attributes */
    (void)lks_put_uint(out, far ? ZIP_SATURATED_32 : record->header, 4);
    lks_strbuf_append(&writer->directory, head, sizeof head);
    lks_strbuf_append(&writer->directory, record->name, record->name_length);
    lks_strbuf_append(&writer->directory, extra, extra_size);
}

void lks_zip_writer_add(lks_zip_writer_t *writer, const char *name, const void *data, size_t nbytes)
{
    bool checksum_first = nbytes <= CHECKSUM_FIRST_MAX;
    record_t record = {.name = name,
                       .name_length = strlen(name),
                       .header = lks_sink_position(writer->sink),
                       .size = nbytes,
                       .crc = checksum_first ? lks_crc32(0, data, nbytes) : 0,
                       .zip64 = nbytes >= ZIP_SATURATED_32};
    write_local(writer, &record);
    if (checksum_first) {
        lks_sink_write(writer->sink, data, nbytes);
    } else {
        unsigned char crc[4];
        lks_sink_write_crc(writer->sink, data, nbytes, &record.crc);
        (void)lks_put_uint(crc, record.crc, 4);
        lks_sink_patch(writer->sink, record.header + 14, crc, sizeof crc);
    }
    append_central(writer, &record);
    writer->count++;
    writer->names_hash = lks_hash_bytes(writer->names_hash, name, record.name_length);
    writer->crcs_hash = lks_mix64(writer->crcs_hash + record.crc + 1);
}

lks_status_t lks_zip_writer_finish(lks_zip_writer_t *writer)
{
    if (!lks_strbuf_ok(&writer->directory)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    uint64_t offset = lks_sink_position(writer->sink), size = writer->directory.length;
    lks_sink_write(writer->sink, writer->directory.data, writer->directory.length);
    unsigned char end[ZIP64_END_SIZE + ZIP64_LOCATOR_SIZE + ZIP_END_SIZE];
    /* Like torch, always with the zip64 records: readers that know them prefer them. */
    unsigned char *out = lks_put_uint(end, ZIP64_END_SIGNATURE, 4);
    out = lks_put_uint(out, ZIP64_END_SIZE - 12, 8);
    out = lks_put_uint(out, VERSION_ZIP64, 2);
    out = lks_put_uint(out, VERSION_ZIP64, 2);
    out = lks_put_uint(out, 0, 4 + 4); /* disks */
    out = lks_put_uint(out, writer->count, 8);
    out = lks_put_uint(out, writer->count, 8);
    out = lks_put_uint(out, size, 8);
    out = lks_put_uint(out, offset, 8);
    out = lks_put_uint(out, ZIP64_LOCATOR_SIGNATURE, 4);
    out = lks_put_uint(out, 0, 4);
    out = lks_put_uint(out, offset + size, 8);
    out = lks_put_uint(out, 1, 4);
    uint64_t count = writer->count < ZIP_SATURATED_16 ? writer->count : ZIP_SATURATED_16;
    out = lks_put_uint(out, ZIP_END_SIGNATURE, 4);
    out = lks_put_uint(out, 0, 2 + 2); /* disks */
    out = lks_put_uint(out, count, 2);
    out = lks_put_uint(out, count, 2);
    out = lks_put_uint(out, size < ZIP_SATURATED_32 ? size : ZIP_SATURATED_32, 4);
    out = lks_put_uint(out, offset < ZIP_SATURATED_32 ? offset : ZIP_SATURATED_32, 4);
    (void)lks_put_uint(out, 0, 2); /* comment */
    lks_sink_write(writer->sink, end, sizeof end);
    return LKS_OK;
}

void lks_zip_writer_fini(lks_zip_writer_t *writer)
{
    lks_strbuf_fini(&writer->directory);
}

uint64_t lks_zip_record_bound(size_t name_length, uint64_t nbytes)
{
    return nbytes + 2 * (uint64_t)name_length + ZIP_LOCAL_SIZE + EXTRA64_LOCAL_SIZE + 4 +
           ZIP_ALIGNMENT + ZIP_CENTRAL_SIZE + EXTRA64_CENTRAL_SIZE;
}

uint64_t lks_zip_end_bound(void)
{
    return ZIP64_END_SIZE + ZIP64_LOCATOR_SIZE + ZIP_END_SIZE;
}
