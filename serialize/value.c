/* SPDX-License-Identifier: Apache-2.0 */
/* value.c - nodes of every kind but dict and tensor: making them and reading them. */
#include "serialize/value_node.h"

#include <string.h>

#define KIND_NAME(id, name) [id] = name,
static const char *const kind_names[] = {LKS_VALUE_KIND_LIST(KIND_NAME)};
#undef KIND_NAME

const char *lks_value_kind_name(lks_value_kind_t kind)
{
    return (unsigned)kind < LKS_VALUE_KIND_COUNT ? kind_names[kind] : "unknown kind";
}

lks_value_kind_t lks_value_kind(const lks_value_t *value)
{
    return (lks_value_kind_t)value->kind;
}

/* --- scalars ------------------------------------------------------------------------------------ */

lks_value_t *lks_value_none(lks_tree_t *tree)
{
    if (!tree->none) {
        tree->none = lks_node_create(tree, LKS_VALUE_NONE, sizeof *tree->none);
    }
    return tree->none;
}

lks_value_t *lks_value_bool(lks_tree_t *tree, bool value)
{
    lks_value_t **shared = &tree->booleans[value];
    if (!*shared && (*shared = lks_node_create(tree, LKS_VALUE_BOOL, sizeof **shared))) {
        (*shared)->flag = value;
    }
    return *shared;
}

static lks_value_t *int_create(lks_tree_t *tree, int64_t value)
{
    lks_int_node_t *node = lks_node_create(tree, LKS_VALUE_INT, sizeof *node);
    if (!node) {
        return NULL;
    }
    node->value = value;
    return &node->head;
}

lks_value_t *lks_value_int(lks_tree_t *tree, int64_t value)
{
    if (value < 0 || value >= LKS_SMALL_INTS) {
        return int_create(tree, value);
    }
    lks_value_t **shared = &tree->small_ints[value];
    if (!*shared) {
        *shared = int_create(tree, value);
    }
    return *shared;
}

lks_value_t *lks_value_float(lks_tree_t *tree, double value)
{
    lks_float_node_t *node = lks_node_create(tree, LKS_VALUE_FLOAT, sizeof *node);
    if (!node) {
        return NULL;
    }
    node->value = value;
    return &node->head;
}

static lks_value_t *text_create(lks_tree_t *tree, lks_value_kind_t kind, const void *bytes,
                                size_t nbytes)
{
    const char *text = lks_tree_copy_text(tree, bytes, nbytes);
    lks_text_node_t *node = lks_node_create(tree, kind, sizeof *node);
    if (!text || !node) {
        return NULL;
    }
    node->text = text;
    node->nbytes = nbytes;
    return &node->head;
}

lks_value_t *lks_value_str(lks_tree_t *tree, const char *text)
{
    return text_create(tree, LKS_VALUE_STR, text, strlen(text));
}

lks_value_t *lks_value_str_n(lks_tree_t *tree, const char *text, size_t nbytes)
{
    return text_create(tree, LKS_VALUE_STR, text, nbytes);
}

lks_value_t *lks_value_bytes(lks_tree_t *tree, const void *bytes, size_t nbytes)
{
    return text_create(tree, LKS_VALUE_BYTES, bytes, nbytes);
}

lks_value_t *lks_value_bigint(lks_tree_t *tree, const void *bytes, size_t nbytes)
{
    const unsigned char *digits = bytes;
    /* One number, one form: a last byte that only repeats the sign is dropped, as Python does. */
    while (nbytes > 1 && ((digits[nbytes - 1] == 0x00 && digits[nbytes - 2] < 0x80) ||
                          (digits[nbytes - 1] == 0xff && digits[nbytes - 2] >= 0x80))) {
        nbytes--;
    }
    if (nbytes > sizeof(int64_t)) {
        return text_create(tree, LKS_VALUE_BIGINT, bytes, nbytes);
    }
    uint64_t value = nbytes > 0 && digits[nbytes - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = nbytes; i-- > 0;) {
        value = value << 8 | digits[i];
    }
    return lks_value_int(tree, (int64_t)value);
}

static lks_status_t wants(const char *wanted, const lks_value_t *value)
{
    return lks_fail(LKS_ERR_MISMATCH, "wants %s, found %s", wanted,
                    value ? lks_value_kind_name(lks_value_kind(value)) : "nothing");
}

