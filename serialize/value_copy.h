/* SPDX-License-Identifier: Apache-2.0 */
/* value_copy.h - copying values from one tree into another. */
#ifndef LOCKSTEP_SERIALIZE_VALUE_COPY_H
#define LOCKSTEP_SERIALIZE_VALUE_COPY_H

#include "serialize/value_node.h"

/** Copies `value` of the tree `from`, with everything below it, into `tree`. What is shared below it is shared in the
 *  copy, cycles included; bytes of storages are shared with `from`, whose storage number i becomes map[i] (SIZE_MAX
 *  until it is met). Does not recurse. NULL after failing the tree. */
lks_value_t *lks_tree_graft(lks_tree_t *tree, const lks_tree_t *from, const lks_value_t *value,
                            size_t *map);

#endif
