/* SPDX-License-Identifier: Apache-2.0 */
/* module_tree.c - a walk with a stack of its own. A module's tensors are listed when it is entered; a frame of
 * the stack only remembers which of its children comes next. */
#include "serialize/module_tree.h"
#include "core/checked.h"
#include "core/grow.h"
#include "core/strbuf.h"
#include "serialize/hashmap.h"
#include "serialize/name_text.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 256
#define NAMES_MAX ((size_t)256 << 20) /* bytes */
#define SHOWN_NAME_BYTES 200

/* --- what is a module --------------------------------------------------------------------------- */

static bool is_kind(const lks_value_t *value, lks_value_kind_t kind)
{
    return value && lks_value_kind(value) == kind;
}

/* The instance dict; classes with __slots__ have it in a pair. */
static const lks_value_t *state_of(const lks_value_t *object)
{
    const lks_value_t *state = lks_value_object_state(object);
    if (is_kind(state, LKS_VALUE_TUPLE)) {
        state = lks_value_at(state, 0);
    }
    return is_kind(state, LKS_VALUE_DICT) ? state : NULL;
}

static const lks_value_t *dict_in(const lks_value_t *state, const char *name)
{
    const lks_value_t *dict = lks_value_find(state, name);
    return is_kind(dict, LKS_VALUE_DICT) ? dict : NULL;
}

/* A module, looked up once. */
typedef struct parts {
    const lks_value_t *state;
    const lks_value_t *parameters, *buffers; /* NULL: TorchScript has all in the state */
    const lks_value_t *children;
} parts_t;

static bool is_script(const lks_value_t *object, const lks_value_t *state)
{
    static const char front[] = "__torch__.";
    const char *class = lks_value_class_name(object);
    return class && strncmp(class, front, sizeof front - 1) == 0 &&
           is_kind(lks_value_find(state, "training"), LKS_VALUE_BOOL);
}

static bool is_module(const lks_value_t *value, parts_t *parts)
{
    const lks_value_t *state = state_of(value);
    if (!state) {
        return false;
    }
    *parts = (parts_t){.state = state,
                       .parameters = dict_in(state, "_parameters"),
                       .buffers = dict_in(state, "_buffers"),
                       .children = dict_in(state, "_modules")};
    if (parts->parameters && parts->buffers && parts->children) {
        return true;
    }
    *parts = (parts_t){.state = state, .children = state};
    return is_script(value, state);
}

bool lks_value_is_module(const lks_value_t *value)
{
    parts_t parts;
    return is_module(value, &parts);
}

const lks_value_t *lks_module_children(const lks_value_t *module)
{
    parts_t parts;
    return is_module(module, &parts) ? parts.children : NULL;
}

/* --- listing ------------------------------------------------------------------------------------ */

typedef struct frame {
    const lks_value_t *module, *children;
    size_t next, prefix; /* bytes of the prefix that are its own name */
} frame_t;

typedef struct walk {
    lks_module_tensors_t *out;
    size_t *budget;
    lks_strbuf_t prefix; /* "layer1.0." */
    frame_t stack[DEPTH_MAX];
    size_t depth;
} walk_t;

static lks_status_t no_memory(const walk_t *walk)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "listing the %zu tensors of a model: out of memory",
                    walk->out->count);
}

static lks_status_t too_much(const walk_t *walk, const char *what)
{
    lks_strbuf_t name = {0};
    lks_name_append(&name,
                    (lks_name_t){.text = lks_strbuf_text(&walk->prefix),
                                 .length = walk->prefix.length ? walk->prefix.length - 1 : 0},
                    SHOWN_NAME_BYTES);
    lks_status_t status =
        lks_fail(LKS_ERR_FORMAT, "whole model: the module '%s' %s", lks_strbuf_text(&name), what);
    lks_strbuf_fini(&name);
    return status;
}

static lks_status_t spend(const walk_t *walk, size_t steps)
{
    if (*walk->budget < steps) {
        *walk->budget = 0;
        return too_much(walk, "is one too many");
    }
    *walk->budget -= steps;
    return LKS_OK;
}

static lks_status_t reserve(const walk_t *walk)
{
    lks_module_tensors_t *out = walk->out;
    lks_module_tensor_t *items =
        lks_grow(out->items, &out->capacity, out->count + 1, sizeof *items);
    if (!items) {
        return no_memory(walk);
    }
    out->items = items;
    return LKS_OK;
}

static lks_status_t add_tensor(const walk_t *walk, const lks_value_t *key, const lks_value_t *value)
{
    size_t length, total;
    const char *text = lks_value_text(key, &length);
    LKS_TRY(reserve(walk));
    if (!lks_add_size(walk->prefix.length, length, &total) || total >= NAMES_MAX - 1 ||
        total + 1 > NAMES_MAX - walk->out->names.used) {
        return too_much(walk, "has names that are too long");
    }
    char *name = lks_arena_alloc(&walk->out->names, total + 1, 1);
    if (!name) {
        return no_memory(walk);
    }
    if (walk->prefix.length > 0) {
        memcpy(name, walk->prefix.data, walk->prefix.length);
    }
    memcpy(name + walk->prefix.length, text, length + 1);
    walk->out->items[walk->out->count++] =
        (lks_module_tensor_t){.name = name, .length = total, .value = value};
    return LKS_OK;
}

/* Which tensors of a dict are listed. */
typedef enum { TAKE_ALL, TAKE_TRAINED, TAKE_UNTRAINED } take_t;

