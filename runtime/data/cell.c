/* SPDX-License-Identifier: Apache-2.0 */
/* cell.c - numbers and text in table cells.
 * Most decimals need no strtof. A mantissa up to 2^53 and a power of ten up to 10^22 are both float64 numbers,
 * so one multiplication or division gives the float64 nearest to the decimal (W. Clinger, "How to read floating
 * point numbers accurately", 1990). Rounding that to float32 rounds twice, which errs only where the float64 lies
 * midway between two float32 numbers; that case is seen in its bits. */
#include "runtime/data/cell.h"

#include "core/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_MANTISSA ((uint64_t)1 << 53)
#define EXACT_POWER 22
#define DROPPED_BITS 0x1fffffffu /* of a float64's mantissa, in float32 */
#define MIDWAY_BITS 0x10000000u
#define EXPONENT_MAX 1000000
#define MANTISSA_LIMIT 1000000000000000000u /* below it, one more digit fits 64 bits */

/* A decimal: (-1)^negative x mantissa x 10^exponent, unless `long_form`: then only its text is right. */
typedef struct decimal {
    bool negative, long_form;
    uint64_t mantissa;
    int64_t exponent;
} decimal_t;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void trim(const char **text, const char **end)
{
    while (*text < *end && is_blank(**text)) {
        ++*text;
    }
    while (*end > *text && is_blank((*end)[-1])) {
        --*end;
    }
}

static bool take_sign(const char **p, const char *end)
{
    bool negative = *p < end && **p == '-';
    if (*p < end && (**p == '-' || **p == '+')) {
        ++*p;
    }
    return negative;
}

/* Appends digits to the mantissa and returns how many there are. */
static int64_t take_digits(const char **p, const char *end, decimal_t *number)
{
    const char *start = *p;
    for (; *p < end && is_digit(**p); ++*p) {
        if (number->mantissa >= MANTISSA_LIMIT) {
            number->long_form = true;
        } else {
            number->mantissa = number->mantissa * 10 + (uint64_t)(**p - '0');
        }
    }
    return *p - start;
}

/* "e-12" at *p; true if there is none, or one with digits. */
static bool take_exponent(const char **p, const char *end, decimal_t *number)
{
    if (*p == end || (**p != 'e' && **p != 'E')) {
        return true;
    }
    ++*p;
    bool negative = take_sign(p, end);
    const char *start = *p;
    int64_t exponent = 0;
    for (; *p < end && is_digit(**p); ++*p) {
        if (exponent < EXPONENT_MAX) {
            exponent = exponent * 10 + (**p - '0');
        } else {
            number->long_form = true;
        }
    }
    number->exponent += negative ? -exponent : exponent;
    return *p > start;
}

static bool scan_decimal(const char *p, const char *end, decimal_t *out)
{
    decimal_t number = {0};
    number.negative = take_sign(&p, end);
    int64_t digits = take_digits(&p, end, &number);
    if (p < end && *p == '.') {
        p++;
        int64_t fraction = take_digits(&p, end, &number);
        digits += fraction;
        number.exponent = -fraction;
    }
    if (digits == 0 || !take_exponent(&p, end, &number) || p != end) {
        return false;
    }
    *out = number;
    return true;
}

/* False where strtof has to do it. */
static bool read_short_form(const decimal_t *number, float *out)
{
    static const double power[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (number->long_form || number->mantissa > EXACT_MANTISSA || number->exponent < -EXACT_POWER ||
        number->exponent > EXACT_POWER) {
        return false;
    }
    double value = (double)number->mantissa;
    value =
        number->exponent < 0 ? value / power[-number->exponent] : value * power[number->exponent];
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & DROPPED_BITS) == MIDWAY_BITS) {
        return false;
    }
    *out = (float)(number->negative ? -value : value);
    return true;
}

static bool equals_ignoring_case(const char *p, const char *end, const char *lower)
{
    size_t length = strlen(lower);
    if ((size_t)(end - p) != length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if ((p[i] | 0x20) != lower[i]) {
            return false;
        }
    }
    return true;
}

static bool is_not_finite(const char *p, const char *end)
{
    (void)take_sign(&p, end);
    return equals_ignoring_case(p, end, "nan") || equals_ignoring_case(p, end, "inf") ||
           equals_ignoring_case(p, end, "infinity");
}

lks_cell_kind_t lks_cell_float(const char *text, size_t length, float *out)
{
    const char *end = text + length;
    trim(&text, &end);
    if (text == end) {
        return LKS_CELL_EMPTY;
    }
    decimal_t number;
    if (!scan_decimal(text, end, &number)) {
        return is_not_finite(text, end) ? LKS_CELL_NOT_FINITE : LKS_CELL_TEXT;
    }
    float value;
    if (!read_short_form(&number, &value)) {
        value = lks_strtof(text, NULL);
    }
    if (isinf(value)) {
        return LKS_CELL_TOO_LARGE;
    }
    *out = value;
    return LKS_CELL_NUMBER;
}

bool lks_cell_integer(const char *text, size_t length, int64_t *out)
{
    const char *end = text + length;
    trim(&text, &end);
    decimal_t number = {0};
    number.negative = take_sign(&text, end);
    if (take_digits(&text, end, &number) == 0 || text != end) {
        return false;
    }
    bool clamp = number.long_form || number.mantissa > INT64_MAX;
    int64_t value = clamp ? INT64_MAX : (int64_t)number.mantissa;
    *out = number.negative ? -value : value;
    return true;
}

/* Bytes of the UTF-8 character at p, 0 if there is none (RFC 3629: no overlong forms, no surrogates). */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    static const struct {
        unsigned char first_low, first_high, second_low, second_high, length;
    } forms[] = {
        {0x00, 0x7f, 0x00, 0x00, 1}, {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (p[0] < forms[i].first_low || p[0] > forms[i].first_high) {
            continue;
        }
        size_t length = forms[i].length;
        if (length > left ||
            (length > 1 && (p[1] < forms[i].second_low || p[1] > forms[i].second_high))) {
            return 0;
        }
        for (size_t k = 2; k < length; k++) {
            if ((p[k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        return length;
    }
    return 0;
}

bool lks_cell_is_utf8(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t step = utf8_length((const unsigned char *)text + at, length - at);
        if (step == 0) {
            return false;
        }
        at += step;
    }
    return true;
}

const char *lks_cell_excerpt(const char *text, size_t length, char out[LKS_CELL_EXCERPT])
{
    static const char more[] = "...";
    const size_t room = LKS_CELL_EXCERPT - sizeof more;
    size_t at = 0, used = 0;
    while (at < length) {
        size_t step = utf8_length((const unsigned char *)text + at, length - at);
        if (used + (step ? step : 1) > room) {
            memcpy(out + used, more, sizeof more);
            return out;
        }
        bool shown = step > 1 || (step == 1 && text[at] >= ' ' && text[at] != 0x7f);
        if (shown) {
            memcpy(out + used, text + at, step);
            used += step;
        } else {
            out[used++] = '?';
        }
        at += step ? step : 1;
    }
    out[used] = '\0';
    return out;
}
