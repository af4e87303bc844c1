/* SPDX-License-Identifier: Apache-2.0 */
/* dcp.c - reading; see dcp.h.
 * Opening looks at .metadata and into the archives of values and of whole tensors, without touching tensor bytes.
 * Storages come in two kinds: those of the tensors here, in the order of the items, and behind them those that are
 * inside pickled values and are loaded by their archives. */
#include "serialize/dcp.h"
#include "serialize/dcp_archive.h"
#include "serialize/dcp_nest.h"
#include "serialize/format.h"
#include "serialize/memory.h"
#include "serialize/pack.h"
#include "serialize/parts.h"
#include "serialize/value_copy.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LOCK_COUNT 16

/* The storage of a tensor. */
typedef struct storage {
    const lks_dcp_item_t *item;
    unsigned char *memory; /* to be filled; NULL: in the map */
    _Atomic bool loaded;
} storage_t;

typedef struct directory {
    lks_tree_t *tree;
    lks_checkpoint_limits_t limits; /* memory: what is left of it for the archives of values */
    lks_dcp_metadata_t metadata;
    lks_source_t **sources; /* by file of the metadata */
    storage_t *storages;    /* by storage of the tree, the first `count` */
    size_t count;
    lks_parts_t parts;
    pthread_mutex_t locks[LOCK_COUNT]; /* of storage i: i modulo their number */
} directory_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
}

/* "<directory>/<name>" as a source. */
static lks_status_t open_file(const char *directory, const char *name, lks_source_t **out)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);
    if (length < 0 || (size_t)length >= sizeof path) {
        return lks_fail(LKS_ERR_IO, "the path of '%.200s' is too long", name);
    }
    return lks_source_open(path, out);
}

/* --- loading ------------------------------------------------------------------------------------ */

static lks_status_t load_chunks(const directory_t *directory, const storage_t *storage,
                                const char *name)
{
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < storage->item->count && status == LKS_OK; i++) {
        const lks_dcp_chunk_t *chunk = &storage->item->chunks[i];
        lks_checkpoint_t *archive;
        status = lks_dcp_archive_open(directory->sources[chunk->file], chunk, &directory->limits,
                                      &archive);
        if (status == LKS_OK) {
            status = lks_dcp_archive_load(archive, storage->item, chunk, storage->memory, name);
            lks_checkpoint_close(archive);
        }
    }
    return status == LKS_OK ? LKS_OK
                            : lks_error_prefix(status, "item '%.200s'", storage->item->name);
}

/* Two threads may verify one storage at once: they find the same. Filling memory is done by one. */
static lks_status_t load(void *context, size_t index, const char *name)
{
    directory_t *directory = context;
    if (index >= directory->count) {
        return lks_parts_load(&directory->parts, index, name);
    }
    storage_t *storage = &directory->storages[index];
    if (atomic_load(&storage->loaded)) {
        return LKS_OK;
    }
    pthread_mutex_t *lock = storage->memory ? &directory->locks[index % LOCK_COUNT] : NULL;
    lks_status_t status = LKS_OK;
    if (lock) {
        (void)pthread_mutex_lock(lock);
    }
    if (!atomic_load(&storage->loaded)) {
        status = load_chunks(directory, storage, name ? name : storage->item->name);
        atomic_store(&storage->loaded, status == LKS_OK);
    }
    if (lock) {
        (void)pthread_mutex_unlock(lock);
    }
    return status;
}

static void unload(void *context, size_t index)
{
    directory_t *directory = context;
    if (index >= directory->count) {
        lks_parts_unload(&directory->parts, index);
        return;
    }
    storage_t *storage = &directory->storages[index];
    if (storage->memory) {
        pthread_mutex_t *lock = &directory->locks[index % LOCK_COUNT];
        (void)pthread_mutex_lock(lock);
        (void)madvise(storage->memory, storage->item->nbytes, MADV_DONTNEED);
        atomic_store(&storage->loaded, false);
        (void)pthread_mutex_unlock(lock);
    }
}

