/* SPDX-License-Identifier: Apache-2.0 */
/* torch_tar.c - the tar archive that torch.save wrote in torch 0.1, read:
 *     sys_info   a pickle that nobody reads
 *     storages   pickle(n); n times: pickle((key, location, class)), i64 number of elements, the elements;
 *                then pickle([(key, key of the whole, offset, number of elements), ...]), slices of storages
 *     tensors    pickle(n); n times: pickle((key, key of the storage, class)), i32 number of dimensions, 4 bytes
 *                of nothing, the sizes, the strides and the offset as i64
 *     pickle     the object; persistent ids are str(key) of a tensor or storage, or (class, source file, source text)
 * Tensors and storages share one space of keys. Offsets and strides are in elements. */
#include "serialize/format.h"
#include "serialize/pickle_torch.h"
#include "serialize/stream_storage.h"
#include "serialize/tar_read.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct tar {
    lks_stream_t stream;
    lks_tree_t *tree;
    lks_tree_t *header; /* values that say how to read, but are no part of the checkpoint */
    lks_intmap_t keys;  /* key -> address of the tensor or storage in the tree */
} tar_t;

enum { STORAGES, TENSORS, OBJECT, MEMBER_COUNT };

/* --- keys --------------------------------------------------------------------------------------- */

static lks_status_t set_key(tar_t *tar, int64_t key, const lks_value_t *value)
{
    LKS_TRY(lks_tree_status(tar->tree));
    if (lks_intmap_get(&tar->keys, (uint64_t)key) != SIZE_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "two tensors or storages have the key %" PRId64, key);
    }
    if (!lks_intmap_set(&tar->keys, (uint64_t)key, (size_t)(uintptr_t)value)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for the keys of storages");
    }
    return LKS_OK;
}

static lks_status_t get_key(const tar_t *tar, int64_t key, lks_value_t **out)
{
    size_t address = lks_intmap_get(&tar->keys, (uint64_t)key);
    if (address == SIZE_MAX) {
        return lks_fail(LKS_ERR_FORMAT, "no tensor or storage has the key %" PRId64, key);
    }
    *out = (lks_value_t *)(uintptr_t)address;
    return LKS_OK;
}

static lks_status_t get_storage(const tar_t *tar, int64_t key, lks_value_t **out)
{
    LKS_TRY(get_key(tar, key, out));
    if (lks_value_kind(*out) != LKS_VALUE_OBJECT) {
        return lks_fail(LKS_ERR_FORMAT, "the key %" PRId64 " is no storage's", key);
    }
    return LKS_OK;
}

/* --- pickles in a member ------------------------------------------------------------------------ */

/* A pickle, after which the cursor stands behind it. */
static lks_status_t read_pickle(const tar_t *tar, lks_bytes_t *input, const char *name,
                                lks_value_t **out)
{
    size_t used;
    LKS_TRY(lks_pickle_read(name, input->data + input->at, lks_bytes_left(input), NULL, tar->header,
                            &used, out));
    (void)lks_bytes_take(input, used);
    return LKS_OK;
}

static lks_status_t read_count(const tar_t *tar, lks_bytes_t *input, const char *name, int64_t *out)
{
    lks_value_t *value;
    LKS_TRY(read_pickle(tar, input, name, &value));
    if (lks_value_get_int(value, out) != LKS_OK || *out < 0) {
        return lks_fail(LKS_ERR_FORMAT, "%s: their number is no int", name);
    }
    return LKS_OK;
}

static bool is_tuple(const lks_value_t *value, size_t count)
{
    return lks_value_kind(value) == LKS_VALUE_TUPLE && lks_value_count(value) == count;
}

static bool get_int(const lks_value_t *tuple, size_t index, int64_t *out)
{
    return lks_value_get_int(lks_value_at(tuple, index), out) == LKS_OK;
}

/* --- storages ----------------------------------------------------------------------------------- */

typedef struct storage_head {
    int64_t key;
    const char *location, *class_name;
    lks_dtype_t dtype;
    size_t itemsize;
} storage_head_t;

static lks_status_t parse_storage(const lks_value_t *value, storage_head_t *out)
{
    const lks_value_t *location = lks_value_at(value, 1), *class = lks_value_at(value, 2);
    if (!is_tuple(value, 3) || !get_int(value, 0, &out->key) ||
        lks_value_kind(location) != LKS_VALUE_STR || lks_value_kind(class) != LKS_VALUE_GLOBAL) {
        return lks_fail(LKS_ERR_FORMAT, "storages: one is not described as (key, location, class)");
    }
    out->location = lks_value_text(location, NULL);
    out->class_name = lks_value_class_name(class);
    out->dtype = lks_torch_class_dtype(out->class_name, &out->itemsize);
    if (out->itemsize == 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "storages of class '%s' have elements of unknown size",
                        out->class_name);
    }
    return LKS_OK;
}

