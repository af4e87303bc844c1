/* SPDX-License-Identifier: Apache-2.0 */
/* cell.h - what the text of one table cell means. Pure functions, independent of the locale.
 * A number is [blanks] [sign] digits [. digits] [e [sign] digits] [blanks], with a digit before or after the
 * point; blanks are spaces and tabs. Hexadecimal is text. */
#ifndef LOCKSTEP_RUNTIME_DATA_CELL_H
#define LOCKSTEP_RUNTIME_DATA_CELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    LKS_CELL_NUMBER,
    LKS_CELL_EMPTY,      /* nothing but blanks */
    LKS_CELL_NOT_FINITE, /* nan, inf, infinity, in any case, with or without a sign */
    LKS_CELL_TOO_LARGE,  /* a number beyond float32 */
    LKS_CELL_TEXT
} lks_cell_kind_t;

/** The float32 nearest to the number in text[0..length), ties to even. *out is set for LKS_CELL_NUMBER only.
 *  text[length] must be 0. */
lks_cell_kind_t lks_cell_float(const char *text, size_t length, float *out);

/** True if the cell is an integer; one beyond int64 is clamped. */
bool lks_cell_integer(const char *text, size_t length, int64_t *out);

bool lks_cell_is_utf8(const char *text, size_t length);

/** Room for an excerpt with its zero. */
#define LKS_CELL_EXCERPT 48

/** The text for a sentence: cut to fit, with ? for what a terminal should not get. Returns `out`. */
const char *lks_cell_excerpt(const char *text, size_t length, char out[LKS_CELL_EXCERPT]);

#endif
