/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_flatten.c - see dcp_flatten.h. */
#include "serialize/dcp_flatten.h"
#include "core/grow.h"
#include "core/strbuf.h"
#include "serialize/drop.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 512       /* Python itself stops at about twice that */
#define SPARE_STEPS 1000000 /* beyond one for each value of the tree */

enum { LIST_WHOLE, LIST_APART };

typedef struct level {
    const lks_value_t *container;
    size_t next;
    size_t name_length; /* of the container */
    lks_value_t *step;  /* from here to the entry that is being looked at */
} level_t;

typedef struct flattener {
    const lks_save_options_t *options;
    lks_tree_t *out;
    lks_dcp_leaves_t *leaves;
    lks_value_t *names; /* those that are taken, as keys */
    lks_strbuf_t name;
    lks_intmap_t lists; /* address of a list -> whether it is taken apart */
    level_t levels[DEPTH_MAX];
    size_t depth;
    size_t steps_left; /* containers that stand in many places are walked in each */
} flattener_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "writing a checkpoint: out of memory");
}

/* --- lists -------------------------------------------------------------------------------------- */

static bool is_apart_item(const lks_value_t *item)
{
    return item->kind == LKS_VALUE_DICT || item->kind == LKS_VALUE_TENSOR;
}

/* The lists on the way to a dict or tensor are the levels of a walk of its own. Every list is entered once. */
static bool find_apart(flattener_t *flat, const lks_value_t *list)
{
    struct {
        const lks_value_t *list;
        size_t next;
    } stack[DEPTH_MAX];
    size_t depth = 0;
    stack[depth].list = list;
    stack[depth++].next = 0;
    bool ok = lks_intmap_set(&flat->lists, (uintptr_t)list, LIST_WHOLE);
    while (ok && depth > 0) {
        const lks_value_t *item = lks_value_at(stack[depth - 1].list, stack[depth - 1].next++);
        size_t known = item && item->kind == LKS_VALUE_LIST
                           ? lks_intmap_get(&flat->lists, (uintptr_t)item)
                           : LIST_WHOLE;
        if (!item) {
            depth--;
        } else if (is_apart_item(item) || known == LIST_APART) {
            while (depth > 0) {
                ok &= lks_intmap_set(&flat->lists, (uintptr_t)stack[--depth].list, LIST_APART);
            }
        } else if (known == SIZE_MAX && depth < DEPTH_MAX) {
            ok = lks_intmap_set(&flat->lists, (uintptr_t)item, LIST_WHOLE);
            stack[depth].list = item;
            stack[depth++].next = 0;
        }
    }
    return ok;
}

static lks_status_t is_taken_apart(flattener_t *flat, const lks_value_t *value, bool *out)
{
    *out = value->kind == LKS_VALUE_DICT;
    if (value->kind == LKS_VALUE_LIST) {
        if (lks_intmap_get(&flat->lists, (uintptr_t)value) == SIZE_MAX &&
            !find_apart(flat, value)) {
            return no_memory();
        }
        *out = lks_intmap_get(&flat->lists, (uintptr_t)value) == LIST_APART;
    }
    return LKS_OK;
}

/* --- names and paths ---------------------------------------------------------------------------- */

/* What str(key) is in Python; NULL for keys of other kinds. */
static lks_value_t *key_text(lks_tree_t *out, const lks_value_t *key)
{
    char digits[24];
    size_t nbytes;
    switch (lks_value_kind(key)) {
    case LKS_VALUE_STR: {
        const char *text = lks_value_text(key, &nbytes);
        return lks_value_str_n(out, text, nbytes);
    }
    case LKS_VALUE_INT:
        (void)snprintf(digits, sizeof digits, "%" PRId64, ((const lks_int_node_t *)key)->value);
        return lks_value_str(out, digits);
    case LKS_VALUE_BOOL: return lks_value_str(out, key->flag ? "True" : "False");
    case LKS_VALUE_NONE: return lks_value_str(out, "None");
    default: return NULL;
    }
}

static void append_step(flattener_t *flat, const lks_value_t *step)
{
    size_t nbytes;
    const char *text = lks_value_text(step, &nbytes);
    if (flat->depth > 1) {
        lks_strbuf_append_str(&flat->name, ".");
    }
    if (text) {
        lks_strbuf_append(&flat->name, text, nbytes);
    } else {
        lks_strbuf_appendf(&flat->name, "%" PRId64, ((const lks_int_node_t *)step)->value);
    }
}

/* Names the entry at `index` of the innermost level. *step is NULL if it is dropped. */
static lks_status_t name_entry(flattener_t *flat, size_t index, lks_value_t **step)
{
    level_t *level = &flat->levels[flat->depth - 1];
    lks_strbuf_truncate(&flat->name, level->name_length);
    if (level->container->kind == LKS_VALUE_LIST) {
        *step = lks_value_int(flat->out, (int64_t)index);
    } else {
        const lks_value_t *key = lks_value_key_at(level->container, index);
        *step = key_text(flat->out, key);
        if (!*step && lks_tree_ok(flat->out)) {
            lks_strbuf_appendf(&flat->name, "%s<%s>", flat->depth > 1 ? "." : "",
                               lks_value_kind_name(lks_value_kind(key)));
            return lks_save_drop(flat->options, lks_strbuf_text(&flat->name),
                                 "a key that is no str or int has no name in a distributed "
                                 "checkpoint");
        }
    }
    LKS_TRY(lks_tree_status(flat->out));
    level->step = *step;
    append_step(flat, *step);
    return lks_strbuf_ok(&flat->name) ? LKS_OK : no_memory();
}

