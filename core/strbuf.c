/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf.c - text that grows by doubling. */
#include "core/strbuf.h"
#include "core/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(lks_strbuf_t *buf, size_t extra)
{
    size_t need;
    if (buf->failed || !lks_add_size(buf->length, extra, &need) || !lks_add_size(need, 1, &need)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->capacity) {
        return true;
    }
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity < need) {
        if (!lks_mul_size(capacity, 2, &capacity)) {
            capacity = need;
        }
    }
    char *data = realloc(buf->data, capacity);
    if (!data) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void lks_strbuf_append(lks_strbuf_t *buf, const void *data, size_t nbytes)
{
    if (!reserve(buf, nbytes)) {
        return;
    }
    if (nbytes > 0) {
        memcpy(buf->data + buf->length, data, nbytes);
    }
    buf->length += nbytes;
    buf->data[buf->length] = '\0';
}

void lks_strbuf_append_str(lks_strbuf_t *buf, const char *text)
{
    lks_strbuf_append(buf, text, strlen(text));
}

void lks_strbuf_appendf(lks_strbuf_t *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        buf->failed = true;
    } else if (reserve(buf, (size_t)n)) {
        (void)vsnprintf(buf->data + buf->length, (size_t)n + 1, format, again);
        buf->length += (size_t)n;
    }
    va_end(again);
}

bool lks_strbuf_ok(const lks_strbuf_t *buf)
{
    return !buf->failed;
}

const char *lks_strbuf_text(const lks_strbuf_t *buf)
{
    return buf->data ? buf->data : "";
}

void lks_strbuf_clear(lks_strbuf_t *buf)
{
    buf->length = 0;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void lks_strbuf_truncate(lks_strbuf_t *buf, size_t length)
{
    if (length < buf->length) {
        buf->length = length;
        buf->data[length] = '\0';
    }
}

void lks_strbuf_fini(lks_strbuf_t *buf)
{
    free(buf->data);
    *buf = (lks_strbuf_t){0};
}
