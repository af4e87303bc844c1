/* SPDX-License-Identifier: Apache-2.0 */
/* zip_write.c - see zip_write.h, and zip_read.h for the format. */
#include "serialize/zip_write.h"
#include "core/checked.h"
#include "serialize/bytes.h"
#include "serialize/crc32.h"
#include "serialize/hashmap.h"
#include "serialize/zip_format.h"

#include <stdlib.h>
#include <string.h>

#define EXTRA64_LOCAL_SIZE 20   /* id, length, two sizes */
#define EXTRA64_CENTRAL_SIZE 28 /* and an offset */
#define VERSION_PLAIN 20
#define VERSION_ZIP64 45
#define DATE_1980_01_01 0x0021u

/* Payloads above this size are written by the sink's threads, the others one after the other with the
 * headers between them. */
#define SMALL_MAX ((size_t)32 << 10)

struct lks_zip_record {
    size_t name; /* offset in the writer's names */
    size_t name_length;
    const void *data;
    uint64_t header, size;
    uint32_t crc;
    bool zip64; /* size */
};

/* --- headers ------------------------------------------------------------------------------------ */

/* Version needed to the length of the name: the part that local and central headers share. */
static unsigned char *put_common(unsigned char *out, const lks_zip_record_t *record, bool zip64)
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

/* Bytes of a local header that come before the filler's. */
static uint64_t local_fixed_size(const lks_zip_record_t *record)
{
    return ZIP_LOCAL_SIZE + record->name_length + (record->zip64 ? EXTRA64_LOCAL_SIZE : 0) + 4;
}

static unsigned padding_of(const lks_zip_record_t *record)
{
    return (unsigned)(-(record->header + local_fixed_size(record)) % ZIP_ALIGNMENT);
}

static uint64_t payload_of(const lks_zip_record_t *record)
{
    return record->header + local_fixed_size(record) + padding_of(record);
}

static void write_local(lks_zip_writer_t *writer, const lks_zip_record_t *record)
{
    unsigned char head[ZIP_LOCAL_SIZE + EXTRA64_LOCAL_SIZE + 4 + ZIP_ALIGNMENT];
    unsigned padding = padding_of(record);
    unsigned char *out = lks_put_uint(head, ZIP_LOCAL_SIGNATURE, 4);
    out = put_common(out, record, record->zip64);
    out = lks_put_uint(out, (record->zip64 ? EXTRA64_LOCAL_SIZE : 0u) + 4u + padding, 2);
    lks_sink_write(writer->sink, head, (size_t)(out - head));
    lks_sink_write(writer->sink, writer->names.data + record->name, record->name_length);
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

static void append_central(lks_zip_writer_t *writer, const lks_zip_record_t *record)
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
    lks_strbuf_append(&writer->directory, writer->names.data + record->name, record->name_length);
    lks_strbuf_append(&writer->directory, extra, extra_size);
}

/* --- records ------------------------------------------------------------------------------------ */

/* Room for one more; NULL when memory ran out. */
static lks_zip_record_t *next_record(lks_zip_writer_t *writer)
{
    if (writer->waiting == writer->capacity) {
        size_t capacity = writer->capacity ? writer->capacity : 32, nbytes;
        lks_zip_record_t *records =
            lks_mul_size(capacity, 2, &capacity) && lks_mul_size(capacity, sizeof *records, &nbytes)
                ? realloc(writer->records, nbytes)
                : NULL;
        if (!records) {
            return NULL;
        }
        writer->records = records;
        writer->capacity = capacity;
    }
    return &writer->records[writer->waiting];
}

void lks_zip_writer_add(lks_zip_writer_t *writer, const char *name, const void *data, size_t nbytes)
{
    size_t at = writer->names.length, length = strlen(name);
    lks_strbuf_append(&writer->names, name, length);
    lks_zip_record_t *record = lks_strbuf_ok(&writer->names) ? next_record(writer) : NULL;
    if (!record) {
        writer->failed = true;
        return;
    }
    *record = (lks_zip_record_t){.name = at,
                                 .name_length = length,
                                 .data = data,
                                 .size = nbytes,
                                 .zip64 = nbytes >= ZIP_SATURATED_32};
    writer->waiting++;
}

static bool is_large(const lks_zip_record_t *record)
{
    return record->size > SMALL_MAX;
}

/* Where each record lies is known before a byte is written. Returns how many are large. */
static size_t lay_out(lks_zip_writer_t *writer)
{
    uint64_t at = lks_sink_position(writer->sink);
    size_t large = 0;
    for (size_t i = 0; i < writer->waiting; i++) {
        lks_zip_record_t *record = &writer->records[i];
        record->header = at;
        at = payload_of(record) + record->size;
        large += is_large(record);
    }
    return large;
}

/* Payloads of the large records, and what their headers say of them. */
static lks_status_t write_large(lks_zip_writer_t *writer, size_t large)
{
    lks_extent_t *extents = calloc(large + 1, sizeof *extents);
    if (!extents) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    for (size_t i = 0, n = 0; i < writer->waiting; i++) {
        const lks_zip_record_t *record = &writer->records[i];
        if (is_large(record)) {
            extents[n++] = (lks_extent_t){
                .data = record->data, .nbytes = (size_t)record->size, .offset = payload_of(record)};
        }
    }
    lks_status_t status = lks_sink_write_extents(writer->sink, extents, large);
    for (size_t i = 0, n = 0; i < writer->waiting && status == LKS_OK; i++) {
        if (is_large(&writer->records[i])) {
            writer->records[i].crc = extents[n++].crc;
        }
    }
    free(extents);
    return status;
}

/* Everything between the large payloads. */
static void write_record(lks_zip_writer_t *writer, lks_zip_record_t *record)
{
    if (is_large(record)) {
        write_local(writer, record);
        lks_sink_skip(writer->sink, record->size);
    } else {
        record->crc = lks_crc32(0, record->data, (size_t)record->size);
        write_local(writer, record);
        lks_sink_write(writer->sink, record->data, (size_t)record->size);
    }
    append_central(writer, record);
    writer->count++;
    const char *name = writer->names.data + record->name;
    writer->names_hash = lks_hash_bytes(writer->names_hash, name, record->name_length);
    writer->crcs_hash = lks_mix64(writer->crcs_hash + record->crc + 1);
}

lks_status_t lks_zip_writer_flush(lks_zip_writer_t *writer)
{
    if (writer->failed) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    LKS_TRY(write_large(writer, lay_out(writer)));
    for (size_t i = 0; i < writer->waiting; i++) {
        write_record(writer, &writer->records[i]);
    }
    writer->waiting = 0;
    lks_strbuf_clear(&writer->names);
    return LKS_OK;
}

/* --- the end ------------------------------------------------------------------------------------ */

lks_status_t lks_zip_writer_finish(lks_zip_writer_t *writer)
{
    LKS_TRY(lks_zip_writer_flush(writer));
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
    free(writer->records);
    lks_strbuf_fini(&writer->names);
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
