/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.c - reading; see safetensors.h.
 * A tensor is a storage in the mapped file. Where the data begin is up to the header's length, which older writers did
 * not round up: a tensor that is not aligned to its elements becomes a storage in private memory, which is filled when
 * it is wanted and given back, page by page, when nobody looks at it any more. */
#include "serialize/safetensors.h"
#include "core/checked.h"
#include "serialize/memory.h"
#include "serialize/safetensors_header.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLANKS_MAX 4096 /* before the brace of a header that is recognized */

/* A storage that lies in memory. */
typedef struct copy {
    const unsigned char *from;
    unsigned char *to; /* NULL: it lies in the file */
    bool filled;
} copy_t;

typedef struct file {
    lks_source_t *source;
    lks_tree_t *tree;
    lks_safetensors_header_t header; /* storages are numbered as its entries */
    lks_memory_t *memory;            /* of all copies; NULL: there are none */
    copy_t *copies;                  /* by entry */
    pthread_mutex_t fill;
} file_t;

/* --- copies ------------------------------------------------------------------------------------- */

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static bool is_aligned(const file_t *file, const lks_safetensors_entry_t *entry)
{
    size_t itemsize = lks_dtype_size(entry->dtype->dtype);
    uintptr_t place = (uintptr_t)file->source->data + file->header.data + entry->begin;
    return entry->begin == entry->end || itemsize == 3 || place % itemsize == 0;
}

/* Pages of its own for each copy, so that it can be given back. */
static size_t copy_size(const lks_safetensors_entry_t *entry)
{
    return (entry->end - entry->begin + page_size() - 1) & ~(page_size() - 1);
}

static lks_status_t create_memory(file_t *file)
{
    size_t size = 0;
    bool fits = true;
    for (size_t i = 0; i < file->header.count && fits; i++) {
        const lks_safetensors_entry_t *entry = &file->header.entries[i];
        fits = is_aligned(file, entry) || lks_add_size(size, copy_size(entry), &size);
    }
    if (!fits) {
        return lks_fail(LKS_ERR_NO_MEMORY, "the tensors exceed the address space");
    }
    if (size == 0) {
        return LKS_OK;
    }
    file->copies = calloc(file->header.count, sizeof *file->copies);
    if (!file->copies) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    LKS_TRY(lks_memory_create(size, &file->memory));
    /* A huge page is not given back until all copies in it are. */
    (void)madvise(file->memory->data, size, MADV_NOHUGEPAGE);
    return LKS_OK;
}

/* NULL for a storage that lies in the file, or was put into the tree by others. */
static copy_t *copy_of(file_t *file, size_t index)
{
    return index < file->header.count && file->copies[index].to ? &file->copies[index] : NULL;
}

static lks_status_t load_copy(void *context, size_t index, const char *name)
{
    (void)name;
    file_t *file = context;
    copy_t *copy = copy_of(file, index);
    if (copy) {
        const lks_safetensors_entry_t *entry = &file->header.entries[index];
        (void)pthread_mutex_lock(&file->fill);
        if (!copy->filled) {
            memcpy(copy->to, copy->from, entry->end - entry->begin);
            copy->filled = true;
        }
        (void)pthread_mutex_unlock(&file->fill);
    }
    return LKS_OK;
}

static void unload_copy(void *context, size_t index)
{
    file_t *file = context;
    copy_t *copy = copy_of(file, index);
    if (copy) {
        (void)pthread_mutex_lock(&file->fill);
        (void)madvise(copy->to, copy_size(&file->header.entries[index]), MADV_DONTNEED);
        copy->filled = false;
        (void)pthread_mutex_unlock(&file->fill);
    }
}

/* --- the tree ----------------------------------------------------------------------------------- */

