/* SPDX-License-Identifier: Apache-2.0 */
/* archive.c - see archive.h. Archives are found by their end records, so that a prefix or a second archive behind the
 * first does no harm; those with a zip64 directory are left alone. */
#include "archive.h"
#include "fuzz.h"
#include "serialize/crc32.h"
#include "serialize/zip_format.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_MAX 64

typedef struct record {
    size_t base;           /* where its archive begins */
    size_t central, local; /* where its headers are */
    size_t start, nbytes;  /* its payload */
} record_t;

typedef struct records {
    record_t items[RECORDS_MAX];
    size_t count;
} records_t;

static uint32_t get(const unsigned char *at, unsigned width)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < width; i++) {
        value |= (uint32_t)at[i] << (8 * i);
    }
    return value;
}

static void put(unsigned char *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static bool is(const unsigned char *data, size_t size, size_t at, uint32_t signature, size_t nbytes)
{
    return at <= size && size - at >= nbytes && get(data + at, 4) == signature;
}

/* --- records ------------------------------------------------------------------------------------ */

/* Of the archive whose first byte is at `base`, the record with the directory's entry at `central`. */
static bool find_payload(const unsigned char *data, size_t size, size_t base, size_t central,
                         record_t *out)
{
    size_t local = base + get(data + central + 42, 4);
    if (get(data + central + 10, 2) != ZIP_STORED ||
        !is(data, size, local, ZIP_LOCAL_SIGNATURE, ZIP_LOCAL_SIZE)) {
        return false;
    }
    size_t start = local + ZIP_LOCAL_SIZE + get(data + local + 26, 2) + get(data + local + 28, 2);
    size_t nbytes = get(data + central + 20, 4);
    *out = (record_t){
        .base = base, .central = central, .local = local, .start = start, .nbytes = nbytes};
    return start <= size && nbytes <= size - start;
}

static void add_archive(const unsigned char *data, size_t size, size_t end, records_t *out)
{
    size_t length = get(data + end + 12, 4), offset = get(data + end + 16, 4);
    if (length > end || offset > end - length) {
        return;
    }
    size_t base = end - length - offset, at = end - length;
    while (out->count < RECORDS_MAX &&
           is(data, size, at, ZIP_CENTRAL_SIGNATURE, ZIP_CENTRAL_SIZE)) {
        out->count += find_payload(data, size, base, at, &out->items[out->count]);
        at += ZIP_CENTRAL_SIZE + get(data + at + 28, 2) + get(data + at + 30, 2) +
              get(data + at + 32, 2);
    }
}

static void find_records(const unsigned char *data, size_t size, records_t *out)
{
    out->count = 0;
    for (size_t at = 0; at + ZIP_END_SIZE <= size; at++) {
        if (data[at] == 'P' && is(data, size, at, ZIP_END_SIGNATURE, ZIP_END_SIZE)) {
            add_archive(data, size, at, out);
        }
    }
}

/* Then the local header has neither checksum nor sizes. */
static bool has_descriptor(const unsigned char *data, const record_t *record)
{
    return (get(data + record->local + 6, 2) & ZIP_FLAG_DESCRIPTOR) != 0;
}

static void fix_checksums(unsigned char *data, const records_t *records)
{
    for (size_t i = 0; i < records->count; i++) {
        const record_t *record = &records->items[i];
        uint32_t crc = lks_crc32(0, data + record->start, record->nbytes);
        put(data + record->central + 16, crc);
        if (!has_descriptor(data, record)) {
            put(data + record->local + 14, crc);
        }
    }
}

/* --- one record --------------------------------------------------------------------------------- */

static void add_to(unsigned char *at, size_t delta)
{
    put(at, get(at, 4) + (uint32_t)delta);
}

/* Nothing that move_offsets changes lies in the payload. */
static bool stands_alone(const records_t *records, const record_t *record)
{
    size_t end = record->start + record->nbytes;
    for (size_t i = 0; i < records->count; i++) {
        size_t central = records->items[i].central;
        if (central + ZIP_CENTRAL_SIZE > record->start && central < end) {
            return false;
        }
    }
    return record->central > record->start;
}

/* Tells the headers that a record became `delta` bytes longer; all that was behind it in its archive moved. */
static void move_offsets(unsigned char *data, size_t size, const records_t *records,
                         const record_t *record, size_t delta)
{
    unsigned char *central = data + (record->central + delta), *local = data + record->local;
    add_to(central + 20, delta);
    add_to(central + 24, delta);
    if (!has_descriptor(data, record)) {
        add_to(local + 18, delta);
        add_to(local + 22, delta);
    }
    for (size_t i = 0; i < records->count; i++) {
        const record_t *other = &records->items[i];
        if (other->base == record->base && other->local > record->local &&
            other->central > record->start) {
            add_to(data + (other->central + delta) + 42, delta);
        }
    }
    for (size_t at = record->central + delta; at + ZIP_END_SIZE <= size; at++) {
        if (is(data, size, at, ZIP_END_SIGNATURE, ZIP_END_SIZE)) {
            add_to(data + at + 16, delta);
            return;
        }
    }
}

static size_t mutate_record(unsigned char *data, size_t size, size_t max_size,
                            const records_t *records, const record_t *record)
{
    size_t room = max_size - size + record->nbytes, end = record->start + record->nbytes;
    unsigned char *payload = malloc(room + 1);
    if (!payload || room == 0) { /* libFuzzer makes a byte even of no room */
        free(payload);
        return size;
    }
    memcpy(payload, data + record->start, record->nbytes);
    size_t nbytes = LLVMFuzzerMutate(payload, record->nbytes, room);
    memmove(data + record->start + nbytes, data + end, size - end);
    memcpy(data + record->start, payload, nbytes);
    free(payload);
    size = size - record->nbytes + nbytes;
    move_offsets(data, size, records, record, nbytes - record->nbytes); /* modulo 2^64 */
    return size;
}

size_t fuzz_mutate_archives(unsigned char *data, size_t size, size_t max_size, unsigned seed)
{
    static records_t records; /* large for a stack */
    find_records(data, size, &records);
    const record_t *record =
        records.count > 0 && size <= max_size ? &records.items[(seed >> 8) % records.count] : NULL;
    if (record && seed % 2 == 0 && stands_alone(&records, record)) {
        size = mutate_record(data, size, max_size, &records, record);
    } else {
        size = LLVMFuzzerMutate(data, size, max_size);
    }
    if (seed / 2 % 8 != 0) {
        find_records(data, size, &records);
        fix_checksums(data, &records);
    }
    return size;
}
