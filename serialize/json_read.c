/* SPDX-License-Identifier: Apache-2.0 */
/* json_read.c - see json_read.h. */
#include "serialize/json_read.h"
#include "serialize/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lks_json_fail(lks_json_t *json, const char *format, ...)
{
    if (json->status != LKS_OK) {
        return;
    }
    char sentence[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    json->status = lks_fail(LKS_ERR_FORMAT, "%s at byte %zu: %s", json->what, json->at, sentence);
}

void lks_json_init(lks_json_t *json, const char *what, const void *data, size_t size)
{
    *json = (lks_json_t){.what = what, .data = data, .size = size};
    if (!lks_utf8_valid(data, size) || lks_utf8_has_surrogate(data, size)) {
        json->status = lks_fail(LKS_ERR_FORMAT, "%s is no valid UTF-8", what);
    }
}

void lks_json_fini(lks_json_t *json)
{
    lks_strbuf_fini(&json->scratch);
}

/* --- characters --------------------------------------------------------------------------------- */

/* The next character, or 0 at the end; a zero byte is no JSON anywhere. */
static unsigned char peek(const lks_json_t *json)
{
    return json->at < json->size ? json->data[json->at] : 0;
}

/* The next character behind whitespace; 0 at the end and after an error. */
static unsigned char look(lks_json_t *json)
{
    if (json->status != LKS_OK) {
        return 0;
    }
    unsigned char c;
    while ((c = peek(json)) == ' ' || c == '\n' || c == '\t' || c == '\r') {
        json->at++;
    }
    return c;
}

static void fail_found(lks_json_t *json, const char *wanted)
{
    unsigned char c = peek(json);
    if (json->at >= json->size) {
        lks_json_fail(json, "it ends where %s is wanted", wanted);
    } else if (c > ' ' && c <= '~') {
        lks_json_fail(json, "wants %s, found '%c'", wanted, c);
    } else {
        lks_json_fail(json, "wants %s, found byte %02x", wanted, c);
    }
}

static bool take(lks_json_t *json, char c, const char *wanted)
{
    if (look(json) != (unsigned char)c) {
        fail_found(json, wanted);
        return false;
    }
    json->at++;
    return true;
}

/* --- strings ------------------------------------------------------------------------------------ */

/* The four digits behind "\u". */
static bool hex4(lks_json_t *json, uint32_t *out)
{
    uint32_t code = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = peek(json), low = c | 0x20;
        if (c >= '0' && c <= '9') {
            code = code << 4 | (c - (uint32_t)'0');
        } else if (low >= 'a' && low <= 'f') {
            code = code << 4 | (low - (uint32_t)'a' + 10);
        } else {
            fail_found(json, "a hexadecimal digit");
            return false;
        }
        json->at++;
    }
    *out = code;
    return true;
}

static bool unicode_escape(lks_json_t *json)
{
    uint32_t code, low;
    if (!hex4(json, &code)) {
        return false;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
        bool pair = code < 0xdc00 && peek(json) == '\\' && json->size - json->at >= 2 &&
                    json->data[json->at + 1] == 'u';
        json->at += pair ? 2 : 0;
        if (pair && !hex4(json, &low)) {
            return false;
        }
        if (!pair || low < 0xdc00 || low > 0xdfff) {
            lks_json_fail(json, "a surrogate that is not one of a pair");
            return false;
        }
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
    }
    unsigned char bytes[4];
    lks_strbuf_append(&json->scratch, bytes, (size_t)(lks_utf8_put(bytes, code) - bytes));
    return true;
}

/* Behind a backslash. */
static bool escape(lks_json_t *json)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    unsigned char c = peek(json);
    const char *name = c ? strchr(names, c) : NULL;
    if (c != 'u' && !name) {
        fail_found(json, "an escape");
        return false;
    }
    json->at++;
    if (c == 'u') {
        return unicode_escape(json);
    }
    lks_strbuf_append(&json->scratch, &values[name - names], 1);
    return true;
}

/* True if one of eight bytes is a quote, a backslash or below ' '. */
static bool has_special(uint64_t bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    uint64_t quote = bytes ^ ones * '"', backslash = bytes ^ ones * '\\';
    return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
            ((bytes - ones * ' ') & ~bytes)) &
           tops;
}

/* Goes to the next quote or backslash. */
static bool plain_run(lks_json_t *json)
{
    uint64_t bytes;
    while (json->size - json->at >= sizeof bytes &&
           (memcpy(&bytes, json->data + json->at, sizeof bytes), !has_special(bytes))) {
        json->at += sizeof bytes;
    }
    unsigned char c;
    while ((c = peek(json)) != '"' && c != '\\') {
        if (c < ' ') {
            fail_found(json, "a character of a string");
            return false;
        }
        json->at++;
    }
    return true;
}

/* From the first backslash on the string is put together in the scratch. */
static bool escaped_string(lks_json_t *json, size_t start)
{
    lks_strbuf_clear(&json->scratch);
    for (;;) {
        lks_strbuf_append(&json->scratch, json->data + start, json->at - start);
        bool escaped = peek(json) == '\\';
        json->at++;
        if (!escaped) {
            break;
        }
        if (!escape(json)) {
            return false;
        }
        start = json->at;
        if (!plain_run(json)) {
            return false;
        }
    }
    if (!lks_strbuf_ok(&json->scratch)) {
        json->status = lks_fail(LKS_ERR_NO_MEMORY, "%s: out of memory", json->what);
        return false;
    }
    return true;
}

