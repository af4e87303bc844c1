/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - see snapshot.h. */
#include "serialize/snapshot.h"
#include "core/checked.h"
#include "serialize/value_copy.h"
#include "serialize/value_node.h"

#include <stdlib.h>
#include <sys/mman.h>

#define ALIGNMENT ((size_t)64)

static lks_status_t no_memory(size_t nbytes)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "no memory for a copy of %zu bytes", nbytes);
}

static void release_memory(lks_snapshot_t *snapshot)
{
    if (snapshot->memory) {
        (void)munmap(snapshot->memory, snapshot->capacity);
    }
    snapshot->memory = NULL;
    snapshot->capacity = 0;
}

/* Large pages where there are any: the first copy into them is several times faster. */
static lks_status_t reserve(lks_snapshot_t *snapshot, size_t nbytes)
{
    if (nbytes <= snapshot->capacity) {
        return LKS_OK;
    }
    release_memory(snapshot);
    void *memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return no_memory(nbytes);
    }
    (void)madvise(memory, nbytes, MADV_HUGEPAGE);
    snapshot->memory = memory;
    snapshot->capacity = nbytes;
    return LKS_OK;
}

/* --- values ------------------------------------------------------------------------------------- */

static size_t *make_map(size_t count)
{
    size_t *map = malloc((count + 1) * sizeof *map);
    for (size_t i = 0; map && i < count; i++) {
        map[i] = SIZE_MAX;
    }
    return map;
}

/* The values, over the storages of the tree itself. */
static lks_status_t copy_values(lks_snapshot_t *snapshot, const lks_tree_t *tree, size_t *map)
{
    LKS_TRY(lks_tree_create(&snapshot->tree));
    lks_tree_set_root(snapshot->tree,
                      lks_tree_graft(snapshot->tree, tree, lks_tree_root(tree), map));
    return lks_tree_status(snapshot->tree);
}

/* --- bytes -------------------------------------------------------------------------------------- */

static lks_status_t total_size(const lks_tree_t *tree, size_t *out)
{
    size_t total = 0;
    for (size_t i = 0; i < tree->storage_count; i++) {
        size_t nbytes = lks_storage_nbytes(tree->storages[i].storage);
        if (!lks_add_size(total, nbytes, &total) || !lks_add_size(total, ALIGNMENT, &total)) {
            return no_memory(SIZE_MAX);
        }
        total &= ~(ALIGNMENT - 1);
    }
    *out = total;
    return LKS_OK;
}

/* Puts a copy of the bytes in the place of a storage. */
static lks_status_t copy_storage(lks_tree_storage_t *target, unsigned char *memory)
{
    size_t nbytes = lks_storage_nbytes(target->storage);
    lks_storage_t *copy;
    LKS_TRY(lks_storage_wrap(lks_device_host(), memory, nbytes, NULL, NULL, &copy));
    if (nbytes > 0) {
        memcpy(memory, lks_storage_data(target->storage), nbytes);
    }
    lks_storage_release(target->storage);
    target->storage = copy;
    return LKS_OK;
}

static lks_status_t copy_bytes(lks_snapshot_t *snapshot, const lks_tree_t *tree, const size_t *map)
{
    size_t total, at = 0;
    LKS_TRY(total_size(snapshot->tree, &total));
    LKS_TRY(reserve(snapshot, total));
    for (size_t i = 0; i < tree->storage_count; i++) {
        if (map[i] == SIZE_MAX) {
            continue;
        }
        size_t nbytes = lks_storage_nbytes(tree->storages[i].storage);
        LKS_TRY(lks_tree_load_storage(tree, i, NULL));
        lks_status_t status =
            copy_storage(&snapshot->tree->storages[map[i]], snapshot->memory + at);
        lks_tree_unload_storage(tree, i);
        LKS_TRY(status);
        at += (nbytes + ALIGNMENT) & ~(ALIGNMENT - 1);
    }
    return LKS_OK;
}

/* --- life --------------------------------------------------------------------------------------- */

lks_status_t lks_snapshot_take(lks_snapshot_t *snapshot, const lks_tree_t *tree)
{
    lks_snapshot_clear(snapshot);
    size_t *map = make_map(lks_tree_storage_count(tree));
    if (!map) {
        return no_memory(lks_tree_storage_count(tree) * sizeof *map);
    }
    lks_status_t status = copy_values(snapshot, tree, map);
    if (status == LKS_OK) {
        status = copy_bytes(snapshot, tree, map);
    }
    if (status != LKS_OK) {
        lks_snapshot_clear(snapshot);
    }
    free(map);
    return status;
}

void lks_snapshot_clear(lks_snapshot_t *snapshot)
{
    lks_tree_destroy(snapshot->tree);
    snapshot->tree = NULL;
}

void lks_snapshot_fini(lks_snapshot_t *snapshot)
{
    lks_snapshot_clear(snapshot);
    release_memory(snapshot);
}
