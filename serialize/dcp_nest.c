/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_nest.c - see dcp_nest.h. */
#include "serialize/dcp_nest.h"
#include "serialize/value_node.h"

/* Places in lists that no item fills: torch leaves out what is empty, and reads them as None. */
#define HOLES_MAX 1000000

typedef struct nest {
    lks_tree_t *tree;
    lks_intmap_t
        containers; /* those that were made here, by address: values are not to be entered */
    size_t holes;
} nest_t;

static lks_value_t *copy_key(nest_t *nest, const lks_value_t *key)
{
    size_t nbytes;
    const char *text = lks_value_text(key, &nbytes);
    return lks_value_str_n(nest->tree, text, nbytes);
}

static lks_value_t *make_container(nest_t *nest, bool is_list)
{
    lks_value_t *made = is_list ? lks_value_list(nest->tree) : lks_value_dict(nest->tree);
    if (made && !lks_intmap_set(&nest->containers, (uintptr_t)made, 0)) {
        lks_tree_fail(nest->tree, LKS_ERR_NO_MEMORY, "value tree: out of memory");
    }
    return made;
}

static bool is_container(const nest_t *nest, const lks_value_t *value, bool is_list)
{
    return value && value->kind == (is_list ? LKS_VALUE_LIST : LKS_VALUE_DICT) &&
           lks_intmap_get(&nest->containers, (uintptr_t)value) == 0;
}

/* A step of a path: str in a dict, or a place in a list. */
static bool is_position(const lks_value_t *step)
{
    return step && step->kind == LKS_VALUE_INT;
}

/* What stands there; NULL if nothing does. */
static lks_value_t *get(const lks_value_t *container, const lks_value_t *step)
{
    if (!is_position(step)) {
        return lks_dict_find(container, step);
    }
    lks_value_t *item = lks_value_at(container, (size_t)((const lks_int_node_t *)step)->value);
    return item && item->kind != LKS_VALUE_NONE ? item : NULL;
}

static lks_status_t put_in_list(nest_t *nest, lks_value_t *list, int64_t position,
                                lks_value_t *value)
{
    lks_sequence_node_t *node = (lks_sequence_node_t *)list;
    for (; (int64_t)node->count < position && lks_tree_ok(nest->tree); nest->holes++) {
        if (nest->holes == HOLES_MAX) {
            return lks_fail(LKS_ERR_FORMAT, "its path leaves more than %d places of lists empty",
                            HOLES_MAX);
        }
        lks_value_append(nest->tree, list, lks_value_none(nest->tree));
    }
    if ((int64_t)node->count == position) {
        lks_value_append(nest->tree, list, value);
    } else if (value && lks_node_adopt(nest->tree, list, value)) {
        node->items[position] = value;
    }
    return LKS_OK;
}

static lks_status_t put(nest_t *nest, lks_value_t *container, const lks_value_t *step,
                        lks_value_t *value)
{
    if (is_position(step)) {
        return put_in_list(nest, container, ((const lks_int_node_t *)step)->value, value);
    }
    lks_value_set(nest->tree, container, copy_key(nest, step), value);
    return LKS_OK;
}

static lks_status_t check_path(const lks_value_t *path)
{
    size_t count = lks_value_count(path);
    if (path->kind != LKS_VALUE_TUPLE || count == 0 || is_position(lks_value_at(path, 0))) {
        return lks_fail(LKS_ERR_FORMAT, "its path is no tuple that begins with a str");
    }
    for (size_t i = 0; i < count; i++) {
        const lks_value_t *step = lks_value_at(path, i);
        if (step->kind != LKS_VALUE_STR &&
            (!is_position(step) || ((const lks_int_node_t *)step)->value < 0)) {
            return lks_fail(LKS_ERR_FORMAT, "step %zu of its path is neither a str nor a place", i);
        }
    }
    return LKS_OK;
}

