/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.h - `_metadata`, which a state dict carries as an attribute: {path of a module: {'version': n}}, with
 * '' for the root. It follows what becomes of the keys. */
#ifndef LOCKSTEP_SERIALIZE_METADATA_H
#define LOCKSTEP_SERIALIZE_METADATA_H

#include "serialize/rename_steps.h"

/* What became of the keys of a state dict. */
typedef struct lks_key_change {
    const lks_name_t *before;
    size_t count;
    const lks_name_t *after; /* of a renaming: as many; of a choice: those that are left */
    size_t after_count;
} lks_key_change_t;

/** The `_metadata` of a state dict; NULL if it has none. */
lks_value_t *lks_metadata_of(const lks_value_t *dict);

/** The path of a module; false where the key is no str. */
bool lks_metadata_path(const lks_value_t *metadata, size_t index, lks_name_t *out);

/** A dict of what it becomes when `rename` was run with `choices`; NULL if nothing changes. New values are in the
 *  tree, the rest in `arena`. Errors: as lks_names_rename. */
LKS_NODISCARD lks_status_t lks_metadata_rename(lks_tree_t *tree, const lks_value_t *metadata,
                                               const lks_key_change_t *change,
                                               const lks_rename_t *rename,
                                               lks_step_choice_t *choices, lks_arena_t *arena,
                                               lks_value_t **out);

/** The same when keys were dropped: an entry goes if nothing is left below it, or below the module it is part
 *  of where it never had keys itself, like an activation's. */
LKS_NODISCARD lks_status_t lks_metadata_prune(lks_tree_t *tree, const lks_value_t *metadata,
                                              const lks_key_change_t *change, lks_arena_t *arena,
                                              lks_value_t **out);

#endif
