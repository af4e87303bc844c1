/* SPDX-License-Identifier: Apache-2.0 */
/* loaded.h - how many bytes of a tree's storages a writer has loaded at once. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_LOADED_H
#define LOCKSTEP_TESTS_SERIALIZE_LOADED_H

#include "serialize/value_node.h"

static size_t loaded, most_loaded; /* bytes: now, and at most until now */

static inline lks_status_t load_counted(void *context, size_t index, const char *name)
{
    (void)name;
    loaded += lks_storage_nbytes(lks_tree_storage(context, index)->storage);
    most_loaded = loaded > most_loaded ? loaded : most_loaded;
    return LKS_OK;
}

static inline void unload_counted(void *context, size_t index)
{
    loaded -= lks_storage_nbytes(lks_tree_storage(context, index)->storage);
}

/** From now on the storages of this tree are counted. */
static inline void count_loaded(lks_tree_t *of)
{
    of->load = load_counted;
    of->unload = unload_counted;
    of->load_context = of;
}

#endif
