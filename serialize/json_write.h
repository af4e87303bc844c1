/* SPDX-License-Identifier: Apache-2.0 */
/* json_write.h - strings as JSON. */
#ifndef LOCKSTEP_SERIALIZE_JSON_WRITE_H
#define LOCKSTEP_SERIALIZE_JSON_WRITE_H

#include "core/strbuf.h"

/** Appends valid UTF-8 between quotes: the quote, the backslash and what is below 0x20 are escaped, in the short form
 *  where there is one; everything else stands for itself. This is the form of the safetensors library. */
void lks_json_append(lks_strbuf_t *buf, const char *text, size_t nbytes);

#endif
