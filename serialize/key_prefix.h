/* SPDX-License-Identifier: Apache-2.0 */
/* key_prefix.h - which prefix stands between two sets of names.
 * Nothing is guessed: every name of the side that may have a prefix says which of its fronts would have to go
 * for the rest to be a name of the other side, and equal fronts are counted. */
#ifndef LOCKSTEP_SERIALIZE_KEY_PREFIX_H
#define LOCKSTEP_SERIALIZE_KEY_PREFIX_H

#include "serialize/key_table.h"

/** Prefixes worth trying, with their dot; length 0: none.
 *  shared: all names have it, and behind it most names of the other side are found; the shorter on a tie.
 *  sole:   some have it, and it is the only one behind which every name of the other side is found. */
typedef struct lks_prefixes {
    lks_name_t shared, sole;
} lks_prefixes_t;

/** `others` has the `other_count` names of the other side. `skip_wrappers`: a prefix that begins with
 *  `module.` or has a wrapper in it does not count. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_prefixes_find(const lks_name_t *names, size_t count,
                                             const lks_key_table_t *others, size_t other_count,
                                             bool skip_wrappers, lks_prefixes_t *out);

#endif
