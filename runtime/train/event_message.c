/* SPDX-License-Identifier: Apache-2.0 */
/* event_message.c - see event_message.h. The length of a message stands before it, so what is in another one is measured
 * first and written then. */
#include "runtime/train/event_message.h"
#include "serialize/bytes.h"

#include <string.h>

typedef enum { WIRE_VARINT = 0, WIRE_64_BIT = 1, WIRE_LENGTH = 2, WIRE_32_BIT = 5 } wire_t;

/* A whole SummaryMetadata: plugin_data with plugin_name "scalars". */
#define METADATA "\x0a\x09\x0a\x07scalars"

/* --- fields ------------------------------------------------------------------------------------- */

static size_t varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7) {
        size++;
    }
    return size;
}

static void put_varint(lks_strbuf_t *out, uint64_t value)
{
    unsigned char bytes[10];
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) {
        bytes[size++] = (unsigned char)(value | 0x80);
    }
    bytes[size++] = (unsigned char)value;
    lks_strbuf_append(out, bytes, size);
}

static void put_key(lks_strbuf_t *out, unsigned field, wire_t wire)
{
    put_varint(out, field << 3 | (unsigned)wire);
}

static void put_little_endian(lks_strbuf_t *out, uint64_t bits, unsigned width)
{
    unsigned char bytes[8];
    (void)lks_put_uint(bytes, bits, width);
    lks_strbuf_append(out, bytes, width);
}

static void put_double(lks_strbuf_t *out, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, WIRE_64_BIT);
    put_little_endian(out, bits, sizeof bits);
}

static void put_float(lks_strbuf_t *out, unsigned field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(out, field, WIRE_32_BIT);
    put_little_endian(out, bits, sizeof bits);
}

/* Strings, and whole messages. */
static void put_bytes(lks_strbuf_t *out, unsigned field, const void *data, size_t nbytes)
{
    put_key(out, field, WIRE_LENGTH);
    put_varint(out, nbytes);
    lks_strbuf_append(out, data, nbytes);
}

/* --- events ------------------------------------------------------------------------------------- */

void lks_event_append_version(lks_strbuf_t *out, double wall_time)
{
    static const char version[] = "brain.Event:2";
    put_double(out, 1, wall_time);
    put_bytes(out, 3, version, sizeof version - 1);
}

void lks_event_append_restart(lks_strbuf_t *out, double wall_time, int64_t step)
{
    put_double(out, 1, wall_time);
    put_key(out, 2, WIRE_VARINT);
    put_varint(out, (uint64_t)step);
    put_bytes(out, 7, "\x08\x01", 2);
}

/* A field of one byte's key and its length, with `nbytes` in it. */
static size_t field_size(size_t nbytes)
{
    return 1 + varint_size(nbytes) + nbytes;
}

static size_t value_size(const lks_scalar_t *scalar)
{
    return field_size(strlen(scalar->tag)) + 1 + sizeof(float) + field_size(sizeof METADATA - 1);
}

static void put_value(lks_strbuf_t *out, const lks_scalar_t *scalar)
{
    put_key(out, 1, WIRE_LENGTH);
    put_varint(out, value_size(scalar));
    put_bytes(out, 1, scalar->tag, strlen(scalar->tag));
    put_float(out, 2, (float)scalar->value);
    put_bytes(out, 9, METADATA, sizeof METADATA - 1);
}

void lks_event_append_scalars(lks_strbuf_t *out, double wall_time, int64_t step,
                              const lks_scalar_t *scalars, size_t count)
{
    size_t nbytes = 0;
    for (size_t i = 0; i < count; i++) {
        nbytes += field_size(value_size(&scalars[i]));
    }
    put_double(out, 1, wall_time);
    put_key(out, 2, WIRE_VARINT);
    put_varint(out, (uint64_t)step);
    put_key(out, 5, WIRE_LENGTH);
    put_varint(out, nbytes);
    for (size_t i = 0; i < count; i++) {
        put_value(out, &scalars[i]);
    }
}
