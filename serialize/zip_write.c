/* SPDX-License-Identifier: Apache-2.0 */
/* zip_write.c - see zip_write.h, and zip_read.h for the format. */
#include "serialize/zip_write.h"
#include "core/grow.h"
#include "serialize/crc32.h"
#include "serialize/hashmap.h"

#include <stdlib.h>
#include <string.h>

/* Payloads above this size are written by the sink's threads, the others one after the other with the
 * headers between them. */
#define SMALL_MAX ((size_t)32 << 10)

struct lks_zip_waiting {
    size_t name; /* offset in the writer's names, which move */
    const void *data;
    uint32_t *crc; /* where its checksum is wanted; NULL: nowhere */
    lks_zip_record_t record;
};

/* Room for one more; NULL when memory ran out. */
static lks_zip_waiting_t *next_record(lks_zip_writer_t *writer)
{
    lks_zip_waiting_t *records =
        lks_grow(writer->records, &writer->capacity, writer->waiting + 1, sizeof *records);
    if (!records) {
        return NULL;
    }
    writer->records = records;
    return &writer->records[writer->waiting];
}

void lks_zip_writer_add(lks_zip_writer_t *writer, const char *name, const void *data, size_t nbytes,
                        uint32_t *crc)
{
    size_t at = writer->names.length, length = strlen(name);
    lks_strbuf_append(&writer->names, name, length);
    lks_zip_waiting_t *waiting = lks_strbuf_ok(&writer->names) ? next_record(writer) : NULL;
    if (!waiting) {
        writer->failed = true;
        return;
    }
    *waiting = (lks_zip_waiting_t){
        .name = at, .data = data, .crc = crc, .record = {.name_length = length, .size = nbytes}};
    writer->waiting++;
}

/* The offset in the archive that comes next. */
static uint64_t position_of(const lks_zip_writer_t *writer)
{
    return lks_sink_position(writer->sink) - writer->base;
}

static bool is_large(const lks_zip_waiting_t *waiting)
{
    return waiting->record.size > SMALL_MAX;
}

/* Where each record lies is known before a byte is written. Returns how many are large. */
static size_t lay_out(lks_zip_writer_t *writer)
{
    uint64_t at = position_of(writer);
    size_t large = 0;
    for (size_t i = 0; i < writer->waiting; i++) {
        lks_zip_record_t *record = &writer->records[i].record;
        record->name = writer->names.data + writer->records[i].name;
        record->header = at;
        at = lks_zip_record_payload(record) + record->size;
        large += is_large(&writer->records[i]);
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
        const lks_zip_waiting_t *waiting = &writer->records[i];
        if (is_large(waiting)) {
            extents[n++] =
                (lks_extent_t){.data = waiting->data,
                               .nbytes = (size_t)waiting->record.size,
                               .offset = writer->base + lks_zip_record_payload(&waiting->record)};
        }
    }
    lks_status_t status = lks_sink_write_extents(writer->sink, extents, large);
    for (size_t i = 0, n = 0; i < writer->waiting && status == LKS_OK; i++) {
        if (is_large(&writer->records[i])) {
            writer->records[i].record.crc = extents[n++].crc;
        }
    }
    free(extents);
    return status;
}

static void write_local(lks_zip_writer_t *writer, const lks_zip_record_t *record)
{
    lks_strbuf_clear(&writer->head);
    lks_zip_put_local(&writer->head, record);
    lks_sink_write(writer->sink, writer->head.data, writer->head.length);
    writer->failed |= !lks_strbuf_ok(&writer->head);
}

static void list_record(lks_zip_writer_t *writer, const lks_zip_record_t *record)
{
    lks_zip_put_central(&writer->directory, record);
    writer->count++;
    writer->names_hash = lks_hash_bytes(writer->names_hash, record->name, record->name_length);
    writer->crcs_hash = lks_mix64(writer->crcs_hash + record->crc + 1);
}

/* Everything between the large payloads. */
static void write_record(lks_zip_writer_t *writer, lks_zip_waiting_t *waiting)
{
    lks_zip_record_t *record = &waiting->record;
    if (is_large(waiting)) {
        write_local(writer, record);
        lks_sink_skip(writer->sink, record->size);
    } else {
        record->crc = lks_crc32(0, waiting->data, (size_t)record->size);
        write_local(writer, record);
        lks_sink_write(writer->sink, waiting->data, (size_t)record->size);
    }
    if (waiting->crc) {
        *waiting->crc = record->crc;
    }
    list_record(writer, record);
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

lks_status_t lks_zip_writer_begin(lks_zip_writer_t *writer, const char *name, uint64_t nbytes,
                                  uint32_t crc)
{
    LKS_TRY(lks_zip_writer_flush(writer));
    const lks_zip_record_t record = {.name = name,
                                     .name_length = strlen(name),
                                     .header = position_of(writer),
                                     .size = nbytes,
                                     .crc = crc};
    write_local(writer, &record);
    list_record(writer, &record);
    return LKS_OK;
}

/* --- the end ------------------------------------------------------------------------------------ */

lks_status_t lks_zip_writer_finish(lks_zip_writer_t *writer)
{
    LKS_TRY(lks_zip_writer_flush(writer));
    if (writer->failed || !lks_strbuf_ok(&writer->directory)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
    }
    const lks_zip_directory_t directory = {
        .offset = position_of(writer), .size = writer->directory.length, .count = writer->count};
    lks_sink_write(writer->sink, writer->directory.data, writer->directory.length);
    unsigned char end[LKS_ZIP_END_SIZE];
    lks_zip_put_end(end, &directory, directory.offset + directory.size);
    lks_sink_write(writer->sink, end, sizeof end);
    return LKS_OK;
}

void lks_zip_writer_fini(lks_zip_writer_t *writer)
{
    free(writer->records);
    lks_strbuf_fini(&writer->names);
    lks_strbuf_fini(&writer->head);
    lks_strbuf_fini(&writer->directory);
}