/* --- tensors ------------------------------------------------------------------------------------ */

/* The storage of a tensor that is one piece of the mapped file; *out stays NULL if it is not. */
static lks_status_t map_tensor(lks_source_t *source, const lks_dcp_item_t *item,
                               const lks_tree_t *tree, const lks_value_tensor_t *tensor,
                               lks_storage_t **out)
{
    const unsigned char *data = lks_storage_data(lks_tree_storage(tree, tensor->storage)->storage);
    uintptr_t at = (uintptr_t)data, start = (uintptr_t)source->data;
    if (!lks_tensor_is_packed(tensor) || at < start || at - start >= source->size) {
        return LKS_OK;
    }
    size_t offset = at - start + (size_t)tensor->offset * lks_dtype_size(item->dtype);
    return lks_source_storage(source, offset, item->nbytes, out);
}

static lks_status_t fill_later(const lks_dcp_item_t *item, storage_t *storage, lks_storage_t **out)
{
    lks_memory_t *memory;
    LKS_TRY(lks_memory_create(item->nbytes, &memory));
    lks_status_t status = lks_memory_storage(memory, 0, item->nbytes, out);
    storage->memory = item->nbytes > 0 ? memory->data : NULL;
    lks_memory_release(memory); /* the storage has its own reference */
    return status;
}

/* Adds the storage to the tree, which takes it over, and a tensor in C order over it. */
static lks_status_t add_tensor(directory_t *directory, const lks_dcp_item_t *item,
                               lks_storage_t *storage, lks_value_tensor_t tensor, lks_value_t **out)
{
    lks_tree_t *tree = directory->tree;
    int64_t *stride = lks_arena_alloc(&directory->metadata.arena,
                                      (size_t)item->ndim * sizeof *stride, _Alignof(int64_t));
    tensor.storage = stride ? lks_tree_append_storage(tree, storage, item->dtype, "cpu") : 0;
    lks_storage_release(storage);
    if (!stride) {
        return no_memory();
    }
    LKS_TRY(lks_tree_status(tree));
    directory->count++;
    lks_shape_contiguous_stride(item->ndim, item->size, stride);
    tensor.dtype = item->dtype;
    tensor.ndim = item->ndim;
    tensor.offset = 0;
    tensor.shape = item->size;
    tensor.stride = stride;
    tensor.requires_grad |= item->requires_grad;
    *out = lks_value_tensor_new(tree, &tensor);
    return lks_tree_status(tree);
}

/* Of several chunks, or none. */
static lks_status_t read_pieces(directory_t *directory, const lks_dcp_item_t *item,
                                lks_value_t **out)
{
    lks_storage_t *storage;
    LKS_TRY(fill_later(item, &directory->storages[directory->count], &storage));
    return add_tensor(directory, item, storage, (lks_value_tensor_t){0}, out);
}

/* Of one chunk. *out stays NULL if the tensor is not only elements. */
static lks_status_t read_whole(directory_t *directory, const lks_dcp_item_t *item,
                               const lks_checkpoint_t *archive, lks_value_t **out)
{
    const lks_value_t *root;
    LKS_TRY(lks_dcp_archive_tensor(archive, item, item->chunks, &root));
    if (!lks_dcp_is_plain(root)) {
        return LKS_OK;
    }
    lks_storage_t *storage = NULL;
    LKS_TRY(map_tensor(directory->sources[item->chunks->file], item, lks_checkpoint_tree(archive),
                       lks_value_tensor(root), &storage));
    if (!storage) {
        LKS_TRY(fill_later(item, &directory->storages[directory->count], &storage));
    }
    return add_tensor(directory, item, storage, *lks_value_tensor(root), out);
}

