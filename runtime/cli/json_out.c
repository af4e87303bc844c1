/* SPDX-License-Identifier: Apache-2.0 */
/* json_out.c - JSON by hand: strings are the only part with rules. */
#include "runtime/cli/json_out.h"
#include "runtime/cli/print.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at `p` (surrogates, as surrogatepass writes them, included); 0 if there is none. */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;
    if (n == 0 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = p[0] == 0xf4 && p[1] > 0x8f;
    return overlong || beyond ? 0 : n;
}

/* What is no printable ASCII character, or an escape, at `p`. Returns its length. */
static size_t put_special(FILE *out, const unsigned char *p, size_t left)
{
    size_t n = sequence_length(p, left);
    if (n == 0) {
        fputs("\\ufffd", out);
        return 1;
    }
    if (p[0] == '"' || p[0] == '\\') {
        fprintf(out, "\\%c", p[0]);
    } else if (n == 1) {
        fprintf(out, "\\u%04x", p[0]);
    } else if (n == 3 && p[0] == 0xed && p[1] >= 0xa0) {
        fprintf(out, "\\u%04x", 0xd000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
    } else {
        fwrite(p, 1, n, out);
    }
    return n;
}

void json_text(FILE *out, const char *text, size_t nbytes)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + nbytes;
    print_char(out, '"');
    while (p < end) {
        if (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\') {
            print_char(out, (char)*p++);
        } else {
            p += put_special(out, p, (size_t)(end - p));
        }
    }
    print_char(out, '"');
}

void json_str(FILE *out, const char *text)
{
    json_text(out, text, strlen(text));
}

void json_float(FILE *out, double value)
{
    if (!isfinite(value)) {
        fprintf(out, "{\"float\": \"%s\"}", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    bool whole = strcspn(text, ".e") == strlen(text);
    fprintf(out, "%s%s", text, whole ? ".0" : "");
}

void json_key(FILE *out, bool *first, const char *key)
{
    (void)print_text(out, *first ? "\"" : ", \"");
    *first = false;
    (void)print_text(out, key);
    (void)print_text(out, "\": ");
}

void json_key_str(FILE *out, bool *first, const char *key, const char *value)
{
    json_key(out, first, key);
    json_str(out, value);
}

void json_key_bool(FILE *out, bool *first, const char *key, bool value)
{
    json_key(out, first, key);
    (void)print_text(out, value ? "true" : "false");
}

void json_key_int(FILE *out, bool *first, const char *key, int64_t value)
{
    json_key(out, first, key);
    (void)print_int(out, value);
}

void json_key_float(FILE *out, bool *first, const char *key, double value)
{
    json_key(out, first, key);
    if (isnan(value)) {
        fputs("null", out);
    } else {
        json_float(out, value);
    }
}
