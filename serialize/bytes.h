/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h - a cursor over bytes that were read from somewhere, all little-endian.
 * It never leaves its bounds: a read that does not fit gives zeros, clears `ok` for good and leaves nothing more to
 * read. So a header of ten fields is read in ten lines and checked in one, and a loop over what is left ends. (The idea is libzip's zip_buffer.) */
#ifndef LOCKSTEP_SERIALIZE_BYTES_H
#define LOCKSTEP_SERIALIZE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lks_bytes {
    const unsigned char *data;
    size_t size, at; /* at <= size */
    bool ok;
} lks_bytes_t;

/** A cursor at the start of `size` bytes. */
lks_bytes_t lks_bytes_of(const void *data, size_t size);

/** A cursor over bytes [offset, offset + size) of another's; not ok if they are not all there. */
lks_bytes_t lks_bytes_part(const lks_bytes_t *bytes, uint64_t offset, uint64_t size);

static inline size_t lks_bytes_left(const lks_bytes_t *bytes)
{
    return bytes->size - bytes->at;
}

/** The next `nbytes` bytes; NULL if there are fewer. */
static inline const unsigned char *lks_bytes_take(lks_bytes_t *bytes, uint64_t nbytes)
{
    if (!bytes->ok || nbytes > lks_bytes_left(bytes)) {
        bytes->ok = false;
        bytes->at = bytes->size;
        return NULL;
    }
    const unsigned char *taken = bytes->data + bytes->at;
    bytes->at += (size_t)nbytes;
    return taken;
}

/** A number of 1 to 8 bytes. */
static inline uint64_t lks_bytes_uint(lks_bytes_t *bytes, unsigned width)
{
    const unsigned char *taken = lks_bytes_take(bytes, width);
    uint64_t value = taken ? taken[0] : 0;
    for (unsigned i = 1; taken && i < width; i++) {
        value |= (uint64_t)taken[i] << (8 * i);
    }
    return value;
}

static inline uint8_t lks_bytes_u8(lks_bytes_t *bytes)
{
    return (uint8_t)lks_bytes_uint(bytes, 1);
}

static inline uint16_t lks_bytes_u16(lks_bytes_t *bytes)
{
    return (uint16_t)lks_bytes_uint(bytes, 2);
}

static inline uint32_t lks_bytes_u32(lks_bytes_t *bytes)
{
    return (uint32_t)lks_bytes_uint(bytes, 4);
}

static inline uint64_t lks_bytes_u64(lks_bytes_t *bytes)
{
    return lks_bytes_uint(bytes, 8);
}

/** The bytes up to the next '\n', which is skipped; NULL if there is none. */
const unsigned char *lks_bytes_line(lks_bytes_t *bytes, size_t *nbytes);

/** Writes the `width` low bytes of a number; returns the place behind them. */
unsigned char *lks_put_uint(unsigned char *out, uint64_t value, unsigned width);

#endif
