/* SPDX-License-Identifier: Apache-2.0 */
/* value_tree.c - the tree itself: its memory and limits, its storages, and the tensors over them. */
#include "core/checked.h"
#include "serialize/cast.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lks_status_t lks_tree_create_limited(const lks_checkpoint_limits_t *limits, lks_tree_t **out)
{
    lks_tree_t *tree = calloc(1, sizeof *tree);
    if (!tree || lks_tree_init_loads(tree) != LKS_OK) {
        free(tree);
        return lks_fail(LKS_ERR_NO_MEMORY, "value tree: out of memory");
    }
    lks_arena_init(&tree->arena, 0, limits->memory);
    tree->max_nodes = limits->max_nodes;
    tree->max_depth = limits->max_depth;
    *out = tree;
    return LKS_OK;
}

lks_status_t lks_tree_create(lks_tree_t **out)
{
    const lks_checkpoint_limits_t none = {
        .memory = SIZE_MAX, .max_depth = SIZE_MAX, .max_nodes = SIZE_MAX};
    return lks_tree_create_limited(&none, out);
}

void lks_tree_destroy(lks_tree_t *tree)
{
    if (!tree) {
        return;
    }
    lks_casts_fini(tree);
    for (size_t i = 0; i < tree->storage_count; i++) {
        lks_storage_release(tree->storages[i].storage);
    }
    lks_tree_fini_loads(tree);
    lks_intmap_fini(&tree->storage_index);
    lks_arena_fini(&tree->arena);
    free(tree);
}

lks_status_t lks_tree_status(const lks_tree_t *tree)
{
    return lks_tree_ok(tree) ? LKS_OK : lks_error_raise(&tree->error);
}

void lks_tree_fail(lks_tree_t *tree, lks_status_t status, const char *format, ...)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(tree->error.message, sizeof tree->error.message, format, args);
    va_end(args);
    tree->error.status = status;
    tree->free = tree->free_end = NULL;
}

lks_value_t *lks_tree_root(const lks_tree_t *tree)
{
    return tree->root;
}

void lks_tree_set_root(lks_tree_t *tree, lks_value_t *root)
{
    tree->root = root;
}

/* --- memory ------------------------------------------------------------------------------------- */

#define PIECE_SIZE ((size_t)32 << 10)

/* Large requests go past the current piece; small ones start another. */
void *lks_tree_alloc_slow(lks_tree_t *tree, size_t nbytes)
{
    if (!lks_tree_ok(tree)) {
        return NULL;
    }
    size_t left = tree->arena.limit - tree->arena.used;
    bool large = nbytes > PIECE_SIZE / 4 || left < PIECE_SIZE;
    size_t wanted = large ? nbytes : PIECE_SIZE;
    unsigned char *data = lks_arena_alloc(&tree->arena, wanted, _Alignof(int64_t));
    if (data && !large) {
        tree->free = data + ((nbytes + 7) & ~(size_t)7);
        tree->free_end = data + wanted;
    } else if (!data && nbytes > left) {
        lks_tree_fail(tree, LKS_ERR_FORMAT, "the values need more than the limit of %zu bytes",
                      tree->arena.limit);
    } else if (!data) {
        lks_tree_fail(tree, LKS_ERR_NO_MEMORY, "value tree: out of memory");
    }
    return data;
}

char *lks_tree_copy_text(lks_tree_t *tree, const void *text, size_t nbytes)
{
    size_t total;
    char *copy = NULL;
    if (!lks_add_size(nbytes, 1, &total)) {
        lks_tree_fail(tree, LKS_ERR_NO_MEMORY, "value tree: out of memory");
    } else {
        copy = lks_tree_alloc(tree, total);
    }
    if (copy) {
        if (nbytes > 0) {
            memcpy(copy, text, nbytes);
        }
        copy[nbytes] = '\0';
    }
    return copy;
}

void lks_tree_fail_count(lks_tree_t *tree)
{
    lks_tree_fail(tree, LKS_ERR_FORMAT, "more values than the limit of %zu", tree->max_nodes);
}

bool lks_node_adopt_higher(lks_tree_t *tree, lks_value_t *parent, const lks_value_t *child)
{
    if (child == parent) {
        return true;
    }
    if (child->height >= tree->max_depth || child->height == UINT32_MAX) {
        lks_tree_fail(tree, LKS_ERR_FORMAT, "values nested deeper than the limit of %zu",
                      tree->max_depth);
        return false;
    }
    parent->height = child->height + 1;
    return true;
}

/* --- storages ----------------------------------------------------------------------------------- */

size_t lks_tree_storage_count(const lks_tree_t *tree)
{
    return tree->storage_count;
}

