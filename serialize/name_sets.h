/* SPDX-License-Identifier: Apache-2.0 */
/* name_sets.h - where the names of parameters stand in a tree: keys of state dicts, and names in optimizers. */
#ifndef LOCKSTEP_SERIALIZE_NAME_SETS_H
#define LOCKSTEP_SERIALIZE_NAME_SETS_H

#include "core/arena.h"
#include "serialize/keys.h"

#include <lockstep/value.h>

/* The str keys of one dict or the strs of one list. */
typedef struct lks_name_section {
    lks_value_t *container;
    size_t first, count; /* its names in those of the set */
} lks_name_section_t;

/* Names that belong together: of a state dict (one section), or of an optimizer. */
typedef struct lks_name_set {
    const lks_value_t *value;
    const char *path;
    bool is_optimizer;
    lks_name_section_t *sections;
    size_t section_count;
    lks_name_t *names; /* a zero byte stands behind each */
    size_t count;
} lks_name_set_t;

typedef struct lks_name_sets {
    lks_name_set_t *items; /* state dicts, then optimizers */
    size_t count, dict_count;
} lks_name_sets_t;

/** The state dicts of the tree (rename.h says which) or the one at `path`, and with `optimizers` the optimizers
 *  that have names; all in `arena`. Errors: NOT_FOUND, MISMATCH (the path is no dict), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_name_sets_collect(const lks_tree_t *tree, const char *path,
                                                 bool optimizers, lks_arena_t *arena,
                                                 lks_name_sets_t *out);

#endif
