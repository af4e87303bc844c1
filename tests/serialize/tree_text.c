/* SPDX-License-Identifier: Apache-2.0 */
/* tree_text.c - see tree_text.h. */
#include "serialize/tree_text.h"
#include "core/arena.h"
#include "serialize/crc32.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What is still to be printed: a value (under a path), or a word. The last one is next. */
typedef struct task {
    const lks_value_t *value;
    const char *text; /* path of the value, or the word */
} task_t;

typedef struct walk {
    const lks_tree_t *tree;
    lks_checkpoint_t *checkpoint; /* of a listing */
    lks_strbuf_t out;
    lks_arena_t arena; /* paths */
    task_t *tasks;
    size_t count, capacity;
    lks_intmap_t seen; /* address -> number */
} walk_t;

static void push(walk_t *walk, const lks_value_t *value, const char *text)
{
    if (walk->count == walk->capacity) {
        walk->capacity = walk->capacity ? walk->capacity * 2 : 256;
        walk->tasks = realloc(walk->tasks, walk->capacity * sizeof *walk->tasks);
        cr_assert(walk->tasks);
    }
    walk->tasks[walk->count++] = (task_t){.value = value, .text = text};
}

/* True the first time. */
static bool first_visit(walk_t *walk, const void *value, size_t *number)
{
    *number = lks_intmap_get(&walk->seen, (uintptr_t)value);
    if (*number != SIZE_MAX) {
        return false;
    }
    *number = walk->seen.count;
    cr_assert(lks_intmap_set(&walk->seen, (uintptr_t)value, *number));
    return true;
}

static void append_escaped(lks_strbuf_t *out, const char *text, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= ' ' && c <= '~' && c != '\\') {
            lks_strbuf_append(out, &text[i], 1);
        } else {
            lks_strbuf_appendf(out, "\\x%02x", c);
        }
    }
}

static void append_hex(lks_strbuf_t *out, const char *text, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        lks_strbuf_appendf(out, "%02x", (unsigned char)text[i]);
    }
}

/* none, bool, int, float, str, bytes: "int 3". False for other kinds. */
static bool append_scalar(lks_strbuf_t *out, const lks_value_t *value)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(value, &nbytes);
    switch (lks_value_kind(value)) {
    case LKS_VALUE_NONE: lks_strbuf_append_str(out, "none"); return true;
    case LKS_VALUE_BOOL:
        lks_strbuf_appendf(out, "bool %s", value->flag ? "true" : "false");
        return true;
    case LKS_VALUE_INT:
        lks_strbuf_appendf(out, "int %" PRId64, ((const lks_int_node_t *)value)->value);
        return true;
    case LKS_VALUE_FLOAT: {
        uint64_t bits;
        memcpy(&bits, &((const lks_float_node_t *)value)->value, sizeof bits);
        lks_strbuf_appendf(out, "float %016" PRIx64, bits);
        return true;
    }
    case LKS_VALUE_STR:
        lks_strbuf_append_str(out, "str ");
        append_escaped(out, text, nbytes);
        return true;
    case LKS_VALUE_BYTES:
    case LKS_VALUE_BIGINT:
        lks_strbuf_appendf(out, "%s ", lks_value_kind_name(lks_value_kind(value)));
        append_hex(out, text, nbytes);
        return true;
    default: return false;
    }
}

static void append_ints(lks_strbuf_t *out, const int64_t *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        lks_strbuf_appendf(out, "%s%" PRId64, i ? ", " : "(", numbers[i]);
    }
    lks_strbuf_append_str(out, count == 0 ? "() " : count == 1 ? ",) " : ") ");
}

static void append_tensor(lks_strbuf_t *out, const lks_value_tensor_t *tensor)
{
    lks_strbuf_appendf(out, "tensor %s ", lks_dtype_name(tensor->dtype));
    append_ints(out, tensor->shape, tensor->ndim);
    append_ints(out, tensor->stride, tensor->ndim);
    lks_strbuf_appendf(out, "%" PRId64 "%s%s%s%s ", tensor->offset,
                       tensor->is_parameter ? " param" : "", tensor->requires_grad ? " grad" : "",
                       tensor->is_conj ? " conj" : "", tensor->is_neg ? " neg" : "");
}

static walk_t walk_begin(const lks_tree_t *tree, lks_checkpoint_t *checkpoint)
{
    walk_t walk = {.tree = tree, .checkpoint = checkpoint};
    lks_arena_init(&walk.arena, 0, 0);
    push(&walk, lks_tree_root(tree), "");
    return walk;
}