static lks_status_t read_tensor(directory_t *directory, const lks_dcp_item_t *item,
                                lks_value_t **out)
{
    directory->storages[directory->count].item = item;
    if (item->count != 1) {
        return read_pieces(directory, item, out);
    }
    lks_checkpoint_t *archive;
    LKS_TRY(lks_dcp_archive_open(directory->sources[item->chunks->file], item->chunks,
                                 &directory->limits, &archive));
    lks_status_t status = read_whole(directory, item, archive, out);
    lks_checkpoint_close(archive);
    return status;
}

/* --- values ------------------------------------------------------------------------------------- */

/* An archive that the copied value has no bytes of is not needed any more. */
static lks_status_t graft(directory_t *directory, lks_checkpoint_t *archive, lks_value_t **out)
{
    const lks_tree_t *from = lks_checkpoint_tree(archive);
    size_t part;
    if (lks_tree_storage_count(from) == 0) {
        *out = lks_tree_graft(directory->tree, from, lks_tree_root(from), NULL);
        lks_checkpoint_close(archive);
        return lks_tree_status(directory->tree);
    }
    size_t used = from->arena.used, *left = &directory->limits.memory;
    *left = used < *left ? *left - used : 1; /* 0 would be no limit */
    LKS_TRY(lks_parts_add(&directory->parts, archive, &part));
    return lks_parts_graft(&directory->parts, part, lks_tree_root(from), out);
}

static lks_status_t read_value(directory_t *directory, const lks_dcp_item_t *item,
                               lks_value_t **out)
{
    lks_checkpoint_t *archive;
    LKS_TRY(lks_dcp_archive_open(directory->sources[item->chunks->file], item->chunks,
                                 &directory->limits, &archive));
    return graft(directory, archive, out);
}

/* Tensors first, so that their storages are the first ones. */
static lks_status_t read_values(directory_t *directory, lks_value_t **values)
{
    const lks_dcp_metadata_t *metadata = &directory->metadata;
    for (size_t i = 0; i < 2 * metadata->count; i++) {
        const lks_dcp_item_t *item = &metadata->items[i % metadata->count];
        lks_value_t **value = &values[i % metadata->count];
        lks_status_t status = LKS_OK;
        if (i < metadata->count && item->is_tensor) {
            status = read_tensor(directory, item, value);
        } else if (i >= metadata->count && !*value) {
            status = read_value(directory, item, value);
        }
        if (status != LKS_OK) {
            return lks_error_prefix(status, "item '%.200s'", item->name);
        }
    }
    return LKS_OK;
}

/* --- the format --------------------------------------------------------------------------------- */

static bool probe(lks_origin_t *origin)
{
    return lks_origin_has_entry(origin, LKS_DCP_METADATA) ||
           lks_origin_has_entry(origin, "__0.metadata");
}

static void close_directory(void *state)
{
    directory_t *directory = state;
    lks_parts_fini(&directory->parts);
    for (size_t i = 0; directory->sources && i < directory->metadata.file_count; i++) {
        lks_source_release(directory->sources[i]);
    }
    for (size_t i = 0; i < LOCK_COUNT; i++) {
        (void)pthread_mutex_destroy(&directory->locks[i]);
    }
    lks_dcp_metadata_fini(&directory->metadata);
    free(directory->sources);
    free(directory->storages);
    free(directory);
}

static lks_status_t check_range(const lks_dcp_chunk_t *chunk, const lks_source_t *source)
{
    if (chunk->start > source->size || chunk->nbytes > source->size - chunk->start) {
        return lks_fail(LKS_ERR_FORMAT,
                        "its %zu bytes from byte %zu on are not all in '%s', which has %zu",
                        chunk->nbytes, chunk->start, source->path, source->size);
    }
    return LKS_OK;
}

/* Newer versions of torch can be told to write the tensors of a file as safetensors. */
static lks_status_t check_kind(const lks_source_t *source)
{
    if (source->size > 10 && memcmp(source->data + 8, "{\"", 2) == 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "'%s' is a safetensors file, which this version does "
                        "not read as part of a distributed checkpoint",
                        source->path);
    }
    return LKS_OK;
}

