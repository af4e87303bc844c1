/* SPDX-License-Identifier: Apache-2.0 */
/* zip_record.c - see zip_record.h, and zip_read.h for the format. */
#include "serialize/zip_record.h"
#include "serialize/bytes.h"

#include <stdbool.h>
#include <string.h>

#define EXTRA64_LOCAL_SIZE 20   /* id, length, two sizes */
#define EXTRA64_CENTRAL_SIZE 28 /* and an offset */
#define VERSION_PLAIN 20
#define VERSION_ZIP64 45
#define DATE_1980_01_01 0x0021u

/* --- local headers ------------------------------------------------------------------------------ */

static bool is_large(const lks_zip_record_t *record)
{
    return record->size >= ZIP_SATURATED_32;
}

/* Version needed to the length of the name: the part that local and central headers share. */
static unsigned char *put_common(unsigned char *out, const lks_zip_record_t *record, bool zip64)
{
    out = lks_put_uint(out, zip64 ? VERSION_ZIP64 : VERSION_PLAIN, 2);
    out = lks_put_uint(out, ZIP_FLAG_UTF8, 2);
    out = lks_put_uint(out, ZIP_STORED, 2);
    out = lks_put_uint(out, 0, 2);
    out = lks_put_uint(out, DATE_1980_01_01, 2);
    out = lks_put_uint(out, record->crc, 4);
    uint64_t size = is_large(record) ? ZIP_SATURATED_32 : record->size;
    out = lks_put_uint(out, size, 4);
    out = lks_put_uint(out, size, 4);
    return lks_put_uint(out, record->name_length, 2);
}

/* Bytes of a local header that come before the filler's. */
static uint64_t fixed_size(const lks_zip_record_t *record)
{
    return ZIP_LOCAL_SIZE + record->name_length + (is_large(record) ? EXTRA64_LOCAL_SIZE : 0) + 4;
}

static unsigned padding_of(const lks_zip_record_t *record)
{
    return (unsigned)(-(record->header + fixed_size(record)) % ZIP_ALIGNMENT);
}

uint64_t lks_zip_record_payload(const lks_zip_record_t *record)
{
    return record->header + fixed_size(record) + padding_of(record);
}

void lks_zip_put_local(lks_strbuf_t *out, const lks_zip_record_t *record)
{
    unsigned char head[ZIP_LOCAL_SIZE], extra[EXTRA64_LOCAL_SIZE + 4 + ZIP_ALIGNMENT];
    unsigned padding = padding_of(record);
    unsigned char *end = lks_put_uint(head, ZIP_LOCAL_SIGNATURE, 4);
    end = put_common(end, record, is_large(record));
    (void)lks_put_uint(end, (is_large(record) ? EXTRA64_LOCAL_SIZE : 0u) + 4u + padding, 2);
    lks_strbuf_append(out, head, sizeof head);
    lks_strbuf_append(out, record->name, record->name_length);
    end = extra;
    if (is_large(record)) {
        end = lks_put_uint(end, ZIP_EXTRA_ZIP64, 2);
        end = lks_put_uint(end, EXTRA64_LOCAL_SIZE - 4, 2);
        end = lks_put_uint(end, record->size, 8);
        end = lks_put_uint(end, record->size, 8);
    }
    end = lks_put_uint(end, ZIP_EXTRA_PADDING, 2);
    end = lks_put_uint(end, padding, 2);
    memset(end, 'Z', padding);
    lks_strbuf_append(out, extra, (size_t)(end - extra) + padding);
}

/* --- the directory's ---------------------------------------------------------------------------- */

void lks_zip_put_central(lks_strbuf_t *out, const lks_zip_record_t *record)
{
    unsigned char extra[EXTRA64_CENTRAL_SIZE], *tail = extra + 4;
    bool far = record->header >= ZIP_SATURATED_32;
    if (is_large(record)) {
        tail = lks_put_uint(tail, record->size, 8);
        tail = lks_put_uint(tail, record->size, 8);
    }
    if (far) {
        tail = lks_put_uint(tail, record->header, 8);
    }
    size_t extra_size = is_large(record) || far ? (size_t)(tail - extra) : 0;
    (void)lks_put_uint(lks_put_uint(extra, ZIP_EXTRA_ZIP64, 2), (uint64_t)(tail - extra) - 4, 2);

    unsigned char head[ZIP_CENTRAL_SIZE];
    unsigned char *end = lks_put_uint(head, ZIP_CENTRAL_SIGNATURE, 4);
    end = lks_put_uint(end, VERSION_ZIP64, 2); /* made by, and for no system: no attributes */
    end = put_common(end, record, extra_size > 0);
    end = lks_put_uint(end, extra_size, 2);
    end = lks_put_uint(end, 0, 2 + 2); /* comment, disk */
    end = lks_put_uint(end, 0, 2 + 4); /* attributes */
    (void)lks_put_uint(end, far ? ZIP_SATURATED_32 : record->header, 4);
    lks_strbuf_append(out, head, sizeof head);
    lks_strbuf_append(out, record->name, record->name_length);
    lks_strbuf_append(out, extra, extra_size);
}

/* --- the end ------------------------------------------------------------------------------------ */

static unsigned char *put_end64(unsigned char *out, const lks_zip_directory_t *directory)
{
    out = lks_put_uint(out, ZIP64_END_SIGNATURE, 4);
    out = lks_put_uint(out, ZIP64_END_SIZE - 12, 8);
    out = lks_put_uint(out, VERSION_ZIP64, 2);
    out = lks_put_uint(out, VERSION_ZIP64, 2);
    out = lks_put_uint(out, 0, 4 + 4); /* disks */
    out = lks_put_uint(out, directory->count, 8);
    out = lks_put_uint(out, directory->count, 8);
    out = lks_put_uint(out, directory->size, 8);
    return lks_put_uint(out, directory->offset, 8);
}

static uint64_t saturate(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

void lks_zip_put_end(unsigned char out[LKS_ZIP_END_SIZE], const lks_zip_directory_t *directory,
                     uint64_t at)
{
    out = put_end64(out, directory);
    out = lks_put_uint(out, ZIP64_LOCATOR_SIGNATURE, 4);
    out = lks_put_uint(out, 0, 4);
    out = lks_put_uint(out, at, 8);
    out = lks_put_uint(out, 1, 4);
    uint64_t count = saturate(directory->count, ZIP_SATURATED_16);
    out = lks_put_uint(out, ZIP_END_SIGNATURE, 4);
    out = lks_put_uint(out, 0, 2 + 2); /* disks */
    out = lks_put_uint(out, count, 2);
    out = lks_put_uint(out, count, 2);
    out = lks_put_uint(out, saturate(directory->size, ZIP_SATURATED_32), 4);
    out = lks_put_uint(out, saturate(directory->offset, ZIP_SATURATED_32), 4);
    (void)lks_put_uint(out, 0, 2); /* comment */
}

uint64_t lks_zip_record_bound(size_t name_length, uint64_t nbytes)
{
    return nbytes + 2 * (uint64_t)name_length + ZIP_LOCAL_SIZE + EXTRA64_LOCAL_SIZE + 4 +
           ZIP_ALIGNMENT + ZIP_CENTRAL_SIZE + EXTRA64_CENTRAL_SIZE;
}

uint64_t lks_zip_end_bound(void)
{
    return LKS_ZIP_END_SIZE;
}
