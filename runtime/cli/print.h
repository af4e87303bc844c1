/* SPDX-License-Identifier: Apache-2.0 */
/* print.h - the pieces of long listings. Half a million short texts and numbers through printf take longer than reading
 * the checkpoint they tell of. The stream is not locked: it belongs to the thread that prints. */
#ifndef LOCKSTEP_CLI_PRINT_H
#define LOCKSTEP_CLI_PRINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

static inline void print_char(FILE *out, char c)
{
    (void)putc_unlocked((unsigned char)c, out);
}

/** A short text. Returns its length. */
static inline size_t print_text(FILE *out, const char *text)
{
    size_t length = 0;
    for (; text[length]; length++) {
        print_char(out, text[length]);
    }
    return length;
}

/** A number in decimal digits. Returns the length of the text. */
size_t print_int(FILE *out, int64_t number);

/** The same for several, with ", " between them. */
size_t print_ints(FILE *out, int count, const int64_t *numbers);

/** Spaces up to `width` beside a text of `length`. */
void print_spaces(FILE *out, size_t length, size_t width);

/** Bytes that format_bytes writes at most. */
#define BYTES_TEXT_MAX 24

/** Writes "10.5 MB": three digits. Returns `text`. */
const char *format_bytes(char text[BYTES_TEXT_MAX], uint64_t nbytes);

/** The text, with question marks for control characters: a file chose it, and they must not reach a terminal. */
void print_plain(FILE *out, const char *text, size_t nbytes);

#endif
