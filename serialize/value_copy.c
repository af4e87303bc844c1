/* SPDX-License-Identifier: Apache-2.0 */
/* value_copy.c - see value_copy.h.
 * A value that is met becomes an empty node of the same kind, which may be put into others at once, and is filled
 * when its turn comes. Dicts are filled last of all: a key must be whole when it is hashed, and a tuple that is one
 * may be filled late. */
#include "serialize/value_copy.h"
#include "core/grow.h"

#include <stdlib.h>

typedef struct pair {
    const lks_value_t *from;
    lks_value_t *to;
} pair_t;

typedef struct pairs {
    pair_t *items;
    size_t count, capacity;
} pairs_t;

typedef struct copier {
    lks_tree_t *tree;
    const lks_tree_t *from;
    size_t *map;
    lks_intmap_t known; /* address of a node -> address of its copy */
    pairs_t todo;       /* to be filled */
    pairs_t dicts;      /* to be filled at the end */
} copier_t;

static void no_memory(copier_t *copier)
{
    lks_tree_fail(copier->tree, LKS_ERR_NO_MEMORY, "copying values: out of memory");
}

static void push(copier_t *copier, pairs_t *pairs, const lks_value_t *from, lks_value_t *to)
{
    pair_t *items = lks_grow(pairs->items, &pairs->capacity, pairs->count + 1, sizeof *items);
    if (!items) {
        no_memory(copier);
        return;
    }
    pairs->items = items;
    pairs->items[pairs->count++] = (pair_t){.from = from, .to = to};
}

/* --- nodes without parts ------------------------------------------------------------------------ */

static lks_value_t *copy_global(lks_tree_t *tree, const lks_value_t *value)
{
    const lks_global_node_t *node = (const lks_global_node_t *)value;
    const lks_text_node_t *dotted = &node->dotted;
    return lks_global_create(tree, dotted->text, node->split, dotted->text + node->split + 1,
                             dotted->nbytes - node->split - 1);
}

static lks_value_t *copy_leaf(lks_tree_t *tree, const lks_value_t *value)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(value, &nbytes);
    switch (lks_value_kind(value)) {
    case LKS_VALUE_NONE: return lks_value_none(tree);
    case LKS_VALUE_BOOL: return lks_value_bool(tree, value->flag);
    case LKS_VALUE_INT: return lks_value_int(tree, ((const lks_int_node_t *)value)->value);
    case LKS_VALUE_FLOAT: return lks_value_float(tree, ((const lks_float_node_t *)value)->value);
    case LKS_VALUE_STR: return lks_value_str_n(tree, text, nbytes);
    case LKS_VALUE_BYTES: return lks_value_bytes(tree, text, nbytes);
    case LKS_VALUE_BIGINT: return lks_value_bigint(tree, text, nbytes);
    default: return copy_global(tree, value);
    }
}

/* --- storages and tensors ----------------------------------------------------------------------- */

static size_t copy_storage(copier_t *copier, size_t index)
{
    const lks_tree_storage_t *storage = lks_tree_storage(copier->from, index);
    if (!storage) {
        lks_tree_fail(copier->tree, LKS_ERR_INVALID_ARG, "storage %zu is not in its tree", index);
        return SIZE_MAX;
    }
    if (copier->map[index] == SIZE_MAX) {
        copier->map[index] = lks_tree_append_storage(copier->tree, storage->storage, storage->dtype,
                                                     storage->location);
    }
    return copier->map[index];
}

static lks_value_t *copy_tensor(copier_t *copier, const lks_value_t *value)
{
    lks_value_tensor_t tensor = *lks_value_tensor(value);
    tensor.storage = copy_storage(copier, tensor.storage);
    return tensor.storage == SIZE_MAX ? NULL : lks_value_tensor_new(copier->tree, &tensor);
}

/* A bare storage names its number in the tree. */
static lks_value_t *copy_bare_storage(copier_t *copier, const lks_value_t *value)
{
    lks_tree_t *tree = copier->tree;
    const lks_value_t *arguments = lks_value_object_arguments(value);
    const lks_value_t *start = lks_value_at(arguments, 2); /* of a slice */
    int64_t index = -1, numel = 0, offset = 0;
    if (lks_value_get_int(lks_value_at(arguments, 0), &index) != LKS_OK ||
        lks_value_get_int(lks_value_at(arguments, 1), &numel) != LKS_OK ||
        (start && lks_value_get_int(start, &offset) != LKS_OK)) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a bare storage without a number");
        return NULL;
    }
    size_t copied = copy_storage(copier, (size_t)index);
    return lks_value_bare_storage(tree, copy_leaf(tree, lks_value_object_callable(value)), copied,
                                  numel, start ? &offset : NULL);
}

/* --- nodes with parts --------------------------------------------------------------------------- */

static bool is_leaf(const lks_value_t *value)
{
    return value->kind <= LKS_VALUE_BYTES || value->kind == LKS_VALUE_GLOBAL;
}

static bool is_bare_storage(const lks_value_t *value)
{
    return value->kind == LKS_VALUE_OBJECT && lks_value_object_how(value) == LKS_OBJECT_STORAGE;
}

/* A node of the same kind that has none of its parts yet. The height of the original tells those that it is put
 * into how deep it will be. */
