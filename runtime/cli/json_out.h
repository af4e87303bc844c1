/* SPDX-License-Identifier: Apache-2.0 */
/* json_out.h - writing JSON to a stream, piece by piece, so that a listing of any length needs no memory.
 * Numbers that JSON lacks are strings in an object: {"float": "nan"}. Text that is no UTF-8 keeps lone surrogates as
 * \uD800 escapes and replaces other broken bytes by U+FFFD. */
#ifndef LOCKSTEP_CLI_JSON_OUT_H
#define LOCKSTEP_CLI_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

void json_text(FILE *out, const char *text, size_t nbytes);
void json_str(FILE *out, const char *text);

/** The shortest decimal that reads back as the same double. NaN and infinities as said above. */
void json_float(FILE *out, double value);

/** "key": with a comma in front unless *first, which becomes false. Keys are plain words. */
void json_key(FILE *out, bool *first, const char *key);

void json_key_str(FILE *out, bool *first, const char *key, const char *value);
void json_key_bool(FILE *out, bool *first, const char *key, bool value);
void json_key_int(FILE *out, bool *first, const char *key, int64_t value);
/** NaN becomes null: "there is none". */
void json_key_float(FILE *out, bool *first, const char *key, double value);

#endif
