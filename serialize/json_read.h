/* SPDX-License-Identifier: Apache-2.0 */
/* json_read.h - JSON (RFC 8259) pulled out of a text piece by piece, for readers that know what they expect:
 *     lks_json_enter(&json, '{');
 *     while (lks_json_next_key(&json, &key)) { lks_json_string(&json, &value); }
 *     lks_json_end(&json);
 *     status = json.status;
 * Errors stick: the first one is reported, after it every call returns false and does nothing. Strict: UTF-8 without
 * surrogates, no comments, no commas at an end, no control characters in strings. Nothing recurses or keeps what
 * it has read, so a text costs the memory of its longest string.
 * Who reads a file's names looks for duplicates in what it makes of them. */
#ifndef LOCKSTEP_SERIALIZE_JSON_READ_H
#define LOCKSTEP_SERIALIZE_JSON_READ_H

#include "core/strbuf.h"

#include <lockstep/status.h>
#include <stdint.h>
#include <string.h>

/** Values within values that are skipped, at most. */
#define LKS_JSON_DEPTH_MAX 128

/** A string, without a zero at its end: it may have zeros in it. Valid until the next one is read. */
typedef struct lks_json_text {
    const char *text;
    size_t nbytes;
} lks_json_text_t;

typedef struct lks_json {
    const char *what; /* the text is called in messages */
    const unsigned char *data;
    size_t size, at;
    bool first; /* an object or array was entered and has no member yet */
    lks_status_t status;
    lks_strbuf_t scratch; /* a string that had escapes */
} lks_json_t;

/** Starts at the beginning of a text, which must stay. Errors stick from here on: FORMAT (no UTF-8). */
void lks_json_init(lks_json_t *json, const char *what, const void *data, size_t size);
void lks_json_fini(lks_json_t *json);

/** Goes into an object ('{') or an array ('['). False if that is not what is there. */
bool lks_json_enter(lks_json_t *json, char bracket);

/** The next key of an object, whose value is then to be read; false at its end, which is left. */
bool lks_json_next_key(lks_json_t *json, lks_json_text_t *key);

/** Whether an array goes on with an item, which is then to be read; false at its end, which is left. */
bool lks_json_next_item(lks_json_t *json);

bool lks_json_string(lks_json_t *json, lks_json_text_t *out);

/** A number of digits alone, up to 2^64 - 1: no sign, fraction or exponent. */
bool lks_json_uint(lks_json_t *json, uint64_t *out);

/** Reads a null if there is one. */
bool lks_json_take_null(lks_json_t *json);

/** Passes over a value of any kind, and checks it. */
void lks_json_skip(lks_json_t *json);

/** There is nothing more but whitespace. */
void lks_json_end(lks_json_t *json);

/** True if the text is that of `name`. */
static inline bool lks_json_is(lks_json_text_t text, const char *name)
{
    return text.nbytes == strlen(name) && memcmp(text.text, name, text.nbytes) == 0;
}

/** Ends the reading with FORMAT, "<what> at byte <at>: <sentence>". */
void lks_json_fail(lks_json_t *json, const char *format, ...) LKS_PRINTF(2, 3);

#endif
