/* SPDX-License-Identifier: Apache-2.0 */
/* print.c - see print.h. */
#include "runtime/cli/print.h"

#include <string.h>

#define DIGITS_MAX 20

/* Writes the digits of a number in front of `end`. Returns where they begin. */
static char *put_digits(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

size_t print_int(FILE *out, int64_t number)
{
    char text[DIGITS_MAX], *end = text + sizeof text;
    uint64_t magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number;
    char *at = put_digits(end, magnitude);
    if (number < 0) {
        print_char(out, '-');
    }
    for (const char *digit = at; digit < end; digit++) {
        print_char(out, *digit);
    }
    return (size_t)(end - at) + (number < 0);
}

size_t print_ints(FILE *out, int count, const int64_t *numbers)
{
    size_t length = 0;
    for (int i = 0; i < count; i++) {
        length += print_text(out, i > 0 ? ", " : "");
        length += print_int(out, numbers[i]);
    }
    return length;
}

void print_spaces(FILE *out, size_t length, size_t width)
{
    static const char spaces[] = "                                ";
    for (size_t n; length < width; length += n) {
        n = width - length < sizeof spaces - 1 ? width - length : sizeof spaces - 1;
        (void)fwrite_unlocked(spaces, 1, n, out);
    }
}

/* A number below 1000 to three digits, without zeros at the end: 1.5, 12.3, 123. Returns the place behind it. */
static char *put_three_digits(char *at, double value)
{
    unsigned scale = value < 9.995 ? 100 : value < 99.95 ? 10 : 1;
    unsigned scaled = (unsigned)(value * scale + 0.5), rest = scaled % scale;
    char digits[DIGITS_MAX], *end = digits + sizeof digits;
    char *first = put_digits(end, scaled / scale);
    memcpy(at, first, (size_t)(end - first));
    at += end - first;
    if (rest > 0) {
        *at++ = '.';
    }
    for (; rest > 0; rest %= scale) {
        scale /= 10;
        *at++ = (char)('0' + rest / scale);
    }
    return at;
}

const char *format_bytes(char text[BYTES_TEXT_MAX], uint64_t nbytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB", " EB"};
    double value = (double)nbytes;
    int unit = 0;
    while (value >= 999.5 && unit < 6) {
        value /= 1000.0;
        unit++;
    }
    strcpy(put_three_digits(text, value), units[unit]);
    return text;
}

void print_plain(FILE *out, const char *text, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        unsigned char c = (unsigned char)text[i];
        print_char(out, c < 0x20 || c == 0x7f ? '?' : (char)c);
    }
}
