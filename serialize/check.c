/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - see check.h. */
#include "serialize/check.h"
#include "core/parallel.h"
#include "serialize/cast.h"
#include "serialize/extent.h"
#include "serialize/value_node.h"

#include <stdlib.h>

size_t lks_check_count(const lks_tree_t *tree, size_t *storages)
{
    size_t none, *first = storages ? storages : &none;
    if (tree->checks) {
        return tree->checks->count(tree->load_context, first);
    }
    *first = tree->load ? tree->storage_count : 0;
    return *first;
}

lks_check_t lks_check_get(const lks_tree_t *tree, size_t index)
{
    lks_check_t check = {.place = index};
    if (tree->checks) {
        tree->checks->get(tree->load_context, index, &check);
    } else {
        check.nbytes = lks_storage_nbytes(tree->storages[index].storage);
    }
    return check;
}

/* Checks in two heaps: those in blocks, and those that only `load` can do. */
typedef struct heaps {
    const lks_tree_t *tree;
    lks_extent_t *extents;
    size_t *in_blocks, *whole; /* indices of checks */
    size_t in_blocks_count, whole_count;
} heaps_t;

static void sort(heaps_t *heaps, const size_t *indices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lks_check_t check = lks_check_get(heaps->tree, indices[i]);
        if (check.known) {
            continue;
        }
        if (check.data) {
            heaps->extents[heaps->in_blocks_count] =
                (lks_extent_t){.data = check.data, .nbytes = (size_t)check.nbytes};
            heaps->in_blocks[heaps->in_blocks_count++] = indices[i];
        } else {
            heaps->whole[heaps->whole_count++] = indices[i];
        }
    }
}

static lks_status_t verdict(const lks_tree_t *tree, size_t index, const char *name)
{
    return tree->checks ? tree->checks->verdict(tree->load_context, index, name)
                        : tree->load(tree->load_context, index, name);
}

/* An error is met again, and reported, by whoever asks for the verdict. */
static void load_whole(void *context, size_t index)
{
    const heaps_t *heaps = context;
    lks_status_t status = verdict(heaps->tree, heaps->whole[index], NULL);
    (void)status;
}

static lks_status_t run(heaps_t *heaps, size_t threads)
{
    const lks_tree_t *tree = heaps->tree;
    LKS_TRY(lks_extents_pass(heaps->extents, heaps->in_blocks_count, threads, NULL, NULL));
    for (size_t i = 0; i < heaps->in_blocks_count; i++) {
        tree->checks->settle(tree->load_context, heaps->in_blocks[i], heaps->extents[i].crc);
    }
    lks_parallel_for(threads > 0 ? threads : lks_allowed_cores(), heaps->whole_count, load_whole,
                     heaps);
    return LKS_OK;
}

lks_status_t lks_checks_run(const lks_tree_t *tree, const size_t *indices, size_t count,
                            size_t threads)
{
    heaps_t heaps = {.tree = tree,
                     .extents = calloc(count + 1, sizeof *heaps.extents),
                     .in_blocks = calloc(count + 1, sizeof *heaps.in_blocks),
                     .whole = calloc(count + 1, sizeof *heaps.whole)};
    lks_status_t status;
    if (heaps.extents && heaps.in_blocks && heaps.whole) {
        sort(&heaps, indices, count);
        status = run(&heaps, threads);
    } else {
        status = lks_fail(LKS_ERR_NO_MEMORY, "checking %zu records: out of memory", count);
    }
    free(heaps.extents);
    free(heaps.in_blocks);
    free(heaps.whole);
    return status;
}

lks_status_t lks_checks_run_storages(const lks_tree_t *tree, const size_t *storages, size_t count,
                                     size_t threads)
{
    size_t checked, used = 0;
    (void)lks_check_count(tree, &checked);
    size_t *indices = checked > 0 ? calloc(count + 1, sizeof *indices) : NULL;
    if (checked == 0 || !indices) {
        return checked == 0
                   ? LKS_OK
                   : lks_fail(LKS_ERR_NO_MEMORY, "checking %zu storages: out of memory", count);
    }
    for (size_t i = 0; i < count; i++) {
        if (storages[i] < checked) {
            indices[used++] = storages[i];
        }
    }
    lks_status_t status = lks_checks_run(tree, indices, used, threads);
    free(indices);
    return status;
}

bool lks_storage_takes_memory(const lks_tree_t *tree, size_t index)
{
    size_t checked;
    (void)lks_check_count(tree, &checked);
    if (lks_cast_of(tree, index)) {
        return true;
    }
    if (!tree->unload || index >= checked) {
        return false;
    }
    const lks_check_t check = lks_check_get(tree, index);
    uintptr_t from = (uintptr_t)check.data;
    uintptr_t at = (uintptr_t)lks_storage_data(tree->storages[index].storage);
    return !check.data || at < from || at - from >= check.nbytes;
}

lks_status_t lks_checks_run_mapped(const lks_tree_t *tree, const size_t *storages, size_t count,
                                   size_t threads)
{
    size_t *mapped = calloc(count + 1, sizeof *mapped), used = 0;
    if (!mapped) {
        return lks_fail(LKS_ERR_NO_MEMORY, "checking %zu storages: out of memory", count);
    }
    for (size_t i = 0; i < count; i++) {
        bool again = used > 0 && mapped[used - 1] == storages[i];
        if (!again && !lks_storage_takes_memory(tree, storages[i])) {
            mapped[used++] = storages[i];
        }
    }
    lks_status_t status = lks_checks_run_storages(tree, mapped, used, threads);
    free(mapped);
    return status;
}

lks_status_t lks_check_verdict(const lks_tree_t *tree, size_t index, lks_storage_names_t **names)
{
    lks_status_t status = verdict(tree, index, NULL);
    size_t storages;
    (void)lks_check_count(tree, &storages);
    if (status == LKS_OK || index >= storages) {
        return status;
    }
    if (!*names && lks_storage_names_create(tree, names) != LKS_OK) {
        return verdict(tree, index, NULL); /* its sentence, not that of the names */
    }
    char path[LKS_PATH_MAX];
    return verdict(tree, index, lks_storage_name(*names, index, path));
}