/* `*used` is what the copies before it take of the memory. */
static lks_status_t create_storage(file_t *file, size_t index, size_t *used, lks_storage_t **out)
{
    const lks_safetensors_entry_t *entry = &file->header.entries[index];
    size_t place = file->header.data + entry->begin, nbytes = entry->end - entry->begin;
    if (is_aligned(file, entry)) {
        return lks_source_storage(file->source, place, nbytes, out);
    }
    LKS_TRY(lks_memory_storage(file->memory, *used, nbytes, out));
    file->copies[index].from = file->source->data + place;
    file->copies[index].to = file->memory->data + *used;
    *used += copy_size(entry);
    return LKS_OK;
}

static lks_status_t add_tensor(file_t *file, size_t index, size_t *used, lks_value_t *dict)
{
    const lks_safetensors_entry_t *entry = &file->header.entries[index];
    lks_tree_t *tree = file->tree;
    lks_storage_t *storage;
    LKS_TRY(create_storage(file, index, used, &storage));
    size_t number = lks_tree_append_storage(tree, storage, entry->dtype->dtype, "cpu");
    lks_storage_release(storage); /* the tree has its own reference */
    LKS_TRY(lks_tree_status(tree));
    const lks_value_tensor_t tensor = {.storage = number,
                                       .dtype = entry->dtype->dtype,
                                       .ndim = entry->ndim,
                                       .shape = entry->shape,
                                       .stride = entry->shape + entry->ndim};
    lks_value_set(tree, dict, entry->name, lks_tensor_node_create(tree, &tensor));
    LKS_TRY(lks_tree_status(tree));
    return lks_value_count(dict) == index + 1 ? LKS_OK : lks_safetensors_fail_twice(entry->name);
}

static lks_status_t build_tree(file_t *file)
{
    lks_tree_t *tree = file->tree;
    lks_value_t *dict = lks_value_ordered_dict(tree);
    size_t used = 0;
    for (size_t i = 0; i < file->header.count; i++) {
        LKS_TRY(add_tensor(file, i, &used, dict));
    }
    lks_value_t *attributes = lks_value_dict(tree);
    lks_value_t *metadata = file->header.metadata ? file->header.metadata : lks_value_dict(tree);
    lks_value_set_str(tree, attributes, LKS_SAFETENSORS_METADATA, metadata);
    lks_value_dict_set_attributes(tree, dict, attributes);
    lks_tree_set_root(tree, dict);
    return lks_tree_status(tree);
}

/* --- the format --------------------------------------------------------------------------------- */

static bool is_blank(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* A length below 2^56, and the beginning of an object. */
static bool probe(lks_origin_t *origin)
{
    const lks_source_t *source = origin->source;
    if (!source || source->size < 10 || source->data[7] != 0) {
        return false;
    }
    size_t end = source->size < BLANKS_MAX ? source->size : BLANKS_MAX, at = 8;
    while (at < end && is_blank(source->data[at])) {
        at++;
    }
    if (at == end || source->data[at++] != '{') {
        return false;
    }
    while (at < end && is_blank(source->data[at])) {
        at++;
    }
    return at < end && (source->data[at] == '"' || source->data[at] == '}');
}

static void close_file(void *state)
{
    file_t *file = state;
    lks_safetensors_header_fini(&file->header);
    lks_memory_release(file->memory);
    free(file->copies);
    (void)pthread_mutex_destroy(&file->fill);
    free(file);
}

static lks_status_t open_file(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                              lks_tree_t *tree, void **state)
{
    file_t *file = calloc(1, sizeof *file);
    if (!file) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    file->source = origin->source;
    file->tree = tree;
    (void)pthread_mutex_init(&file->fill, NULL);
    *state = file; /* from here on closing frees it */
    LKS_TRY(lks_safetensors_header_read(file->source, limits, tree, &file->header));
    LKS_TRY(create_memory(file));
    tree->unchecked = true;
    if (file->memory) {
        tree->load = load_copy;
        tree->unload = unload_copy;
        tree->load_context = file;
    }
    return build_tree(file);
}

const lks_format_t lks_format_safetensors = {
    .name = "safetensors",
    .probe = probe,
    .open = open_file,
    .close = close_file,
    .save = lks_safetensors_save,
};
