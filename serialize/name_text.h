/* SPDX-License-Identifier: Apache-2.0 */
/* name_text.h - names from a file, fit to be shown: a name can be a megabyte of terminal controls. */
#ifndef LOCKSTEP_SERIALIZE_NAME_TEXT_H
#define LOCKSTEP_SERIALIZE_NAME_TEXT_H

#include "core/strbuf.h"
#include "serialize/keys.h"

/** Appends the name in UTF-8. Control characters, and bytes that are no UTF-8, become \xNN; behind about
 *  `most` bytes it ends with "...". The empty name is ''. */
void lks_name_append(lks_strbuf_t *buf, lks_name_t name, size_t most);

#endif
