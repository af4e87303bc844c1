/* SPDX-License-Identifier: Apache-2.0 */
/* name_text.h - names from a file, fit to be shown: a name can be a megabyte of terminal controls. */
#ifndef LOCKSTEP_SERIALIZE_NAME_TEXT_H
#define LOCKSTEP_SERIALIZE_NAME_TEXT_H

#include "core/strbuf.h"
#include "serialize/keys.h"

#include <lockstep/value.h>

/** Appends the name in UTF-8. Control characters, and bytes that are no UTF-8, become \xNN; behind about
 *  `most` bytes it ends with "...". The empty name is ''. */
void lks_name_append(lks_strbuf_t *buf, lks_name_t name, size_t most);

/** Puts "tensor '<name>'" in front of the thread's sentence and returns `status`. `name` is a key of a dict. */
lks_status_t lks_tensor_error(lks_status_t status, const lks_value_t *name);

#endif