/* "torch.FloatStorage" as a value of the checkpoint's own tree. */
static lks_value_t *copy_class(lks_tree_t *tree, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t module = dot ? (size_t)(dot - name) : 0;
    const char *rest = dot ? dot + 1 : name;
    return lks_global_create(tree, name, module, rest, strlen(rest));
}

static lks_status_t read_storage(tar_t *tar, lks_bytes_t *input)
{
    lks_value_t *value;
    storage_head_t head;
    lks_storage_t *storage;
    LKS_TRY(read_pickle(tar, input, "storages", &value));
    LKS_TRY(parse_storage(value, &head));
    size_t index = lks_tree_storage_count(tar->tree);
    LKS_TRY(lks_stream_take(&tar->stream, input, head.itemsize, index, &storage));
    size_t nbytes = lks_storage_nbytes(storage);
    (void)lks_tree_append_storage(tar->tree, storage, head.dtype, head.location);
    lks_storage_release(storage); /* the tree has its own reference */
    return set_key(tar, head.key,
                   lks_value_bare_storage(tar->tree, copy_class(tar->tree, head.class_name), index,
                                          (int64_t)(nbytes / head.itemsize), NULL));
}

/* (key, key of the whole, offset, number of elements). Slices of slices are none in torch either. */
static lks_status_t read_slice(tar_t *tar, const lks_value_t *value)
{
    int64_t key, whole_key, offset, numel, index, whole;
    lks_value_t *storage;
    if (!is_tuple(value, 4) || !get_int(value, 0, &key) || !get_int(value, 1, &whole_key) ||
        !get_int(value, 2, &offset) || !get_int(value, 3, &numel)) {
        return lks_fail(LKS_ERR_FORMAT, "storages: a slice is not described as (key, key of the "
                                        "whole, offset, number of elements)");
    }
    LKS_TRY(get_storage(tar, whole_key, &storage));
    const lks_value_t *arguments = lks_value_object_arguments(storage);
    if (lks_value_count(arguments) != 2 || !get_int(arguments, 0, &index) ||
        !get_int(arguments, 1, &whole) || offset < 0 || numel < 0 || offset > whole ||
        numel > whole - offset) {
        return lks_fail(LKS_ERR_FORMAT,
                        "storages: slice %" PRId64 " is not within storage %" PRId64, key,
                        whole_key);
    }
    return set_key(tar, key,
                   lks_value_bare_storage(tar->tree, lks_value_object_callable(storage),
                                          (size_t)index, numel, numel < whole ? &offset : NULL));
}

static lks_status_t read_storages(tar_t *tar, lks_bytes_t *input)
{
    int64_t count;
    lks_value_t *slices;
    LKS_TRY(read_count(tar, input, "storages", &count));
    for (int64_t i = 0; i < count; i++) {
        LKS_TRY(read_storage(tar, input));
    }
    LKS_TRY(read_pickle(tar, input, "storages", &slices));
    if (lks_value_kind(slices) != LKS_VALUE_LIST) {
        return lks_fail(LKS_ERR_FORMAT, "storages: the slices are no list");
    }
    for (size_t i = 0; i < lks_value_count(slices); i++) {
        LKS_TRY(read_slice(tar, lks_value_at(slices, i)));
    }
    return LKS_OK;
}

/* --- tensors ------------------------------------------------------------------------------------ */

/* `count` numbers, in the tree. */
static const int64_t *take_numbers(lks_tree_t *tree, lks_bytes_t *input, size_t count)
{
    int64_t *numbers = lks_tree_alloc(tree, count * sizeof *numbers);
    for (size_t i = 0; numbers && i < count; i++) {
        numbers[i] = (int64_t)lks_bytes_u64(input);
    }
    return numbers;
}

static lks_status_t take_view(tar_t *tar, lks_bytes_t *input, lks_value_tensor_t *out)
{
    size_t at = input->at;
    int32_t ndim = (int32_t)lks_bytes_u32(input);
    (void)lks_bytes_u32(input); /* the number once had 8 bytes */
    size_t left = lks_bytes_left(input);
    if (!input->ok || ndim < 0 || (uint64_t)ndim * 16 + 8 > left) {
        return lks_fail(LKS_ERR_FORMAT,
                        "tensors at byte %zu: %" PRId32 " dimensions do not fit the %zu bytes left",
                        at, ndim, left);
    }
    out->ndim = ndim;
    out->shape = take_numbers(tar->tree, input, (size_t)ndim);
    out->stride = take_numbers(tar->tree, input, (size_t)ndim);
    out->offset = (int64_t)lks_bytes_u64(input);
    return lks_tree_status(tar->tree);
}

/* What a builder calls a wrong argument is here a wrong file. */
static lks_status_t tensor_status(const lks_tree_t *tree, int64_t key)
{
    lks_status_t status = lks_tree_status(tree);
    return status == LKS_ERR_INVALID_ARG ? lks_error_prefix(LKS_ERR_FORMAT, "tensor %" PRId64, key)
                                         : status;
}