/* Name and path of the current entry. */
static lks_status_t name_leaf(flattener_t *flat, lks_dcp_leaf_t *leaf)
{
    lks_tree_t *out = flat->out;
    leaf->path = lks_value_tuple(out);
    leaf->name = lks_value_str_n(out, lks_strbuf_text(&flat->name), flat->name.length);
    for (size_t i = 0; i < flat->depth; i++) {
        lks_value_append(out, leaf->path, flat->levels[i].step);
    }
    LKS_TRY(lks_tree_status(out));
    if (lks_dict_find(flat->names, leaf->name)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "value '%.200s': another value has the same name when names are joined "
                        "by dots",
                        lks_strbuf_text(&flat->name));
    }
    lks_value_set(out, flat->names, leaf->name, leaf->path);
    return lks_tree_status(out);
}

/* --- walking ------------------------------------------------------------------------------------ */

static bool is_plain_tensor(const lks_value_t *value)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    return tensor && !tensor->is_conj && !tensor->is_neg && !lks_value_tensor_quantizer(value) &&
           !lks_value_tensor_attributes(value);
}

static lks_status_t add_leaf(flattener_t *flat, lks_dcp_leaf_kind_t kind, const lks_value_t *value)
{
    lks_dcp_leaves_t *leaves = flat->leaves;
    lks_dcp_leaf_t *items =
        lks_grow(leaves->items, &leaves->capacity, leaves->count + 1, sizeof *items);
    if (!items) {
        return no_memory();
    }
    leaves->items = items;
    lks_dcp_leaf_t leaf = {.kind = kind, .value = value};
    LKS_TRY(name_leaf(flat, &leaf));
    leaves->items[leaves->count++] = leaf;
    return LKS_OK;
}

static lks_status_t enter(flattener_t *flat, const lks_value_t *container)
{
    if (flat->depth == DEPTH_MAX) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "value '%.200s': it is nested deeper than %d containers, or in itself",
                        lks_strbuf_text(&flat->name), DEPTH_MAX);
    }
    flat->levels[flat->depth++] =
        (level_t){.container = container, .name_length = flat->name.length};
    return LKS_OK;
}

static lks_status_t visit(flattener_t *flat, const lks_value_t *value)
{
    bool apart;
    LKS_TRY(is_taken_apart(flat, value, &apart));
    if (!apart) {
        bool plain = is_plain_tensor(value);
        return add_leaf(flat, plain ? LKS_DCP_LEAF_TENSOR : LKS_DCP_LEAF_VALUE, value);
    }
    return lks_value_count(value) > 0 ? enter(flat, value)
                                      : add_leaf(flat, LKS_DCP_LEAF_EMPTY, value);
}

static lks_status_t step(flattener_t *flat)
{
    level_t *level = &flat->levels[flat->depth - 1];
    const lks_value_t *value = lks_value_at(level->container, level->next);
    if (!value) {
        flat->depth--;
        return LKS_OK;
    }
    if (flat->steps_left-- == 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "value '%.200s': containers that stand in many places "
                        "would become too many values",
                        lks_strbuf_text(&flat->name));
    }
    lks_value_t *entry = NULL;
    LKS_TRY(name_entry(flat, level->next++, &entry));
    return entry ? visit(flat, value) : LKS_OK;
}

lks_status_t lks_dcp_flatten(const lks_tree_t *tree, const lks_save_options_t *options,
                             lks_tree_t *out, lks_dcp_leaves_t *leaves)
{
    const lks_value_t *root = lks_tree_root(tree);
    *leaves = (lks_dcp_leaves_t){0};
    if (root->kind != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "a distributed checkpoint holds a dict, the root is %s",
                        lks_value_kind_name(lks_value_kind(root)));
    }
    flattener_t *flat = calloc(1, sizeof *flat);
    if (!flat) {
        return no_memory();
    }
    flat->options = options;
    flat->out = out;
    flat->leaves = leaves;
    flat->names = lks_value_dict(out);
    flat->steps_left = tree->node_count + SPARE_STEPS;
    lks_status_t status = enter(flat, root);
    while (status == LKS_OK && flat->depth > 0) {
        status = step(flat);
    }
    lks_strbuf_fini(&flat->name);
    lks_intmap_fini(&flat->lists);
    free(flat);
    return status;
}

void lks_dcp_leaves_fini(lks_dcp_leaves_t *leaves)
{
    free(leaves->items);
    *leaves = (lks_dcp_leaves_t){0};
}
