/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict.c - the tensors of one dict, or one module, of a value tree as an array. */
#include "core/checked.h"
#include "serialize/module_tree.h"
#include "serialize/name_text.h"
#include "serialize/state_dict_search.h"

#include <lockstep/state_dict.h>
#include <stdlib.h>

typedef struct entry {
    const char *key;
    const lks_value_t *value;
} entry_t;

struct lks_state_dict {
    lks_strbuf_t path;
    lks_arena_t names; /* of a module's tensors */
    size_t count;
    entry_t entries[];
};

/* From here on names are C strings. */
static lks_status_t check_key(const char *key, size_t nbytes)
{
    if (strlen(key) == nbytes) {
        return LKS_OK;
    }
    lks_strbuf_t name = {0};
    lks_name_append(&name, (lks_name_t){.text = key, .length = nbytes}, 200);
    lks_status_t status = lks_fail(
        LKS_ERR_FORMAT, "the state dict's key '%s' has a zero byte in it", lks_strbuf_text(&name));
    lks_strbuf_fini(&name);
    return status;
}

static lks_status_t add(lks_state_dict_t *created, const char *key, size_t nbytes,
                        const lks_value_t *value)
{
    LKS_TRY(check_key(key, nbytes));
    created->entries[created->count++] = (entry_t){.key = key, .value = value};
    return LKS_OK;
}

static lks_status_t fill_from_dict(lks_state_dict_t *created, const lks_value_t *dict)
{
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        if (lks_dict_has_tensor_at(dict, i)) {
            size_t nbytes;
            const char *key = lks_value_text(lks_value_key_at(dict, i), &nbytes);
            LKS_TRY(add(created, key, nbytes, lks_value_at(dict, i)));
        }
    }
    return LKS_OK;
}

/* Takes the names over. */
static lks_status_t fill_from_module(lks_state_dict_t *created, lks_module_tensors_t *tensors)
{
    created->names = tensors->names;
    lks_arena_init(&tensors->names, 0, 0);
    for (size_t i = 0; i < tensors->count; i++) {
        const lks_module_tensor_t *tensor = &tensors->items[i];
        LKS_TRY(add(created, tensor->name, tensor->length, tensor->value));
    }
    return LKS_OK;
}

/* Room for `count` tensors. */
static lks_status_t allocate(size_t count, const char *path, lks_state_dict_t **out)
{
    size_t nbytes;
    if (count == 0) {
        return lks_fail_no_tensors(path);
    }
    lks_state_dict_t *created = NULL;
    if (lks_mul_size(count, sizeof(entry_t), &nbytes) &&
        lks_add_size(nbytes, sizeof *created, &nbytes)) {
        created = calloc(1, nbytes);
    }
    if (created) {
        lks_strbuf_append_str(&created->path, path);
    }
    if (!created || !lks_strbuf_ok(&created->path)) {
        lks_state_dict_destroy(created);
        return lks_fail(LKS_ERR_NO_MEMORY, "a state dict of %zu tensors: out of memory", count);
    }
    *out = created;
    return LKS_OK;
}

static lks_status_t finish(lks_state_dict_t *created, lks_status_t filled, lks_state_dict_t **out)
{
    if (filled != LKS_OK) {
        lks_state_dict_destroy(created);
        return filled;
    }
    *out = created;
    return LKS_OK;
}

static lks_status_t create_from_dict(const lks_value_t *dict, const char *path,
                                     lks_state_dict_t **out)
{
    lks_state_dict_t *created = NULL;
    LKS_TRY(allocate(lks_dict_count_tensors(dict), path, &created));
    return finish(created, fill_from_dict(created, dict), out);
}

static lks_status_t create_from_module(const lks_value_t *module, const char *path,
                                       lks_state_dict_t **out)
{
    size_t budget = LKS_MODULE_BUDGET;
    lks_module_tensors_t tensors;
    LKS_TRY(lks_module_tensors_init(&tensors, module, &budget));
    lks_state_dict_t *created = NULL;
    lks_status_t status = allocate(tensors.count, path, &created);
    if (status == LKS_OK) {
        status = finish(created, fill_from_module(created, &tensors), out);
    }
    lks_module_tensors_fini(&tensors);
    return status;
}

static lks_status_t create(const lks_value_t *value, const char *path, lks_state_dict_t **out)
{
    return lks_value_is_module(value) ? create_from_module(value, path, out)
                                      : create_from_dict(value, path, out);
}

lks_status_t lks_state_dict_find(const lks_tree_t *tree, const lks_value_t *root, const char *path,
                                 lks_state_dict_t **out)
{
    root = root ? root : lks_tree_root(tree);
    if (!root) {
        return lks_fail(LKS_ERR_NOT_FOUND, "the tree has no root");
    }
    const lks_value_t *value;
    if (!path) {
        char found_path[LKS_PATH_MAX];
        LKS_TRY(lks_state_dict_search(root, &value, found_path));
        return create(value, found_path, out);
    }
    LKS_TRY(lks_state_dict_at_path(root, path, true, &value));
    return create(value, path, out);
}

void lks_state_dict_destroy(lks_state_dict_t *dict)
{
    if (dict) {
        lks_strbuf_fini(&dict->path);
        lks_arena_fini(&dict->names);
        free(dict);
    }
}

size_t lks_state_dict_count(const lks_state_dict_t *dict)
{
    return dict->count;
}

const char *lks_state_dict_key(const lks_state_dict_t *dict, size_t index)
{
    return index < dict->count ? dict->entries[index].key : NULL;
}

const lks_value_t *lks_state_dict_value(const lks_state_dict_t *dict, size_t index)
{
    return index < dict->count ? dict->entries[index].value : NULL;
}

const char *lks_state_dict_path(const lks_state_dict_t *dict)
{
    return lks_strbuf_text(&dict->path);
}