static lks_status_t read_tensor(tar_t *tar, lks_bytes_t *input)
{
    lks_value_t *value, *storage;
    lks_value_tensor_t tensor = {0};
    int64_t key, storage_key, index;
    LKS_TRY(read_pickle(tar, input, "tensors", &value));
    if (!is_tuple(value, 3) || !get_int(value, 0, &key) || !get_int(value, 1, &storage_key)) {
        return lks_fail(LKS_ERR_FORMAT, "tensors: one is not described as (key, key of its "
                                        "storage, class)");
    }
    LKS_TRY(get_storage(tar, storage_key, &storage));
    LKS_TRY(take_view(tar, input, &tensor));
    LKS_TRY(lks_torch_place_tensor(storage, &tensor));
    LKS_TRY(lks_value_get_int(lks_value_at(lks_value_object_arguments(storage), 0), &index));
    tensor.storage = (size_t)index;
    tensor.dtype = lks_tree_storage(tar->tree, tensor.storage)->dtype;
    lks_value_t *created = lks_tensor_node_create(tar->tree, &tensor);
    LKS_TRY(tensor_status(tar->tree, key));
    return set_key(tar, key, created);
}

static lks_status_t read_tensors(tar_t *tar, lks_bytes_t *input)
{
    int64_t count;
    LKS_TRY(read_count(tar, input, "tensors", &count));
    for (int64_t i = 0; i < count; i++) {
        LKS_TRY(read_tensor(tar, input));
    }
    return LKS_OK;
}

/* --- the object --------------------------------------------------------------------------------- */

/* A key as text; Python 2 may have put an 'L' behind it. */
static bool parse_key(const lks_value_t *id, int64_t *out)
{
    size_t length;
    const char *text = lks_value_kind(id) == LKS_VALUE_STR ? lks_value_text(id, &length) : "";
    char *end;
    long long key = strtoll(text, &end, 10);
    end += *end == 'L';
    *out = key;
    return *text != '\0' && end == text + length;
}

static lks_status_t find_persistent(void *context, lks_tree_t *tree, lks_value_t *id,
                                    lks_value_t **out)
{
    (void)tree;
    const lks_torch_reader_t *reader = context;
    int64_t key;
    if (is_tuple(id, 3) && lks_value_kind(lks_value_at(id, 0)) == LKS_VALUE_GLOBAL) {
        *out = lks_value_at(id, 0); /* its source text is not kept */
        return LKS_OK;
    }
    if (!parse_key(id, &key)) {
        return lks_fail(LKS_ERR_FORMAT, "a persistent id is neither a key nor (class, source file, "
                                        "source text)");
    }
    return get_key(reader->context, key, out);
}

static lks_status_t read_object(tar_t *tar, const lks_bytes_t *input)
{
    lks_torch_reader_t torch = {.context = tar};
    lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    hooks.persistent = find_persistent;
    size_t used;
    lks_value_t *root;
    LKS_TRY(lks_pickle_read("pickle", input->data + input->at, lks_bytes_left(input), &hooks,
                            tar->tree, &used, &root));
    lks_tree_set_root(tar->tree, root);
    return LKS_OK;
}

/* --- the format --------------------------------------------------------------------------------- */

static bool probe(lks_origin_t *origin)
{
    return origin->source && lks_tar_probe(origin->source->data, origin->source->size);
}

static lks_status_t read_archive(tar_t *tar, const lks_checkpoint_limits_t *limits)
{
    lks_tar_member_t members[MEMBER_COUNT] = {[STORAGES] = {.name = "storages"},
                                              [TENSORS] = {.name = "tensors"},
                                              [OBJECT] = {.name = "pickle"}};
    LKS_TRY(
        lks_tar_find(tar->stream.source->data, tar->stream.source->size, members, MEMBER_COUNT));
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (!members[i].found) {
            return lks_fail(LKS_ERR_FORMAT,
                            "a tar archive without a member '%s': torch.save did not write it",
                            members[i].name);
        }
    }
    LKS_TRY(lks_tree_create_limited(limits, &tar->header));
    LKS_TRY(read_storages(tar, &members[STORAGES].contents));
    LKS_TRY(read_tensors(tar, &members[TENSORS].contents));
    return read_object(tar, &members[OBJECT].contents);
}

static void close_archive(void *state)
{
    tar_t *tar = state;
    lks_stream_fini(&tar->stream);
    free(tar);
}

static lks_status_t open_archive(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                 lks_tree_t *tree, void **state)
{
    tar_t *tar = calloc(1, sizeof *tar);
    if (!tar) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    lks_stream_init(origin->source, tree, &tar->stream);
    tar->tree = tree;
    *state = tar; /* from here on closing frees it */
    lks_status_t status = read_archive(tar, limits);
    lks_tree_destroy(tar->header);
    tar->header = NULL;
    lks_intmap_fini(&tar->keys);
    tar->keys = (lks_intmap_t){0};
    return status;
}

const lks_format_t lks_format_torch_tar = {
    .name = "torch_tar",
    .probe = probe,
    .open = open_archive,
    .close = close_archive,
};
