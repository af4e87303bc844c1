/* SPDX-License-Identifier: Apache-2.0 */
/* strbuf.h - text (or bytes) that grows. Errors stick: append freely, ask lks_strbuf_ok once. */
#ifndef LOCKSTEP_CORE_STRBUF_H
#define LOCKSTEP_CORE_STRBUF_H

#include <lockstep/api.h>
#include <stdbool.h>
#include <stddef.h>

/** Zeroed is empty. `data` is NULL or ends with a zero that `length` does not count. */
typedef struct lks_strbuf {
    char *data;
    size_t length, capacity;
    bool failed;
} lks_strbuf_t;

void lks_strbuf_append(lks_strbuf_t *buf, const void *data, size_t nbytes);
void lks_strbuf_append_str(lks_strbuf_t *buf, const char *text);
void lks_strbuf_appendf(lks_strbuf_t *buf, const char *format, ...) LKS_PRINTF(2, 3);

/** False once memory has run out. */
bool lks_strbuf_ok(const lks_strbuf_t *buf);

/** The text, "" if nothing was appended. Valid until the next append. */
const char *lks_strbuf_text(const lks_strbuf_t *buf);
void lks_strbuf_clear(lks_strbuf_t *buf); /* keeps the memory */

/** Cuts the text to its first `length` bytes; one that is not longer stays. */
void lks_strbuf_truncate(lks_strbuf_t *buf, size_t length);
void lks_strbuf_fini(lks_strbuf_t *buf);

#endif
