/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c - see utf8.h. */
#include "serialize/utf8.h"

#include <string.h>

/* Bytes of the sequence that `lead` starts; 0 if none does. */
static size_t sequence_length(unsigned char lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2) {
        return 0; /* a continuation, or a longer form than needed */
    }
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
}

static bool sequence_valid(const unsigned char *text, size_t length)
{
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return false;
        }
    }
    uint32_t code;
    (void)lks_utf8_get(text, &code);
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    return code >= least[length] && code <= 0x10ffff;
}

bool lks_utf8_valid(const void *text, size_t nbytes)
{
    const unsigned char *at = text, *end = at + nbytes;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8 && (memcpy(&word, at, 8), !(word & UINT64_C(0x8080808080808080)))) {
            at += 8;
            continue;
        }
        size_t length = sequence_length(*at);
        if (length == 0 || length > (size_t)(end - at) ||
            (length > 1 && !sequence_valid(at, length))) {
            return false;
        }
        at += length;
    }
    return true;
}

/* They are ed a0 80 to ed bf bf; ed begins nothing else but d000 to d7ff, ed 80 80 to ed 9f bf. */
bool lks_utf8_has_surrogate(const void *text, size_t nbytes)
{
    const unsigned char *at = text, *end = at + nbytes;
    while (at < end && (at = memchr(at, 0xed, (size_t)(end - at)))) {
        if (at + 1 < end && at[1] >= 0xa0) {
            return true;
        }
        at++;
    }
    return false;
}

unsigned char *lks_utf8_put(unsigned char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (unsigned char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (unsigned char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (unsigned char)(0xe0 | code >> 12);
        } else {
            *out++ = (unsigned char)(0xf0 | code >> 18);
            *out++ = (unsigned char)(0x80 | (code >> 12 & 0x3f));
        }
        *out++ = (unsigned char)(0x80 | (code >> 6 & 0x3f));
    }
    *out++ = (unsigned char)(0x80 | (code & 0x3f));
    return out;
}

const unsigned char *lks_utf8_get(const unsigned char *text, uint32_t *code)
{
    size_t length = sequence_length(*text);
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = *text & mask[length];
    for (size_t i = 1; i < length; i++) {
        value = value << 6 | (text[i] & 0x3fu);
    }
    *code = value;
    return text + length;
}