/* Maps the files that an item lies in, as far as they are not yet. */
static lks_status_t open_files_of(directory_t *directory, lks_origin_t *origin,
                                  const lks_dcp_item_t *item)
{
    for (size_t i = 0; i < item->count; i++) {
        const lks_dcp_chunk_t *chunk = &item->chunks[i];
        lks_source_t **source = &directory->sources[chunk->file];
        if (!*source) {
            LKS_TRY(open_file(origin->path, directory->metadata.files[chunk->file], source));
            origin->nbytes += (*source)->size;
            LKS_TRY(check_kind(*source));
        }
        LKS_TRY(check_range(chunk, *source));
    }
    return LKS_OK;
}

static lks_status_t open_files(directory_t *directory, lks_origin_t *origin)
{
    const lks_dcp_metadata_t *metadata = &directory->metadata;
    directory->sources = calloc(metadata->file_count + 1, sizeof(lks_source_t *));
    directory->storages = calloc(metadata->count + 1, sizeof *directory->storages);
    if (!directory->sources || !directory->storages) {
        return no_memory();
    }
    for (size_t i = 0; i < metadata->count; i++) {
        lks_status_t status = open_files_of(directory, origin, &metadata->items[i]);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "item '%.200s'", metadata->items[i].name);
        }
    }
    return LKS_OK;
}

/* The tree of .metadata is needed until the items are in the tree of the checkpoint. */
static lks_status_t read_directory(directory_t *directory, lks_origin_t *origin,
                                   const lks_source_t *source, lks_tree_t *scratch)
{
    lks_dcp_metadata_t *metadata = &directory->metadata;
    LKS_TRY(lks_dcp_metadata_read(source, &directory->limits, scratch, metadata));
    LKS_TRY(open_files(directory, origin));
    lks_value_t **values = calloc(metadata->count + 1, sizeof(lks_value_t *)), *root;
    if (!values) {
        return no_memory();
    }
    lks_status_t status = read_values(directory, values);
    status = status == LKS_OK ? lks_dcp_nest(directory->tree, metadata, values, &root) : status;
    free(values);
    LKS_TRY(status);
    lks_tree_set_root(directory->tree, root);
    return LKS_OK;
}

static lks_status_t open_metadata(const lks_origin_t *origin, lks_source_t **out)
{
    if (!lks_origin_has_entry(origin, LKS_DCP_METADATA)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "a distributed checkpoint whose ranks wrote metadata of "
                        "their own ('__0.metadata'), which this version does "
                        "not read");
    }
    return open_file(origin->path, LKS_DCP_METADATA, out);
}

static lks_status_t open_directory(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                   lks_tree_t *tree, void **state)
{
    directory_t *directory = calloc(1, sizeof *directory);
    if (!directory) {
        return no_memory();
    }
    directory->tree = tree;
    directory->limits = *limits;
    for (size_t i = 0; i < LOCK_COUNT; i++) {
        (void)pthread_mutex_init(&directory->locks[i], NULL);
    }
    lks_parts_init(tree, &directory->parts);
    tree->load = load;
    tree->unload = unload;
    tree->load_context = directory;
    *state = directory; /* from here on closing frees it */

    lks_source_t *source;
    lks_tree_t *scratch;
    LKS_TRY(open_metadata(origin, &source));
    origin->nbytes = source->size;
    lks_status_t status = lks_tree_create_limited(limits, &scratch);
    if (status == LKS_OK) {
        status = read_directory(directory, origin, source, scratch);
        lks_tree_destroy(scratch);
    }
    lks_source_release(source);
    return status;
}

const lks_format_t lks_format_dcp = {
    .name = "dcp",
    .probe = probe,
    .open = open_directory,
    .close = close_directory,
    .save_folder = lks_dcp_save,
    .is_part = lks_dcp_is_part,
};