static bool read_string(lks_json_t *json, const char *wanted, lks_json_text_t *out)
{
    if (!take(json, '"', wanted)) {
        return false;
    }
    size_t start = json->at;
    if (!plain_run(json)) {
        return false;
    }
    if (peek(json) == '"') {
        *out = (lks_json_text_t){.text = (const char *)json->data + start,
                                 .nbytes = json->at++ - start};
        return true;
    }
    if (!escaped_string(json, start)) {
        return false;
    }
    *out =
        (lks_json_text_t){.text = lks_strbuf_text(&json->scratch), .nbytes = json->scratch.length};
    return true;
}

bool lks_json_string(lks_json_t *json, lks_json_text_t *out)
{
    return read_string(json, "a string", out);
}

/* --- numbers and words -------------------------------------------------------------------------- */

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

bool lks_json_uint(lks_json_t *json, uint64_t *out)
{
    if (!is_digit(look(json))) {
        fail_found(json, "a number without sign");
        return false;
    }
    uint64_t value = 0;
    size_t start = json->at;
    for (; is_digit(peek(json)); json->at++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(peek(json) - '0'), &value)) {
            lks_json_fail(json, "a number of more than 64 bits");
            return false;
        }
    }
    unsigned char c = peek(json);
    if (c == '.' || c == 'e' || c == 'E' || (json->data[start] == '0' && json->at - start > 1)) {
        lks_json_fail(json, "a number that is not made of digits alone");
        return false;
    }
    *out = value;
    return true;
}

static bool digits(lks_json_t *json)
{
    if (!is_digit(peek(json))) {
        fail_found(json, "a digit");
        return false;
    }
    while (is_digit(peek(json))) {
        json->at++;
    }
    return true;
}

static void skip_number(lks_json_t *json)
{
    json->at += peek(json) == '-';
    bool zero = peek(json) == '0';
    json->at += zero;
    if (!zero && !digits(json)) {
        return;
    }
    if (peek(json) == '.') {
        json->at++;
        if (!digits(json)) {
            return;
        }
    }
    if (peek(json) == 'e' || peek(json) == 'E') {
        json->at++;
        json->at += peek(json) == '+' || peek(json) == '-';
        (void)digits(json);
    }
}

static bool take_word(lks_json_t *json, const char *word)
{
    size_t length = strlen(word);
    if (json->size - json->at < length || memcmp(json->data + json->at, word, length) != 0) {
        return false;
    }
    json->at += length;
    return true;
}

bool lks_json_take_null(lks_json_t *json)
{
    return look(json) == 'n' && take_word(json, "null");
}

/* --- objects and arrays ------------------------------------------------------------------------- */

bool lks_json_enter(lks_json_t *json, char bracket)
{
    json->first = true;
    return take(json, bracket, bracket == '{' ? "an object" : "an array");
}

/* Goes over the comma, or leaves at `close` and returns false. */
static bool next(lks_json_t *json, char close, const char *wanted)
{
    bool first = json->first;
    json->first = false;
    if (look(json) == (unsigned char)close) {
        json->at++;
        return false;
    }
    return json->status == LKS_OK && (first || take(json, ',', wanted));
}

bool lks_json_next_key(lks_json_t *json, lks_json_text_t *key)
{
    return next(json, '}', "',' or '}'") && read_string(json, "a key", key) &&
           take(json, ':', "':'");
}

bool lks_json_next_item(lks_json_t *json)
{
    return next(json, ']', "',' or ']'");
}

static void skip_scalar(lks_json_t *json, unsigned char c)
{
    lks_json_text_t text;
    if (c == '"') {
        (void)lks_json_string(json, &text);
    } else if (c == '-' || is_digit(c)) {
        skip_number(json);
    } else if (!take_word(json, "true") && !take_word(json, "false") && !take_word(json, "null")) {
        fail_found(json, "a value");
    }
}

void lks_json_skip(lks_json_t *json)
{
    char open[LKS_JSON_DEPTH_MAX];
    size_t depth = 0;
    do {
        unsigned char c = look(json);
        if (c == '{' || c == '[') {
            if (depth == LKS_JSON_DEPTH_MAX) {
                lks_json_fail(json, "more than %d values in one another", LKS_JSON_DEPTH_MAX);
                return;
            }
            open[depth++] = (char)c;
            (void)lks_json_enter(json, (char)c);
        } else {
            skip_scalar(json, c);
        }
        lks_json_text_t key;
        while (depth > 0 && (open[depth - 1] == '{' ? !lks_json_next_key(json, &key)
                                                    : !lks_json_next_item(json))) {
            depth--;
        }
    } while (depth > 0);
}

void lks_json_end(lks_json_t *json)
{
    (void)look(json);
    if (json->status == LKS_OK && json->at < json->size) {
        fail_found(json, "its end");
    }
}