lks_status_t lks_value_get_bool(const lks_value_t *value, bool *out)
{
    if (!value || value->kind != LKS_VALUE_BOOL) {
        return wants("bool", value);
    }
    *out = value->flag != 0;
    return LKS_OK;
}

lks_status_t lks_value_get_int(const lks_value_t *value, int64_t *out)
{
    if (value && value->kind == LKS_VALUE_BOOL) {
        *out = value->flag;
        return LKS_OK;
    }
    if (!value || value->kind != LKS_VALUE_INT) {
        return wants("int", value);
    }
    *out = ((const lks_int_node_t *)value)->value;
    return LKS_OK;
}

lks_status_t lks_value_get_float(const lks_value_t *value, double *out)
{
    if (value && value->kind == LKS_VALUE_FLOAT) {
        *out = ((const lks_float_node_t *)value)->value;
        return LKS_OK;
    }
    int64_t integer;
    if (lks_value_get_int(value, &integer) != LKS_OK) {
        return wants("float", value);
    }
    *out = (double)integer;
    return LKS_OK;
}

const char *lks_value_text(const lks_value_t *value, size_t *nbytes)
{
    if (!value || (value->kind != LKS_VALUE_STR && value->kind != LKS_VALUE_BYTES &&
                   value->kind != LKS_VALUE_BIGINT)) {
        return NULL;
    }
    const lks_text_node_t *node = (const lks_text_node_t *)value;
    if (nbytes) {
        *nbytes = node->nbytes;
    }
    return node->text;
}

/* --- lists and tuples --------------------------------------------------------------------------- */

static bool is_sequence(const lks_value_t *value)
{
    return value && (value->kind == LKS_VALUE_LIST || value->kind == LKS_VALUE_TUPLE);
}

lks_value_t *lks_value_list(lks_tree_t *tree)
{
    return lks_node_create(tree, LKS_VALUE_LIST, sizeof(lks_sequence_node_t));
}

lks_value_t *lks_value_tuple(lks_tree_t *tree)
{
    return lks_node_create(tree, LKS_VALUE_TUPLE, sizeof(lks_sequence_node_t));
}

bool lks_sequence_reserve(lks_tree_t *tree, lks_value_t *sequence, size_t extra)
{
    lks_sequence_node_t *node = (lks_sequence_node_t *)sequence;
    if (extra <= node->capacity - node->count) {
        return true;
    }
    if (extra > UINT32_MAX / 2 - node->count) {
        lks_tree_fail(tree, LKS_ERR_UNSUPPORTED, "a list has more than 2^31 items");
        return false;
    }
    size_t capacity = node->count + extra;
    if (node->count > 0 && capacity < 2 * (size_t)node->capacity) {
        capacity = 2 * (size_t)node->capacity; /* it has grown before: be ready for more */
    }
    lks_value_t **items = lks_tree_alloc(tree, capacity * sizeof *items);
    if (!items) {
        return false;
    }
    if (node->count > 0) {
        memcpy(items, node->items, node->count * sizeof *items);
    }
    node->items = items;
    node->capacity = (uint32_t)capacity;
    return true;
}

bool lks_sequence_fill(lks_tree_t *tree, lks_value_t *sequence, lks_value_t *const *items,
                       size_t count)
{
    if (!lks_sequence_reserve(tree, sequence, count)) {
        return false;
    }
    lks_sequence_node_t *node = (lks_sequence_node_t *)sequence;
    for (size_t i = 0; i < count; i++) {
        node->items[i] = items[i];
        if (!lks_node_adopt(tree, sequence, items[i])) {
            return false;
        }
    }
    node->count = (uint32_t)count;
    return true;
}

static void sequence_append(lks_tree_t *tree, lks_value_t *sequence, lks_value_t *item)
{
    if (lks_sequence_reserve(tree, sequence, 1) && lks_node_adopt(tree, sequence, item)) {
        lks_sequence_node_t *node = (lks_sequence_node_t *)sequence;
        node->items[node->count++] = item;
    }
}

void lks_value_append(lks_tree_t *tree, lks_value_t *sequence, lks_value_t *item)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!sequence || !item) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "nothing is appended, or to nothing");
    } else if (is_sequence(sequence)) {
        sequence_append(tree, sequence, item);
    } else if (sequence->kind == LKS_VALUE_OBJECT) {
        lks_object_node_t *object = (lks_object_node_t *)sequence;
        if (!object->items) {
            object->items = lks_value_list(tree);
        }
        if (object->items) {
            sequence_append(tree, object->items, item);
            (void)(lks_tree_ok(tree) && lks_node_adopt(tree, sequence, object->items));
        }
    } else {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a %s cannot be appended to",
                      lks_value_kind_name(lks_value_kind(sequence)));
    }
}

