/* SPDX-License-Identifier: Apache-2.0 */
/* name_text.c - UTF-8 as in RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#include "serialize/name_text.h"

#include <stdint.h>

/* Bytes of the character at `at`, 0 if there is none that may be shown. */
static size_t shown_length(lks_name_t name, size_t at)
{
    const unsigned char *bytes = (const unsigned char *)name.text + at;
    size_t left = name.length - at;
    if (bytes[0] < 0x80) {
        return bytes[0] >= 0x20 && bytes[0] != 0x7f ? 1 : 0;
    }
    size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
    if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || length > left) {
        return 0;
    }
    uint32_t code = bytes[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (bytes[i] & 0x3fu);
    }
    static const uint32_t smallest[] = {
        [2] = 0xa0, [3] = 0x800, [4] = 0x10000}; /* 0x80..: controls */
    bool surrogate = code >= 0xd800 && code < 0xe000;
    return code < smallest[length] || code > 0x10ffff || surrogate ? 0 : length;
}

void lks_name_append(lks_strbuf_t *buf, lks_name_t name, size_t most)
{
    if (name.length == 0) {
        lks_strbuf_append_str(buf, "''");
    }
    for (size_t at = 0; at < name.length;) {
        if (at >= most) {
            lks_strbuf_append_str(buf, "...");
            return;
        }
        size_t length = shown_length(name, at);
        if (length > 0) {
            lks_strbuf_append(buf, name.text + at, length);
        } else {
            lks_strbuf_appendf(buf, "\\x%02x", (unsigned)(unsigned char)name.text[at]);
            length = 1;
        }
        at += length;
    }
}

lks_status_t lks_tensor_error(lks_status_t status, const lks_value_t *name)
{
    size_t length = 0;
    const char *text = lks_value_text(name, &length);
    lks_strbuf_t shown = {0};
    lks_name_append(&shown, (lks_name_t){.text = text ? text : "", .length = length}, 200);
    status = lks_error_prefix(status, "tensor '%s'", lks_strbuf_text(&shown));
    lks_strbuf_fini(&shown);
    return status;
}
