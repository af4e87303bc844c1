/* SPDX-License-Identifier: Apache-2.0 */
/* storage_names.c - see storage_names.h. */
#include "serialize/storage_names.h"
#include "core/checked.h"

#include <stdlib.h>

struct lks_storage_names {
    lks_places_t places;
    size_t count;
    size_t place_of[]; /* by storage: that of its tensor plus 1; 0: none */
};

/* Tensors get places too: the path of one is what is asked for. */
static lks_status_t visit_children(lks_storage_names_t *names, size_t at)
{
    const lks_value_t *value = names->places.items[at].value;
    for (size_t step = 0; step < lks_value_count(value); step++) {
        const lks_value_t *child = lks_value_at(value, step);
        const lks_value_tensor_t *tensor = lks_value_tensor(child);
        if (tensor && names->place_of[tensor->storage] == 0) {
            LKS_TRY(lks_places_add(&names->places, child, at, step));
            names->place_of[tensor->storage] = names->places.count;
        } else if (!tensor && lks_value_count(child) > 0) {
            LKS_TRY(lks_places_add(&names->places, child, at, step));
        }
    }
    return LKS_OK;
}

lks_status_t lks_storage_names_create(const lks_tree_t *tree, lks_storage_names_t **out)
{
    size_t count = lks_tree_storage_count(tree), nbytes;
    lks_storage_names_t *names = NULL;
    if (lks_mul_size(count, sizeof *names->place_of, &nbytes) &&
        lks_add_size(nbytes, sizeof *names, &nbytes)) {
        names = calloc(1, nbytes);
    }
    if (!names) {
        return lks_fail(LKS_ERR_NO_MEMORY, "names of %zu storages: out of memory", count);
    }
    names->count = count;
    lks_status_t status = lks_places_add(&names->places, lks_tree_root(tree), 0, 0);
    for (size_t i = 0; i < names->places.count && status == LKS_OK; i++) {
        status = visit_children(names, i);
    }
    if (status != LKS_OK) {
        lks_storage_names_destroy(names);
        return status;
    }
    *out = names;
    return LKS_OK;
}

void lks_storage_names_destroy(lks_storage_names_t *names)
{
    if (names) {
        lks_places_fini(&names->places);
        free(names);
    }
}

const char *lks_storage_name(const lks_storage_names_t *names, size_t index,
                             char path[LKS_PATH_MAX])
{
    if (index >= names->count || names->place_of[index] == 0) {
        return NULL;
    }
    lks_places_path(&names->places, names->place_of[index] - 1, path);
    return *path ? path : NULL;
}
