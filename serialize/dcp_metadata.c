/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_metadata.c - see dcp_metadata.h. */
#include "serialize/dcp_metadata.h"
#include "core/checked.h"
#include "serialize/dcp_chunk.h"
#include "serialize/dcp_fields.h"
#include "serialize/dcp_places.h"
#include "serialize/pickle_read.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <string.h>

typedef struct reader {
    lks_dcp_metadata_t *out;
    lks_dcp_places_t places;
} reader_t;

/* --- state_dict_metadata: what there is --------------------------------------------------------- */

static lks_status_t find_place(reader_t *reader, const lks_dcp_item_t *item, int ndim,
                               const int64_t *offsets, lks_dcp_chunk_t *chunk)
{
    size_t length;
    const char *name = lks_value_text(item->key, &length);
    const lks_dcp_place_t *place =
        lks_dcp_places_find(&reader->places, name, length, ndim, offsets);
    if (!place) {
        return lks_fail(LKS_ERR_FORMAT, "storage_data does not say where %s lies",
                        item->is_tensor ? "one of its chunks" : "it");
    }
    chunk->file = place->file;
    chunk->start = place->start;
    chunk->nbytes = place->nbytes;
    return LKS_OK;
}

/* (dtype, layout, requires_grad, memory format, pin_memory) */
static lks_status_t read_properties(const lks_value_t *properties, lks_dcp_item_t *item)
{
    const lks_value_t *state = lks_value_object_state(properties);
    const char *dtype = lks_value_class_name(lks_value_at(state, 0));
    const lks_value_t *layout = lks_value_object_arguments(lks_value_at(state, 1));
    const char *strides = lks_dcp_text(lks_value_at(layout, 0), NULL);
    if (!lks_dcp_is(properties, "TensorProperties") || !dtype || state->kind != LKS_VALUE_TUPLE ||
        lks_value_get_bool(lks_value_at(state, 2), &item->requires_grad) != LKS_OK) {
        return lks_fail(LKS_ERR_FORMAT, "it has no TensorProperties");
    }
    if (strides && strcmp(strides, "torch.strided") != 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "its layout is '%.100s', only strided tensors are read", strides);
    }
    if (strncmp(dtype, "torch.", 6) != 0 ||
        lks_dtype_from_name(dtype + 6, &item->dtype) != LKS_OK) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "its dtype is '%.100s'", dtype);
    }
    return LKS_OK;
}

static bool is_empty(int ndim, const int64_t *sizes)
{
    for (int i = 0; i < ndim; i++) {
        if (sizes[i] == 0) {
            return true;
        }
    }
    return false;
}

/* Chunks without elements, which ranks without a part of the tensor have, are left out. */
static lks_status_t read_chunk(reader_t *reader, const lks_value_t *value, lks_dcp_item_t *item)
{
    int noffsets, nsizes;
    lks_dcp_chunk_t *chunk = &item->chunks[item->count];
    if (!lks_dcp_is(value, "ChunkStorageMetadata")) {
        return lks_fail(LKS_ERR_FORMAT, "one of its chunks is no ChunkStorageMetadata");
    }
    LKS_TRY(lks_dcp_get_numbers(&reader->out->arena, lks_dcp_field(value, "offsets"), "chunk",
                                &noffsets, &chunk->offsets));
    LKS_TRY(lks_dcp_get_numbers(&reader->out->arena, lks_dcp_field(value, "sizes"), "chunk",
                                &nsizes, &chunk->sizes));
    if (noffsets != item->ndim || nsizes != item->ndim) {
        return lks_fail(LKS_ERR_FORMAT, "one of its chunks has %d dimensions, the tensor has %d",
                        noffsets != item->ndim ? noffsets : nsizes, item->ndim);
    }
    if (is_empty(nsizes, chunk->sizes)) {
        return LKS_OK;
    }
    LKS_TRY(find_place(reader, item, item->ndim, chunk->offsets, chunk));
    item->count++;
    return LKS_OK;
}

static lks_status_t read_chunks(reader_t *reader, const lks_value_t *chunks, lks_dcp_item_t *item)
{
    size_t count = lks_value_count(chunks);
    if (!chunks || chunks->kind != LKS_VALUE_LIST) {
        return lks_fail(LKS_ERR_FORMAT, "its chunks are no list");
    }
    item->chunks = lks_dcp_alloc(&reader->out->arena, count, sizeof *item->chunks);
    if (!item->chunks) {
        return lks_dcp_no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(read_chunk(reader, lks_value_at(chunks, i), item));
    }
    return lks_dcp_check_tiles(item);
}

/* Torch stores what is claimed, uncompressed. */
static lks_status_t check_claims(const lks_dcp_item_t *item)
{
    for (size_t i = 0; i < item->count; i++) {
        const lks_dcp_chunk_t *chunk = &item->chunks[i];
        int64_t numel;
        LKS_TRY(lks_shape_numel(item->ndim, chunk->sizes, &numel));
        if ((size_t)numel > chunk->nbytes / lks_dtype_size(item->dtype)) {
            return lks_fail(LKS_ERR_FORMAT,
                            "a chunk of %" PRId64 " elements of %s does not fit its %zu bytes",
                            numel, lks_dtype_name(item->dtype), chunk->nbytes);
        }
    }
    return LKS_OK;
}

