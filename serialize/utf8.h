/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - UTF-8 as Python pickles it: "surrogatepass", so that lone surrogates are code points as well. */
#ifndef LOCKSTEP_SERIALIZE_UTF8_H
#define LOCKSTEP_SERIALIZE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Whether the bytes are code points 0 to 0x10ffff, each in its shortest form. */
bool lks_utf8_valid(const void *text, size_t nbytes);

/** Whether there is a surrogate in valid text: then it is no UTF-8 for anybody but Python. */
bool lks_utf8_has_surrogate(const void *text, size_t nbytes);

/** Writes a code point (up to 0x10ffff) in 1 to 4 bytes; returns the place behind it. */
unsigned char *lks_utf8_put(unsigned char *out, uint32_t code);

/** Reads the code point at `text`, which is valid and not at its end; `*code` gets it. Returns the place
 *  behind it. */
const unsigned char *lks_utf8_get(const unsigned char *text, uint32_t *code);

#endif