const lks_tree_storage_t *lks_tree_storage(const lks_tree_t *tree, size_t index)
{
    return index < tree->storage_count ? &tree->storages[index] : NULL;
}

static bool reserve_storage(lks_tree_t *tree)
{
    if (tree->storage_count < tree->storage_capacity) {
        return true;
    }
    size_t capacity = tree->storage_capacity ? tree->storage_capacity * 2 : 16;
    lks_tree_storage_t *storages = lks_tree_alloc(tree, capacity * sizeof *storages);
    if (!storages || !lks_tree_reserve_loads(tree, capacity)) {
        return false;
    }
    if (tree->storage_count > 0) {
        memcpy(storages, tree->storages, tree->storage_count * sizeof *storages);
    }
    tree->storages = storages;
    tree->storage_capacity = capacity;
    return true;
}

/* Nearly always the label of the storage before: one copy serves them all. */
static const char *location_text(lks_tree_t *tree, const char *location)
{
    const lks_tree_storage_t *last =
        tree->storage_count ? &tree->storages[tree->storage_count - 1] : NULL;
    if (last && strcmp(last->location, location) == 0) {
        return last->location;
    }
    return lks_tree_copy_text(tree, location, strlen(location));
}

size_t lks_tree_append_storage(lks_tree_t *tree, lks_storage_t *storage, lks_dtype_t dtype,
                               const char *location)
{
    const char *label = location_text(tree, location);
    if (!label || !reserve_storage(tree)) {
        return SIZE_MAX;
    }
    size_t index = tree->storage_count++;
    tree->storages[index] = (lks_tree_storage_t){
        .storage = lks_storage_retain(storage), .dtype = dtype, .location = label};
    return index;
}

void lks_tree_replace_storage(lks_tree_t *tree, size_t index, lks_storage_t *storage)
{
    lks_storage_t *before = tree->storages[index].storage;
    tree->storages[index].storage = lks_storage_retain(storage);
    lks_storage_release(before);
}

size_t lks_tree_add_storage(lks_tree_t *tree, lks_storage_t *storage, lks_dtype_t dtype,
                            const char *location)
{
    if (!storage || !location || lks_dtype_size(dtype) == 0) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a storage needs bytes, a dtype and a location");
        return SIZE_MAX;
    }
    size_t known = lks_intmap_get(&tree->storage_index, (uintptr_t)storage);
    if (known != SIZE_MAX) {
        return known;
    }
    if (!lks_intmap_set(&tree->storage_index, (uintptr_t)storage, tree->storage_count)) {
        lks_tree_fail(tree, LKS_ERR_NO_MEMORY, "value tree: out of memory");
        return SIZE_MAX;
    }
    return lks_tree_append_storage(tree, storage, dtype, location);
}

lks_value_t *lks_value_bare_storage(lks_tree_t *tree, lks_value_t *class, size_t index,
                                    int64_t numel, const int64_t *offset)
{
    lks_value_t *numbers[] = {lks_value_int(tree, (int64_t)index), lks_value_int(tree, numel),
                              offset ? lks_value_int(tree, *offset) : NULL};
    lks_value_t *arguments = lks_value_tuple(tree);
    if (!lks_tree_ok(tree) || !lks_sequence_fill(tree, arguments, numbers, offset ? 3 : 2)) {
        return NULL;
    }
    return lks_value_object(tree, LKS_OBJECT_STORAGE, class, arguments);
}

/* --- tensors ------------------------------------------------------------------------------------ */

static lks_status_t check_bounds(const lks_tree_t *tree, const lks_value_tensor_t *tensor)
{
    if (tensor->storage >= tree->storage_count) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a tensor names storage %zu of %zu", tensor->storage,
                        tree->storage_count);
    }
    size_t itemsize = lks_dtype_size(tensor->dtype);
    if (itemsize == 0 || tensor->ndim < 0 || tensor->offset < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a tensor has dtype number %d, %d dimensions and the offset %" PRId64,
                        (int)tensor->dtype, tensor->ndim, tensor->offset);
    }
    int64_t span;
    LKS_TRY(lks_shape_span(tensor->ndim, tensor->shape, tensor->stride, &span));
    size_t nbytes = lks_storage_nbytes(tree->storages[tensor->storage].storage);
    int64_t held = (int64_t)(nbytes / itemsize);
    /* An empty tensor touches nothing, wherever it points: torch makes such views. */
    if (span > 0 && (tensor->offset > held || span > held - tensor->offset)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a tensor spans %" PRId64 " elements from offset %" PRId64
                        ", its storage holds %" PRId64,
                        span, tensor->offset, held);
    }
    return LKS_OK;
}

