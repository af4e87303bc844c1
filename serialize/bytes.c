/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.c - see bytes.h. */
#include "serialize/bytes.h"

#include <string.h>

lks_bytes_t lks_bytes_of(const void *data, size_t size)
{
    return (lks_bytes_t){.data = data, .size = size, .ok = true};
}

lks_bytes_t lks_bytes_part(const lks_bytes_t *bytes, uint64_t offset, uint64_t size)
{
    if (offset > bytes->size || size > bytes->size - offset) {
        return (lks_bytes_t){.ok = false};
    }
    return lks_bytes_of(bytes->data + offset, (size_t)size);
}

const unsigned char *lks_bytes_line(lks_bytes_t *bytes, size_t *nbytes)
{
    const unsigned char *start = bytes->data + bytes->at;
    const unsigned char *end =
        bytes->ok && lks_bytes_left(bytes) > 0 ? memchr(start, '\n', lks_bytes_left(bytes)) : NULL;
    if (!end) {
        bytes->ok = false;
        bytes->at = bytes->size;
        return NULL;
    }
    *nbytes = (size_t)(end - start);
    bytes->at += *nbytes + 1;
    return start;
}

unsigned char *lks_put_uint(unsigned char *out, uint64_t value, unsigned width)
{
    for (unsigned i = 0; i < width; i++) {
        out[i] = (unsigned char)(value >> (8 * i));
    }
    return out + width;
}
