/* SPDX-License-Identifier: Apache-2.0 */
/* json_write.c - see json_write.h. */
#include "serialize/json_write.h"

#include <string.h>

static void append_escape(lks_strbuf_t *buf, char c)
{
    static const char values[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *value = memchr(values, c, sizeof values - 1);
    if (value) {
        const char escape[] = {'\\', names[value - values]};
        lks_strbuf_append(buf, escape, 2);
    } else {
        lks_strbuf_appendf(buf, "\\u%04x", (unsigned)c);
    }
}

void lks_json_append(lks_strbuf_t *buf, const char *text, size_t nbytes)
{
    size_t start = 0;
    lks_strbuf_append(buf, "\"", 1);
    for (size_t i = 0; i < nbytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < ' ' || c == '"' || c == '\\') {
            lks_strbuf_append(buf, text + start, i - start);
            append_escape(buf, text[i]);
            start = i + 1;
        }
    }
    lks_strbuf_append(buf, text + start, nbytes - start);
    lks_strbuf_append(buf, "\"", 1);
}