static lks_tensor_node_t *create_node(lks_tree_t *tree)
{
    lks_tensor_node_t *node = lks_node_create(tree, LKS_VALUE_TENSOR, sizeof *node);
    if (node) {
        node->previous = tree->tensors;
        tree->tensors = node;
    }
    return node;
}

lks_value_t *lks_tensor_node_create(lks_tree_t *tree, const lks_value_tensor_t *tensor)
{
    if (!lks_tree_ok(tree)) {
        return NULL;
    }
    lks_status_t status = check_bounds(tree, tensor);
    if (status != LKS_OK) {
        lks_tree_fail(tree, status, "%s", lks_last_error()->message);
        return NULL;
    }
    lks_tensor_node_t *node = create_node(tree);
    if (!node) {
        return NULL;
    }
    node->tensor = *tensor;
    return &node->head;
}

lks_tensor_node_t *lks_tensor_node_clone(lks_tree_t *tree, const lks_value_t *tensor)
{
    const lks_tensor_node_t *from = (const lks_tensor_node_t *)tensor;
    lks_tensor_node_t *node = create_node(tree);
    if (node) {
        node->head = from->head;
        node->tensor = from->tensor;
        node->attributes = from->attributes;
        node->quantizer = from->quantizer;
    }
    return node;
}

lks_value_t *lks_value_tensor_new(lks_tree_t *tree, const lks_value_tensor_t *tensor)
{
    lks_value_t *value = lks_tensor_node_create(tree, tensor);
    size_t nbytes = value ? (size_t)tensor->ndim * sizeof(int64_t) : 0;
    int64_t *numbers = lks_tree_alloc(tree, 2 * nbytes);
    if (!value || !numbers) {
        return NULL;
    }
    if (tensor->ndim > 0) {
        memcpy(numbers, tensor->shape, nbytes);
        memcpy(numbers + tensor->ndim, tensor->stride, nbytes);
    }
    lks_tensor_node_t *node = (lks_tensor_node_t *)value;
    node->tensor.shape = numbers;
    node->tensor.stride = numbers + tensor->ndim;
    return value;
}

lks_value_t *lks_value_tensor_from(lks_tree_t *tree, const lks_tensor_t *tensor)
{
    if (!lks_tree_ok(tree)) {
        return NULL;
    }
    size_t storage = lks_tree_add_storage(tree, tensor->storage, tensor->dtype, "cpu");
    if (storage == SIZE_MAX) {
        return NULL;
    }
    return lks_value_tensor_new(tree, &(lks_value_tensor_t){.storage = storage,
                                                            .dtype = tensor->dtype,
                                                            .ndim = tensor->ndim,
                                                            .offset = tensor->offset,
                                                            .shape = tensor->shape,
                                                            .stride = tensor->stride});
}

const lks_value_tensor_t *lks_value_tensor(const lks_value_t *value)
{
    return value && value->kind == LKS_VALUE_TENSOR ? &((const lks_tensor_node_t *)value)->tensor
                                                    : NULL;
}

static const lks_tensor_node_t *as_tensor(const lks_value_t *value)
{
    return value && value->kind == LKS_VALUE_TENSOR ? (const lks_tensor_node_t *)value : NULL;
}

lks_value_t *lks_value_tensor_attributes(const lks_value_t *value)
{
    return as_tensor(value) ? as_tensor(value)->attributes : NULL;
}

lks_value_t *lks_value_tensor_quantizer(const lks_value_t *value)
{
    return as_tensor(value) ? as_tensor(value)->quantizer : NULL;
}

/* Puts `part` into a tensor. */
static void set_part(lks_tree_t *tree, lks_value_t *tensor, lks_value_t **part, lks_value_t *value)
{
    if (lks_node_adopt(tree, tensor, value)) {
        *part = value;
    }
}

void lks_value_tensor_set_attributes(lks_tree_t *tree, lks_value_t *tensor, lks_value_t *attributes)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!as_tensor(tensor) || !attributes) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "attributes are set on a tensor");
        return;
    }
    set_part(tree, tensor, &((lks_tensor_node_t *)tensor)->attributes, attributes);
}

void lks_value_tensor_set_quantizer(lks_tree_t *tree, lks_value_t *tensor, lks_value_t *quantizer)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!as_tensor(tensor) || !quantizer || quantizer->kind != LKS_VALUE_TUPLE) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a quantizer, a tuple, is set on a tensor");
        return;
    }
    set_part(tree, tensor, &((lks_tensor_node_t *)tensor)->quantizer, quantizer);
}