size_t lks_value_count(const lks_value_t *value)
{
    if (is_sequence(value)) {
        return ((const lks_sequence_node_t *)value)->count;
    }
    return value && value->kind == LKS_VALUE_DICT ? ((const lks_dict_node_t *)value)->count : 0;
}

lks_value_t *lks_value_at(const lks_value_t *value, size_t index)
{
    if (index >= lks_value_count(value)) {
        return NULL;
    }
    return is_sequence(value) ? ((const lks_sequence_node_t *)value)->items[index]
                              : ((const lks_dict_node_t *)value)->entries[index].value;
}

/* --- globals and objects ------------------------------------------------------------------------ */

lks_value_t *lks_global_create(lks_tree_t *tree, const char *module, size_t module_length,
                               const char *name, size_t name_length)
{
    size_t nbytes = module_length + 1 + name_length;
    char *text = lks_tree_alloc(tree, nbytes + 1);
    lks_global_node_t *node = lks_node_create(tree, LKS_VALUE_GLOBAL, sizeof *node);
    if (!text || !node) {
        return NULL;
    }
    memcpy(text, module, module_length);
    text[module_length] = '.';
    memcpy(text + module_length + 1, name, name_length);
    text[nbytes] = '\0';
    node->dotted.text = text;
    node->dotted.nbytes = nbytes;
    node->split = module_length;
    return &node->dotted.head;
}

lks_value_t *lks_value_global(lks_tree_t *tree, const char *module, const char *name)
{
    return lks_global_create(tree, module, strlen(module), name, strlen(name));
}

lks_value_t *lks_value_object(lks_tree_t *tree, lks_object_how_t how, lks_value_t *callable,
                              lks_value_t *arguments)
{
    if (!lks_tree_ok(tree)) {
        return NULL;
    }
    lks_object_node_t *node = lks_node_create(tree, LKS_VALUE_OBJECT, sizeof *node);
    if (!node) {
        return NULL;
    }
    if (!callable || !arguments) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "an object needs a callable and arguments");
        return NULL;
    }
    node->head.flag = (uint8_t)how;
    node->callable = callable;
    node->arguments = arguments;
    return lks_node_adopt(tree, &node->head, callable) &&
                   lks_node_adopt(tree, &node->head, arguments)
               ? &node->head
               : NULL;
}

void lks_value_object_set_state(lks_tree_t *tree, lks_value_t *object, lks_value_t *state)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!object || object->kind != LKS_VALUE_OBJECT || !state) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a state is set on an object");
    } else if (lks_node_adopt(tree, object, state)) {
        ((lks_object_node_t *)object)->state = state;
    }
}

static const lks_object_node_t *as_object(const lks_value_t *value)
{
    return value && value->kind == LKS_VALUE_OBJECT ? (const lks_object_node_t *)value : NULL;
}

const char *lks_value_class_name(const lks_value_t *value)
{
    const lks_object_node_t *object = as_object(value);
    const lks_value_t *global = object ? object->callable : value;
    return global && global->kind == LKS_VALUE_GLOBAL ? ((const lks_text_node_t *)global)->text
                                                      : NULL;
}

lks_object_how_t lks_value_object_how(const lks_value_t *object)
{
    return as_object(object) ? (lks_object_how_t)object->flag : LKS_OBJECT_REDUCE;
}

lks_value_t *lks_value_object_callable(const lks_value_t *object)
{
    return as_object(object) ? as_object(object)->callable : NULL;
}

lks_value_t *lks_value_object_arguments(const lks_value_t *object)
{
    return as_object(object) ? as_object(object)->arguments : NULL;
}

lks_value_t *lks_value_object_state(const lks_value_t *object)
{
    return as_object(object) ? as_object(object)->state : NULL;
}

lks_value_t *lks_value_object_items(const lks_value_t *object)
{
    return as_object(object) ? as_object(object)->items : NULL;
}

lks_value_t *lks_value_object_entries(const lks_value_t *object)
{
    return as_object(object) ? as_object(object)->entries : NULL;
}