static lks_value_t *copy_shell(copier_t *copier, const lks_value_t *value)
{
    static const size_t sizes[LKS_VALUE_KIND_COUNT] = {
        [LKS_VALUE_LIST] = sizeof(lks_sequence_node_t),
        [LKS_VALUE_TUPLE] = sizeof(lks_sequence_node_t),
        [LKS_VALUE_DICT] = sizeof(lks_dict_node_t),
        [LKS_VALUE_OBJECT] = sizeof(lks_object_node_t),
    };
    if (is_leaf(value)) {
        return copy_leaf(copier->tree, value);
    }
    if (is_bare_storage(value)) {
        return copy_bare_storage(copier, value);
    }
    lks_value_t *shell =
        value->kind == LKS_VALUE_TENSOR
            ? copy_tensor(copier, value)
            : lks_node_create(copier->tree, lks_value_kind(value), sizes[value->kind]);
    if (shell) {
        shell->flag = value->flag;
        shell->height = value->height;
        push(copier, value->kind == LKS_VALUE_DICT ? &copier->dicts : &copier->todo, value, shell);
    }
    return shell;
}

/* The copy of a value, which may still have to be filled. NULL stays NULL. */
static lks_value_t *copy_of(copier_t *copier, const lks_value_t *value)
{
    if (!value || !lks_tree_ok(copier->tree)) {
        return NULL;
    }
    if (value->kind <= LKS_VALUE_FLOAT && value->kind != LKS_VALUE_BIGINT) {
        return copy_leaf(copier->tree, value);
    }
    size_t known = lks_intmap_get(&copier->known, (uintptr_t)value);
    if (known != SIZE_MAX) {
        return (lks_value_t *)known;
    }
    lks_value_t *copy = copy_shell(copier, value);
    if (copy && !lks_intmap_set(&copier->known, (uintptr_t)value, (uintptr_t)copy)) {
        no_memory(copier);
    }
    return copy;
}

static void fill_sequence(copier_t *copier, const lks_value_t *from, lks_value_t *to)
{
    size_t count = lks_value_count(from);
    if (!lks_sequence_reserve(copier->tree, to, count)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        lks_value_append(copier->tree, to, copy_of(copier, lks_value_at(from, i)));
    }
}

static void fill_object(copier_t *copier, const lks_value_t *from, lks_value_t *to)
{
    lks_object_node_t *node = (lks_object_node_t *)to;
    node->callable = copy_of(copier, lks_value_object_callable(from));
    node->arguments = copy_of(copier, lks_value_object_arguments(from));
    node->state = copy_of(copier, lks_value_object_state(from));
    node->items = copy_of(copier, lks_value_object_items(from));
    node->entries = copy_of(copier, lks_value_object_entries(from));
}

static void fill_tensor(copier_t *copier, const lks_value_t *from, lks_value_t *to)
{
    lks_tensor_node_t *node = (lks_tensor_node_t *)to;
    node->attributes = copy_of(copier, lks_value_tensor_attributes(from));
    node->quantizer = copy_of(copier, lks_value_tensor_quantizer(from));
}

static void fill(copier_t *copier, pair_t pair)
{
    switch (lks_value_kind(pair.from)) {
    case LKS_VALUE_OBJECT: fill_object(copier, pair.from, pair.to); return;
    case LKS_VALUE_TENSOR: fill_tensor(copier, pair.from, pair.to); return;
    default: fill_sequence(copier, pair.from, pair.to); return;
    }
}

/* --- everything --------------------------------------------------------------------------------- */

/* Copies what a dict holds, so that it can be filled later. */
static void copy_entries(copier_t *copier, const lks_value_t *dict)
{
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        (void)copy_of(copier, lks_value_key_at(dict, i));
        (void)copy_of(copier, lks_value_at(dict, i));
    }
    (void)copy_of(copier, lks_value_dict_attributes(dict));
}

static void fill_dict(copier_t *copier, pair_t pair)
{
    for (size_t i = 0; i < lks_value_count(pair.from); i++) {
        lks_value_set(copier->tree, pair.to, copy_of(copier, lks_value_key_at(pair.from, i)),
                      copy_of(copier, lks_value_at(pair.from, i)));
    }
    ((lks_dict_node_t *)pair.to)->attributes =
        copy_of(copier, lks_value_dict_attributes(pair.from));
}

static lks_value_t *copy_all(copier_t *copier, const lks_value_t *value)
{
    lks_value_t *copy = copy_of(copier, value);
    for (size_t dict = 0; lks_tree_ok(copier->tree);) {
        if (copier->todo.count > 0) {
            fill(copier, copier->todo.items[--copier->todo.count]);
        } else if (dict < copier->dicts.count) {
            copy_entries(copier, copier->dicts.items[dict++].from);
        } else {
            break;
        }
    }
    for (size_t i = 0; i < copier->dicts.count && lks_tree_ok(copier->tree); i++) {
        fill_dict(copier, copier->dicts.items[i]);
    }
    return lks_tree_ok(copier->tree) ? copy : NULL;
}

lks_value_t *lks_tree_graft(lks_tree_t *tree, const lks_tree_t *from, const lks_value_t *value,
                            size_t *map)
{
    copier_t copier = {.tree = tree, .from = from, .map = map};
    lks_value_t *copy = copy_all(&copier, value);
    lks_intmap_fini(&copier.known);
    free(copier.todo.items);
    free(copier.dicts.items);
    return copy;
}