/* Enters, or makes, the container that step `i` of the path leads to. */
static lks_status_t enter(nest_t *nest, const lks_value_t *path, size_t i, lks_value_t **container)
{
    bool is_list = is_position(lks_value_at(path, i + 1));
    lks_value_t *inner = get(*container, lks_value_at(path, i));
    if (!inner) {
        inner = make_container(nest, is_list);
        LKS_TRY(put(nest, *container, lks_value_at(path, i), inner));
    } else if (!is_container(nest, inner, is_list)) {
        return lks_fail(LKS_ERR_FORMAT, "its path goes through another item's value");
    }
    *container = inner;
    return lks_tree_status(nest->tree);
}

/* `value` NULL: an empty dict, if nothing is there. */
static lks_status_t put_at_path(nest_t *nest, lks_value_t *root, const lks_value_t *path,
                                lks_value_t *value)
{
    LKS_TRY(check_path(path));
    size_t last = lks_value_count(path) - 1;
    lks_value_t *container = root;
    for (size_t i = 0; i < last; i++) {
        LKS_TRY(enter(nest, path, i, &container));
    }
    const lks_value_t *step = lks_value_at(path, last);
    bool taken = get(container, step) != NULL;
    if (taken && value) {
        return lks_fail(LKS_ERR_FORMAT, "its path is that of another item, or leads to one");
    }
    return taken ? LKS_OK : put(nest, container, step, value ? value : make_container(nest, false));
}

static lks_status_t put_item(nest_t *nest, lks_value_t *root, const lks_dcp_item_t *item,
                             lks_value_t *value)
{
    lks_status_t status = LKS_OK;
    if (item->path) {
        status = put_at_path(nest, root, item->path, value);
    } else if (get(root, item->key)) {
        status = lks_fail(LKS_ERR_FORMAT, "its name is the path of another item");
    } else {
        lks_value_set(nest->tree, root, copy_key(nest, item->key), value);
    }
    return status == LKS_OK ? LKS_OK : lks_error_prefix(status, "item '%.200s'", item->name);
}

/* Paths that belong to no item. */
static lks_status_t put_empties(nest_t *nest, lks_value_t *root, const lks_dcp_metadata_t *metadata)
{
    lks_strmap_t names = {0};
    bool ok = lks_strmap_reserve(&names, metadata->count);
    for (size_t i = 0; ok && i < metadata->count; i++) {
        size_t nbytes;
        const char *text = lks_value_text(metadata->items[i].key, &nbytes);
        ok = lks_strmap_add(&names, text, nbytes, i) != SIZE_MAX;
    }
    lks_status_t status =
        ok ? LKS_OK : lks_fail(LKS_ERR_NO_MEMORY, "reading .metadata: out of memory");
    for (size_t i = 0; status == LKS_OK && i < lks_value_count(metadata->paths); i++) {
        size_t nbytes;
        const char *text = lks_value_text(lks_value_key_at(metadata->paths, i), &nbytes);
        if (text && lks_strmap_get(&names, text, nbytes) == SIZE_MAX) {
            status = put_at_path(nest, root, lks_value_at(metadata->paths, i), NULL);
        }
    }
    lks_strmap_fini(&names);
    return status;
}

lks_status_t lks_dcp_nest(lks_tree_t *tree, const lks_dcp_metadata_t *metadata,
                          lks_value_t *const *values, lks_value_t **root)
{
    nest_t nest = {.tree = tree};
    lks_value_t *dict = make_container(&nest, false);
    lks_status_t status = lks_tree_status(tree);
    for (size_t i = 0; status == LKS_OK && i < metadata->count; i++) {
        status = put_item(&nest, dict, &metadata->items[i], values[i]);
    }
    if (status == LKS_OK && lks_value_count(metadata->paths) > metadata->count) {
        status = put_empties(&nest, dict, metadata);
    }
    lks_intmap_fini(&nest.containers);
    LKS_TRY(status);
    *root = dict;
    return lks_tree_status(tree);
}