static lks_status_t read_tensor(reader_t *reader, const lks_value_t *value, lks_dcp_item_t *item)
{
    int64_t numel;
    LKS_TRY(read_properties(lks_dcp_field(value, "properties"), item));
    LKS_TRY(lks_dcp_get_numbers(&reader->out->arena, lks_dcp_field(value, "size"), "size",
                                &item->ndim, &item->size));
    LKS_TRY(lks_shape_numel(item->ndim, item->size, &numel));
    if (!lks_mul_size((size_t)numel, lks_dtype_size(item->dtype), &item->nbytes)) {
        return lks_fail(LKS_ERR_FORMAT, "its elements do not fit any memory");
    }
    LKS_TRY(read_chunks(reader, lks_dcp_field(value, "chunks"), item));
    return check_claims(item);
}

static lks_status_t read_value(reader_t *reader, lks_dcp_item_t *item)
{
    item->chunks = lks_dcp_alloc(&reader->out->arena, 1, sizeof *item->chunks);
    if (!item->chunks) {
        return lks_dcp_no_memory();
    }
    item->count = 1;
    return find_place(reader, item, -1, NULL, item->chunks);
}

static lks_status_t read_item(reader_t *reader, const lks_value_t *value, lks_dcp_item_t *item)
{
    item->is_tensor = lks_dcp_is(value, "TensorStorageMetadata");
    if (item->is_tensor) {
        return read_tensor(reader, value, item);
    }
    if (lks_dcp_is(value, "BytesStorageMetadata")) {
        return read_value(reader, item);
    }
    return lks_fail(LKS_ERR_FORMAT, "its metadata is of no known class");
}

static lks_status_t name_item(reader_t *reader, const lks_value_t *key, lks_dcp_item_t *item)
{
    size_t length;
    const char *name = lks_dcp_text(key, &length);
    if (!name) {
        return lks_fail(LKS_ERR_FORMAT, "the name of an item is no str");
    }
    item->key = key;
    item->path = lks_dict_find(reader->out->paths, key);
    item->name = lks_arena_copy_text(&reader->out->arena, name, length);
    return item->name ? LKS_OK : lks_dcp_no_memory();
}

static lks_status_t read_items(reader_t *reader, const lks_value_t *dict)
{
    lks_dcp_metadata_t *out = reader->out;
    size_t count = lks_value_count(dict);
    if (!dict || dict->kind != LKS_VALUE_DICT) {
        return lks_fail(LKS_ERR_FORMAT, "its state_dict_metadata is no dict");
    }
    out->items = lks_dcp_alloc(&reader->out->arena, count, sizeof *out->items);
    if (!out->items) {
        return lks_dcp_no_memory();
    }
    for (out->count = 0; out->count < count; out->count++) {
        lks_dcp_item_t *item = &out->items[out->count];
        LKS_TRY(name_item(reader, lks_value_key_at(dict, out->count), item));
        lks_status_t status = read_item(reader, lks_value_at(dict, out->count), item);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "item '%.200s'", item->name);
        }
    }
    return LKS_OK;
}

/* --- the file ----------------------------------------------------------------------------------- */

static lks_status_t interpret(const lks_value_t *root, lks_dcp_metadata_t *out)
{
    if (!lks_dcp_is(root, "Metadata")) {
        return lks_fail(LKS_ERR_FORMAT, "it holds no Metadata of torch.distributed.checkpoint");
    }
    const lks_value_t *paths = lks_dcp_field(root, "planner_data");
    out->paths = paths && paths->kind == LKS_VALUE_DICT ? paths : NULL;
    reader_t reader = {.out = out};
    lks_dcp_places_t *places = &reader.places;
    lks_status_t status =
        lks_dcp_places_read(lks_dcp_field(root, "storage_data"), &out->arena, places);
    out->files = places->files;
    out->file_count = places->file_count;
    if (status == LKS_OK) {
        status = read_items(&reader, lks_dcp_field(root, "state_dict_metadata"));
    }
    if (status == LKS_OK) {
        status = lks_dcp_places_check_apart(places);
    }
    lks_dcp_places_fini(places);
    return status;
}

lks_status_t lks_dcp_metadata_read(const lks_source_t *source,
                                   const lks_checkpoint_limits_t *limits, lks_tree_t *tree,
                                   lks_dcp_metadata_t *out)
{
    *out = (lks_dcp_metadata_t){0};
    lks_arena_init(&out->arena, 0, limits->memory);
    size_t used;
    lks_value_t *root;
    const lks_pickle_hooks_t no_hooks = {0};
    LKS_TRY(
        lks_pickle_read(".metadata", source->data, source->size, &no_hooks, tree, &used, &root));
    lks_status_t status = interpret(root, out);
    return status == LKS_OK ? LKS_OK : lks_error_prefix(status, ".metadata");
}

void lks_dcp_metadata_fini(lks_dcp_metadata_t *metadata)
{
    lks_arena_fini(&metadata->arena);
    *metadata = (lks_dcp_metadata_t){0};
}
