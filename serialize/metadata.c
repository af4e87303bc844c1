/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.c - a module goes where the parameters right in it go. Where there are none, like in a Sequential or
 * an activation, it goes where its `weight` would. */
#include "serialize/metadata.h"
#include "core/checked.h"
#include "serialize/value_node.h"

static const char leaf[] = "weight";

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "the _metadata of a state dict: out of memory");
}

lks_value_t *lks_metadata_of(const lks_value_t *dict)
{
    lks_value_t *attributes = lks_value_dict_attributes(dict);
    lks_value_t *metadata = attributes ? lks_value_find(attributes, "_metadata") : NULL;
    return metadata && lks_value_kind(metadata) == LKS_VALUE_DICT ? metadata : NULL;
}

/* The module that a parameter stands in. */
static lks_name_t parent_of(lks_name_t name)
{
    size_t length = name.length;
    while (length > 0 && name.text[length - 1] != '.') {
        length--;
    }
    return (lks_name_t){.text = name.text, .length = length > 0 ? length - 1 : 0};
}

bool lks_metadata_path(const lks_value_t *metadata, size_t index, lks_name_t *out)
{
    const lks_value_t *key = lks_value_key_at(metadata, index);
    if (lks_value_kind(key) != LKS_VALUE_STR) {
        return false;
    }
    out->text = lks_value_text(key, &out->length);
    return true;
}

typedef struct move {
    const lks_value_t *metadata;
    lks_name_t *to;       /* by entry: where it goes */
    lks_strmap_t modules; /* path -> a key right below it */
    lks_strmap_t places;  /* new path -> index in entries */
    lks_dict_entry_t *entries;
    size_t *from; /* by index in entries: the entry that is there */
    size_t count;
} move_t;

/* "fc.0" -> "fc.0.weight" */
static lks_status_t to_leaf(lks_arena_t *arena, lks_name_t path, lks_name_t *out)
{
    size_t dot = path.length > 0, length = path.length + dot + sizeof leaf - 1;
    char *text = lks_arena_alloc(arena, length + 1, 1);
    if (!text) {
        return no_memory();
    }
    memcpy(text, path.text, path.length);
    if (dot) {
        text[path.length] = '.';
    }
    memcpy(text + path.length + dot, leaf, sizeof leaf);
    *out = (lks_name_t){.text = text, .length = length};
    return LKS_OK;
}

static lks_status_t index_modules(move_t *move, const lks_key_change_t *change)
{
    for (size_t i = 0; i < change->count; i++) {
        lks_name_t module = parent_of(change->before[i]);
        if (lks_strmap_add(&move->modules, module.text, module.length, i) == SIZE_MAX) {
            return no_memory();
        }
    }
    return LKS_OK;
}

static lks_status_t find_targets(move_t *move, const lks_key_change_t *change,
                                 const lks_rename_t *rename, lks_step_choice_t *choices,
                                 lks_arena_t *arena)
{
    size_t count = lks_value_count(move->metadata);
    lks_name_t path;
    for (size_t i = 0; i < count; i++) {
        bool is_path = lks_metadata_path(move->metadata, i, &path);
        LKS_TRY(to_leaf(arena, is_path ? path : lks_name(""), &move->to[i]));
    }
    LKS_TRY(lks_names_rename(rename, arena, move->to, count, choices, true));
    LKS_TRY(index_modules(move, change));
    for (size_t i = 0; i < count; i++) {
        if (lks_metadata_path(move->metadata, i, &path)) {
            size_t key = lks_strmap_get(&move->modules, path.text, path.length);
            move->to[i] = parent_of(key == SIZE_MAX ? move->to[i] : change->after[key]);
        }
    }
    return LKS_OK;
}

static bool is_unchanged(const move_t *move)
{
    lks_name_t path;
    for (size_t i = 0; i < lks_value_count(move->metadata); i++) {
        if (lks_metadata_path(move->metadata, i, &path) && !lks_name_equal(path, move->to[i])) {
            return false;
        }
    }
    return true;
}

static lks_status_t add_entry(move_t *move, lks_value_t *key, lks_value_t *value, size_t from)
{
    if (!key || !value) {
        return LKS_OK; /* the tree has failed and says so in the end */
    }
    move->entries[move->count] = (lks_dict_entry_t){.key = key, .value = value};
    move->from[move->count++] = from;
    return LKS_OK;
}