static lks_status_t add_tensors(const walk_t *walk, const lks_value_t *dict, take_t take,
                                const lks_strmap_t *but)
{
    LKS_TRY(spend(walk, lks_value_count(dict)));
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        const lks_value_t *key = lks_value_key_at(dict, i), *value = lks_value_at(dict, i);
        const lks_value_tensor_t *tensor = lks_value_tensor(value);
        if (!tensor || !is_kind(key, LKS_VALUE_STR) ||
            (take != TAKE_ALL && tensor->requires_grad != (take == TAKE_TRAINED))) {
            continue;
        }
        size_t length;
        const char *text = lks_value_text(key, &length);
        if (!but || lks_strmap_get(but, text, length) == SIZE_MAX) {
            LKS_TRY(add_tensor(walk, key, value));
        }
    }
    return LKS_OK;
}

/* The strs of set([...]). */
static lks_status_t read_set(const walk_t *walk, const lks_value_t *set, lks_strmap_t *out)
{
    const lks_value_t *arguments = set ? lks_value_object_arguments(set) : NULL;
    const lks_value_t *items = lks_value_at(arguments, 0);
    LKS_TRY(spend(walk, lks_value_count(items)));
    for (size_t i = 0; i < lks_value_count(items); i++) {
        size_t length;
        const lks_value_t *item = lks_value_at(items, i);
        const char *text = lks_value_text(item, &length);
        if (is_kind(item, LKS_VALUE_STR) && lks_strmap_add(out, text, length, 0) == SIZE_MAX) {
            return no_memory(walk);
        }
    }
    return LKS_OK;
}

static lks_status_t add_buffers(const walk_t *walk, const parts_t *parts)
{
    lks_strmap_t passing = {0};
    lks_status_t status =
        read_set(walk, lks_value_find(parts->state, "_non_persistent_buffers_set"), &passing);
    if (status == LKS_OK) {
        status = add_tensors(walk, parts->buffers, TAKE_ALL, &passing);
    }
    lks_strmap_fini(&passing);
    return status;
}

static lks_status_t add_own(const walk_t *walk, const parts_t *parts)
{
    if (parts->parameters) {
        LKS_TRY(add_tensors(walk, parts->parameters, TAKE_ALL, NULL));
        return add_buffers(walk, parts);
    }
    LKS_TRY(add_tensors(walk, parts->state, TAKE_TRAINED, NULL));
    return add_tensors(walk, parts->state, TAKE_UNTRAINED, NULL);
}

static lks_status_t enter(walk_t *walk, const lks_value_t *module, const parts_t *parts,
                          size_t prefix)
{
    for (size_t i = 0; i < walk->depth; i++) {
        if (walk->stack[i].module == module) {
            return too_much(walk, "holds itself");
        }
    }
    if (walk->depth == DEPTH_MAX) {
        return too_much(walk, "is nested too deep");
    }
    LKS_TRY(spend(walk, 1 + lks_value_count(parts->children)));
    walk->stack[walk->depth++] =
        (frame_t){.module = module, .children = parts->children, .prefix = prefix};
    return add_own(walk, parts);
}

/* The next child of the innermost module, or out of it. */
static lks_status_t go_on(walk_t *walk)
{
    frame_t *frame = &walk->stack[walk->depth - 1];
    if (frame->next == lks_value_count(frame->children)) {
        walk->prefix.length -= frame->prefix;
        walk->depth--;
        return LKS_OK;
    }
    const lks_value_t *key = lks_value_key_at(frame->children, frame->next);
    const lks_value_t *child = lks_value_at(frame->children, frame->next++);
    parts_t parts;
    if (!is_kind(key, LKS_VALUE_STR) || !is_module(child, &parts)) {
        return LKS_OK;
    }
    size_t length;
    const char *text = lks_value_text(key, &length);
    if (length >= NAMES_MAX - walk->prefix.length) {
        return too_much(walk, "has names that are too long");
    }
    lks_strbuf_append(&walk->prefix, text, length);
    lks_strbuf_append(&walk->prefix, ".", 1);
    return lks_strbuf_ok(&walk->prefix) ? enter(walk, child, &parts, length + 1) : no_memory(walk);
}

lks_status_t lks_module_tensors_init(lks_module_tensors_t *tensors, const lks_value_t *module,
                                     size_t *budget)
{
    parts_t parts;
    *tensors = (lks_module_tensors_t){0};
    lks_arena_init(&tensors->names, 0, 0);
    if (!is_module(module, &parts)) {
        return lks_fail(LKS_ERR_MISMATCH, "what should be a module is none");
    }
    walk_t *walk = calloc(1, sizeof *walk);
    if (!walk) {
        return lks_fail(LKS_ERR_NO_MEMORY, "listing the tensors of a model: out of memory");
    }
    walk->out = tensors;
    walk->budget = budget;
    lks_status_t status = enter(walk, module, &parts, 0);
    while (status == LKS_OK && walk->depth > 0) {
        status = go_on(walk);
    }
    lks_strbuf_fini(&walk->prefix);
    free(walk);
    if (status != LKS_OK) {
        lks_module_tensors_fini(tensors);
    }
    return status;
}

void lks_module_tensors_fini(lks_module_tensors_t *tensors)
{
    free(tensors->items);
    lks_arena_fini(&tensors->names);
    *tensors = (lks_module_tensors_t){0};
}
