/* SPDX-License-Identifier: Apache-2.0 */
/* parts.c - see parts.h. */
#include "serialize/parts.h"
#include "core/checked.h"
#include "core/grow.h"
#include "serialize/cast.h"
#include "serialize/value_copy.h"

#include <stdlib.h>

void lks_parts_init(lks_tree_t *tree, lks_parts_t *out)
{
    *out = (lks_parts_t){.tree = tree};
    tree->load = lks_parts_load;
    tree->unload = lks_parts_unload;
    tree->load_context = out;
}

void lks_parts_fini(lks_parts_t *parts)
{
    for (size_t i = 0; i < parts->count; i++) {
        lks_checkpoint_close(parts->items[i].checkpoint);
        free(parts->items[i].map);
    }
    free(parts->items);
    free(parts->origin);
    *parts = (lks_parts_t){0};
}

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "opening the parts of a checkpoint: out of memory");
}

lks_status_t lks_parts_add(lks_parts_t *parts, lks_checkpoint_t *checkpoint, size_t *index)
{
    size_t count = lks_tree_storage_count(lks_checkpoint_tree(checkpoint)), nbytes;
    size_t *map = lks_mul_size(count + 1, sizeof *map, &nbytes) ? malloc(nbytes) : NULL;
    lks_part_t *items =
        map ? lks_grow(parts->items, &parts->capacity, parts->count + 1, sizeof *items) : NULL;
    if (!items) {
        free(map);
        lks_checkpoint_close(checkpoint);
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        map[i] = SIZE_MAX;
    }
    parts->items = items;
    parts->items[parts->count] = (lks_part_t){.checkpoint = checkpoint, .map = map, .count = count};
    *index = parts->count++;
    return LKS_OK;
}

/* Notes where the storages that came with a copied value are to be loaded. */
static lks_status_t note_origins(lks_parts_t *parts, size_t index, size_t before)
{
    const lks_part_t *part = &parts->items[index];
    size_t count = lks_tree_storage_count(parts->tree);
    if (count == 0) {
        return LKS_OK;
    }
    struct lks_part_storage *origin =
        lks_grow(parts->origin, &parts->origin_capacity, count, sizeof *origin);
    if (!origin) {
        return no_memory();
    }
    parts->origin = origin;
    for (size_t i = parts->origin_count; i < count; i++) {
        parts->origin[i] = (struct lks_part_storage){.part = SIZE_MAX};
    }
    parts->origin_count = count;
    for (size_t i = 0; i < part->count; i++) {
        if (part->map[i] != SIZE_MAX && part->map[i] >= before) {
            parts->origin[part->map[i]] = (struct lks_part_storage){.part = index, .index = i};
        }
    }
    return LKS_OK;
}

lks_status_t lks_parts_graft(lks_parts_t *parts, size_t index, const lks_value_t *value,
                             lks_value_t **out)
{
    lks_part_t *part = &parts->items[index];
    size_t before = lks_tree_storage_count(parts->tree);
    lks_value_t *copy =
        lks_tree_graft(parts->tree, lks_checkpoint_tree(part->checkpoint), value, part->map);
    LKS_TRY(lks_tree_status(parts->tree));
    LKS_TRY(note_origins(parts, index, before));
    *out = copy;
    return LKS_OK;
}

static const struct lks_part_storage *origin_of(const lks_parts_t *parts, size_t storage)
{
    return storage < parts->origin_count && parts->origin[storage].part != SIZE_MAX
               ? &parts->origin[storage]
               : NULL;
}

lks_status_t lks_parts_load(void *context, size_t storage, const char *name)
{
    const lks_parts_t *parts = context;
    const struct lks_part_storage *origin = origin_of(parts, storage);
    if (!origin) {
        return LKS_OK;
    }
    return lks_tree_load_raw(lks_checkpoint_tree(parts->items[origin->part].checkpoint),
                             origin->index, name);
}

void lks_parts_unload(void *context, size_t storage)
{
    const lks_parts_t *parts = context;
    const struct lks_part_storage *origin = origin_of(parts, storage);
    if (origin) {
        lks_tree_unload_raw(lks_checkpoint_tree(parts->items[origin->part].checkpoint),
                            origin->index);
    }
}