/* {'version': 1} for the root and whatever else an added prefix put above it. */
static lks_status_t add_wrappers(lks_tree_t *tree, move_t *move, lks_name_t root)
{
    for (size_t length = 0; length < root.length; length++) {
        if (length > 0 && root.text[length] != '.') {
            continue;
        }
        if (lks_strmap_get(&move->places, root.text, length) != SIZE_MAX) {
            continue;
        }
        if (lks_strmap_add(&move->places, root.text, length, move->count) == SIZE_MAX) {
            return no_memory();
        }
        lks_value_t *value = lks_value_dict(tree);
        lks_value_set_str(tree, value, "version", lks_value_int(tree, 1));
        LKS_TRY(add_entry(move, lks_value_str_n(tree, root.text, length), value, SIZE_MAX));
    }
    return LKS_OK;
}

/* Where two modules become one, the inner one is the model and the outer one was its wrapper. */
static lks_status_t move_entry(lks_tree_t *tree, move_t *move, size_t i)
{
    lks_value_t *value = lks_value_at(move->metadata, i),
                *key = lks_value_key_at(move->metadata, i);
    lks_name_t path, to = move->to[i];
    if (!lks_metadata_path(move->metadata, i, &path)) {
        return add_entry(move, key, value, i);
    }
    size_t place = lks_strmap_add(&move->places, to.text, to.length, move->count);
    if (place == SIZE_MAX) {
        return no_memory();
    }
    if (place == move->count) {
        bool same = lks_name_equal(path, to);
        return add_entry(move, same ? key : lks_value_str_n(tree, to.text, to.length), value, i);
    }
    lks_name_t other = {.length = 0};
    bool known = move->from[place] == SIZE_MAX ||
                 lks_metadata_path(move->metadata, move->from[place], &other);
    if (known && path.length > other.length) {
        move->entries[place].value = value;
        move->from[place] = i;
    }
    return LKS_OK;
}

static size_t count_dots(lks_name_t name)
{
    size_t count = 0;
    for (size_t i = 0; i < name.length; i++) {
        count += name.text[i] == '.';
    }
    return count;
}

/* Where the entry '' goes; '' if there is none. */
static lks_name_t root_target(const move_t *move)
{
    lks_name_t path;
    for (size_t i = 0; i < lks_value_count(move->metadata); i++) {
        if (lks_metadata_path(move->metadata, i, &path) && path.length == 0) {
            return move->to[i];
        }
    }
    return lks_name("");
}

static lks_status_t move_all(lks_tree_t *tree, move_t *move, lks_arena_t *arena)
{
    lks_name_t root = root_target(move);
    size_t count = lks_value_count(move->metadata), most, nbytes;
    if (!lks_add_size(count, count_dots(root) + 2, &most) ||
        !lks_mul_size(most, sizeof *move->entries, &nbytes)) {
        return no_memory();
    }
    move->entries = lks_arena_alloc(arena, nbytes, _Alignof(lks_dict_entry_t));
    move->from = lks_arena_alloc(arena, most * sizeof *move->from, _Alignof(size_t));
    if (!move->entries || !move->from) {
        return no_memory();
    }
    LKS_TRY(add_wrappers(tree, move, root));
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(move_entry(tree, move, i));
    }
    return LKS_OK;
}

lks_status_t lks_metadata_rename(lks_tree_t *tree, const lks_value_t *metadata,
                                 const lks_key_change_t *change, const lks_rename_t *rename,
                                 lks_step_choice_t *choices, lks_arena_t *arena, lks_value_t **out)
{
    move_t move = {.metadata = metadata};
    move.to = lks_arena_alloc(arena, (lks_value_count(metadata) + 1) * sizeof *move.to,
                              _Alignof(lks_name_t));
    lks_status_t status =
        move.to ? find_targets(&move, change, rename, choices, arena) : no_memory();
    *out = NULL;
    if (status == LKS_OK && !is_unchanged(&move)) {
        status = move_all(tree, &move, arena);
        if (status == LKS_OK) {
            *out = lks_dict_of(tree, move.entries, move.count);
            status = lks_tree_status(tree);
        }
    }
    lks_strmap_fini(&move.modules);
    lks_strmap_fini(&move.places);
    return status;
}
