/* SPDX-License-Identifier: Apache-2.0 */
/* tree_load.c - the bytes of a tree's storages: made valid for those who look at them, and given back when nobody does
 * any more. Loading itself goes on without the lock, which guards the numbers and giving back. */
#include "serialize/cast.h"
#include "serialize/value_node.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct load {
    size_t users; /* that have loaded it and will unload it */
    bool shown;   /* to the caller of the library, who keeps views of it */
} load_t;

struct lks_loads {
    pthread_mutex_t mutex;
    load_t *items; /* by storage; in the arena of the tree */
    size_t capacity;
};

/* --- life --------------------------------------------------------------------------------------- */

lks_status_t lks_tree_init_loads(lks_tree_t *tree)
{
    tree->loads = calloc(1, sizeof *tree->loads);
    if (!tree->loads) {
        return lks_fail(LKS_ERR_NO_MEMORY, "value tree: out of memory");
    }
    (void)pthread_mutex_init(&tree->loads->mutex, NULL);
    return LKS_OK;
}

void lks_tree_fini_loads(lks_tree_t *tree)
{
    (void)pthread_mutex_destroy(&tree->loads->mutex);
    free(tree->loads);
}

bool lks_tree_reserve_loads(lks_tree_t *tree, size_t capacity)
{
    lks_loads_t *loads = tree->loads;
    load_t *items = lks_tree_alloc(tree, capacity * sizeof *items);
    if (!items) {
        return false;
    }
    memset(items, 0, capacity * sizeof *items);
    if (loads->capacity > 0) {
        memcpy(items, loads->items, loads->capacity * sizeof *items);
    }
    loads->items = items;
    loads->capacity = capacity;
    return true;
}

/* --- the hooks of the format, and what stands before them ---------------------------------------- */

lks_status_t lks_tree_load_raw(const lks_tree_t *tree, size_t index, const char *name)
{
    return tree->load ? tree->load(tree->load_context, index, name) : LKS_OK;
}

void lks_tree_unload_raw(const lks_tree_t *tree, size_t index)
{
    if (tree->unload) {
        tree->unload(tree->load_context, index);
    }
}

static lks_status_t load(const lks_tree_t *tree, size_t index, const char *name)
{
    lks_cast_t *cast = lks_cast_of(tree, index);
    return cast ? lks_cast_load(cast, tree, index, name) : lks_tree_load_raw(tree, index, name);
}

static void unload(const lks_tree_t *tree, size_t index)
{
    lks_cast_t *cast = lks_cast_of(tree, index);
    if (cast) {
        lks_cast_unload(cast); /* the original went as soon as it was converted */
    } else {
        lks_tree_unload_raw(tree, index);
    }
}

/* --- who looks at what -------------------------------------------------------------------------- */

static load_t *lock(const lks_tree_t *tree, size_t index)
{
    (void)pthread_mutex_lock(&tree->loads->mutex);
    return &tree->loads->items[index];
}

/* Gives the bytes back if nobody is left. */
static void unlock(const lks_tree_t *tree, size_t index, bool leaving)
{
    const load_t *item = &tree->loads->items[index];
    if (leaving && item->users == 0 && !item->shown) {
        unload(tree, index);
    }
    (void)pthread_mutex_unlock(&tree->loads->mutex);
}

lks_status_t lks_tree_load_storage(const lks_tree_t *tree, size_t index, const char *name)
{
    lock(tree, index)->users++;
    unlock(tree, index, false);
    lks_status_t status = load(tree, index, name);
    if (status != LKS_OK) {
        lks_tree_unload_storage(tree, index);
    }
    return status;
}

void lks_tree_unload_storage(const lks_tree_t *tree, size_t index)
{
    load_t *item = lock(tree, index);
    item->users -= item->users > 0;
    unlock(tree, index, true);
}

lks_status_t lks_tree_show_storage(const lks_tree_t *tree, size_t index, const char *name)
{
    lock(tree, index)->shown = true;
    unlock(tree, index, false);
    return load(tree, index, name);
}

void lks_tree_hide_storage(const lks_tree_t *tree, size_t index)
{
    lock(tree, index)->shown = false;
    unlock(tree, index, true);
}
