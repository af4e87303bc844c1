/* SPDX-License-Identifier: Apache-2.0 */
/* cast.h - storages of a tree whose elements are converted to another dtype when they are loaded. */
#ifndef LOCKSTEP_SERIALIZE_CAST_H
#define LOCKSTEP_SERIALIZE_CAST_H

#include "serialize/value_node.h"

typedef struct lks_cast lks_cast_t;

/** The conversion that stands between storage `index` and the format's hooks, or NULL. */
static inline lks_cast_t *lks_cast_of(const lks_tree_t *tree, size_t index)
{
    return index < tree->cast_count ? tree->casts[index] : NULL;
}

/** Loads the original elements, converts them and unloads the original. Threads: any; one of them converts. */
LKS_NODISCARD lks_status_t lks_cast_load(lks_cast_t *cast, const lks_tree_t *tree, size_t index,
                                         const char *name);
void lks_cast_unload(lks_cast_t *cast);

/** Ends all conversions of a tree that is being destroyed. */
void lks_casts_fini(lks_tree_t *tree);

/** What the format's hooks do with a storage, conversions aside. */
LKS_NODISCARD lks_status_t lks_tree_load_raw(const lks_tree_t *tree, size_t index,
                                             const char *name);
void lks_tree_unload_raw(const lks_tree_t *tree, size_t index);

#endif