static lks_strbuf_t walk_end(walk_t *walk)
{
    free(walk->tasks);
    lks_intmap_fini(&walk->seen);
    lks_arena_fini(&walk->arena);
    cr_assert(lks_strbuf_ok(&walk->out));
    return walk->out;
}

/* --- the whole tree ----------------------------------------------------------------------------- */

static void text_storage(walk_t *walk, size_t index)
{
    const lks_tree_storage_t *storage = lks_tree_storage(walk->tree, index);
    size_t number;
    cr_assert(storage);
    if (!first_visit(walk, storage, &number)) {
        lks_strbuf_appendf(&walk->out, "*%zu", number);
        return;
    }
    assert_ok(lks_tree_load_storage(walk->tree, index, NULL));
    size_t nbytes = lks_storage_nbytes(storage->storage);
    lks_strbuf_appendf(&walk->out, "#%zu storage %s %s %zu %08x", number,
                       lks_dtype_name(storage->dtype), storage->location, nbytes,
                       lks_crc32(0, lks_storage_data(storage->storage), nbytes));
}

/* A part that may be absent, under its name. */
static void push_part(walk_t *walk, const lks_value_t *part, const char *name)
{
    if (part) {
        push(walk, part, "");
        push(walk, NULL, name);
    }
}

static void text_dict(walk_t *walk, const lks_value_t *value)
{
    lks_strbuf_append_str(&walk->out, lks_value_dict_is_ordered(value) ? "ordered {" : "{");
    push_part(walk, lks_value_dict_attributes(value), " attributes ");
    push(walk, NULL, "}");
    for (size_t i = lks_value_count(value); i-- > 0;) {
        push(walk, NULL, ",\n");
        push(walk, lks_value_at(value, i), "");
        push(walk, NULL, ": ");
        push(walk, lks_value_key_at(value, i), "");
    }
}

static void text_object(walk_t *walk, const lks_value_t *value)
{
    static const char *const hows[] = {"reduce", "new", "bare storage"};
    lks_strbuf_appendf(&walk->out, "object %s", hows[lks_value_object_how(value)]);
    push_part(walk, lks_value_object_state(value), "\n state ");
    push_part(walk, lks_value_object_entries(value), "\n entries ");
    push_part(walk, lks_value_object_items(value), "\n items ");
    if (lks_value_object_how(value) == LKS_OBJECT_STORAGE) {
        int64_t index = -1;
        assert_ok(lks_value_get_int(lks_value_at(lks_value_object_arguments(value), 0), &index));
        push_part(walk, lks_value_at(lks_value_object_arguments(value), 1), " elements ");
        push_part(walk, lks_value_object_callable(value), " class ");
        text_storage(walk, (size_t)index);
        return;
    }
    push_part(walk, lks_value_object_arguments(value), " arguments ");
    push_part(walk, lks_value_object_callable(value), " callable ");
}

static void text_value(walk_t *walk, const lks_value_t *value)
{
    size_t number;
    if (append_scalar(&walk->out, value)) {
        return;
    }
    if (value->kind == LKS_VALUE_GLOBAL) {
        lks_strbuf_appendf(&walk->out, "global %s", lks_value_class_name(value));
        return;
    }
    if (value->kind == LKS_VALUE_TUPLE && lks_value_count(value) == 0) {
        lks_strbuf_append_str(&walk->out, "()");
        return;
    }
    if (!first_visit(walk, value, &number)) {
        lks_strbuf_appendf(&walk->out, "*%zu", number);
        return;
    }
    lks_strbuf_appendf(&walk->out, "#%zu ", number);
    if (value->kind == LKS_VALUE_DICT) {
        text_dict(walk, value);
    } else if (value->kind == LKS_VALUE_OBJECT) {
        text_object(walk, value);
    } else if (value->kind == LKS_VALUE_TENSOR) {
        append_tensor(&walk->out, lks_value_tensor(value));
        push_part(walk, lks_value_tensor_attributes(value), " attributes ");
        push_part(walk, lks_value_tensor_quantizer(value), " quantizer ");
        text_storage(walk, lks_value_tensor(value)->storage);
    } else {
        bool list = value->kind == LKS_VALUE_LIST;
        lks_strbuf_append_str(&walk->out, list ? "[" : "(");
        push(walk, NULL, list ? "]" : ")");
        for (size_t i = lks_value_count(value); i-- > 0;) {
            push(walk, NULL, ", ");
            push(walk, lks_value_at(value, i), "");
        }
    }
}

lks_strbuf_t test_tree_text(const lks_tree_t *tree)
{
    walk_t walk = walk_begin(tree, NULL);
    while (walk.count > 0) {
        task_t task = walk.tasks[--walk.count];
        if (task.value) {
            text_value(&walk, task.value);
        } else {
            lks_strbuf_append_str(&walk.out, task.text);
        }
    }
    return walk_end(&walk);
}

/* --- the listing -------------------------------------------------------------------------------- */

/* CRC-32 of the elements in C order. */
static uint32_t packed_crc(walk_t *walk, const lks_value_tensor_t *tensor, const char *path)
{
    const void *data;
    size_t nbytes, itemsize = lks_dtype_size(tensor->dtype);
    assert_ok(lks_checkpoint_storage(walk->checkpoint, tensor->storage, path, &data, &nbytes));
    int64_t numel = 0;
    assert_ok(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    uint32_t crc = 0;
    for (int64_t i = 0; i < numel; i++) {
        int64_t at = tensor->offset, left = i;
        for (int d = tensor->ndim - 1; d >= 0; d--) {
            at += left % tensor->shape[d] * tensor->stride[d];
            left /= tensor->shape[d];
        }
        crc = lks_crc32(crc, (const char *)data + (size_t)at * itemsize, itemsize);
    }
    return crc;
}

static const char *join(walk_t *walk, const char *path, const char *name, size_t nbytes)
{
    size_t length = strlen(path);
    char *joined = lks_arena_alloc(&walk->arena, length + nbytes + 2, 1);
    cr_assert(joined);
    memcpy(joined, path, length);
    joined[length] = '.';
    length += length > 0;
    memcpy(joined + length, name, nbytes);
    joined[length + nbytes] = '\0';
    return joined;
}

static const char *join_key(walk_t *walk, const char *path, const lks_value_t *key)
{
    char name[64];
    size_t nbytes;
    if (key->kind == LKS_VALUE_STR) {
        const char *text = lks_value_text(key, &nbytes);
        return join(walk, path, text, nbytes);
    }
    if (key->kind == LKS_VALUE_INT) {
        (void)snprintf(name, sizeof name, "%" PRId64, ((const lks_int_node_t *)key)->value);
    } else {
        (void)snprintf(name, sizeof name, "<%s>", lks_value_kind_name(lks_value_kind(key)));
    }
    return join(walk, path, name, strlen(name));
}

static void list_children(walk_t *walk, const lks_value_t *value, const char *path)
{
    char name[32];
    for (size_t i = lks_value_count(value); i-- > 0;) {
        if (value->kind == LKS_VALUE_DICT) {
            push(walk, lks_value_at(value, i), join_key(walk, path, lks_value_key_at(value, i)));
        } else {
            (void)snprintf(name, sizeof name, "%zu", i);
            push(walk, lks_value_at(value, i), join(walk, path, name, strlen(name)));
        }
    }
}

static void list_value(walk_t *walk, const lks_value_t *value, const char *path)
{
    size_t number;
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    lks_strbuf_t line = {0};
    if (tensor) {
        append_tensor(&line, tensor);
        lks_strbuf_appendf(&line, "%08x", packed_crc(walk, tensor, path));
    }
    if (tensor || append_scalar(&line, value)) {
        append_escaped(&walk->out, path, strlen(path));
        lks_strbuf_appendf(&walk->out, "\t%s\n", lks_strbuf_text(&line));
        lks_strbuf_fini(&line);
        return;
    }
    if (!first_visit(walk, value, &number)) {
        return;
    }
    if (value->kind == LKS_VALUE_OBJECT) {
        if (lks_value_object_entries(value)) {
            list_children(walk, lks_value_object_entries(value), path);
        }
        if (lks_value_object_items(value)) {
            list_children(walk, lks_value_object_items(value), path);
        }
        if (lks_value_object_state(value)) {
            push(walk, lks_value_object_state(value), path);
        }
        return;
    }
    if (lks_value_dict_attributes(value)) {
        push(walk, lks_value_dict_attributes(value), join(walk, path, "<attrs>", 7));
    }
    list_children(walk, value, path);
}

lks_strbuf_t test_listing(lks_checkpoint_t *checkpoint)
{
    walk_t walk = walk_begin(lks_checkpoint_tree(checkpoint), checkpoint);
    while (walk.count > 0) {
        task_t task = walk.tasks[--walk.count];
        list_value(&walk, task.value, task.text);
    }
    return walk_end(&walk);
}
