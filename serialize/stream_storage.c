/* SPDX-License-Identifier: Apache-2.0 */
/* stream_storage.c - see stream_storage.h. */
#include "serialize/stream_storage.h"
#include "core/checked.h"
#include "core/grow.h"
#include "serialize/memory.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* NULL for a storage that lies in the file, or was put into the tree by others. */
static lks_stream_storage_t *copy_of(lks_stream_t *stream, size_t index)
{
    return index < stream->capacity && stream->items[index].memory ? &stream->items[index] : NULL;
}

static lks_status_t load(void *context, size_t index, const char *name)
{
    (void)name;
    lks_stream_t *stream = context;
    lks_stream_storage_t *item = copy_of(stream, index);
    if (!item || atomic_load(&item->filled)) {
        return LKS_OK;
    }
    (void)pthread_mutex_lock(&stream->fill);
    if (!atomic_load(&item->filled)) {
        memcpy(item->memory, item->bytes, item->nbytes);
        atomic_store(&item->filled, true);
    }
    (void)pthread_mutex_unlock(&stream->fill);
    return LKS_OK;
}

static void unload(void *context, size_t index)
{
    lks_stream_t *stream = context;
    lks_stream_storage_t *item = copy_of(stream, index);
    if (item) {
        (void)pthread_mutex_lock(&stream->fill);
        atomic_store(&item->filled, false);
        (void)madvise(item->memory, item->nbytes, MADV_DONTNEED);
        (void)pthread_mutex_unlock(&stream->fill);
    }
}

void lks_stream_init(lks_source_t *source, lks_tree_t *tree, lks_stream_t *out)
{
    *out = (lks_stream_t){.source = source};
    (void)pthread_mutex_init(&out->fill, NULL);
    tree->load = load;
    tree->unload = unload;
    tree->load_context = out;
    tree->unchecked = true;
}

void lks_stream_fini(lks_stream_t *stream)
{
    free(stream->items);
    (void)pthread_mutex_destroy(&stream->fill);
}

static lks_status_t reserve_item(lks_stream_t *stream, size_t index)
{
    if (index < stream->capacity) {
        return LKS_OK;
    }
    size_t before = stream->capacity;
    lks_stream_storage_t *items =
        lks_grow(stream->items, &stream->capacity, index + 1, sizeof *items);
    if (!items) {
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for %zu storages", index);
    }
    for (size_t i = before; i < stream->capacity; i++) {
        items[i] = (lks_stream_storage_t){0};
    }
    stream->items = items;
    return LKS_OK;
}

static lks_status_t create_storage(lks_stream_t *stream, lks_stream_storage_t *item,
                                   size_t itemsize, lks_storage_t **out)
{
    size_t offset = (size_t)(item->bytes - stream->source->data);
    if (item->nbytes == 0 || (uintptr_t)item->bytes % itemsize == 0) {
        return lks_source_storage(stream->source, offset, item->nbytes, out);
    }
    lks_memory_t *memory;
    LKS_TRY(lks_memory_create(item->nbytes, &memory));
    lks_status_t status = lks_memory_storage(memory, 0, item->nbytes, out);
    item->memory = memory->data;
    lks_memory_release(memory); /* the storage has its own reference */
    return status;
}

lks_status_t lks_stream_take(lks_stream_t *stream, lks_bytes_t *input, size_t itemsize,
                             size_t index, lks_storage_t **out)
{
    size_t at = input->at, nbytes;
    int64_t count = (int64_t)lks_bytes_u64(input);
    size_t left = lks_bytes_left(input);
    if (!input->ok) {
        return lks_fail(LKS_ERR_FORMAT, "a storage at byte %zu wants a count of 8 bytes, %zu left",
                        at, input->size - at);
    }
    if (count < 0 || !lks_mul_size((size_t)count, itemsize, &nbytes) || nbytes > left) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a storage at byte %zu wants %" PRId64 " elements of %zu bytes, %zu bytes "
                        "left",
                        at, count, itemsize, left);
    }
    LKS_TRY(reserve_item(stream, index));
    lks_stream_storage_t *item = &stream->items[index];
    *item = (lks_stream_storage_t){.bytes = lks_bytes_take(input, nbytes), .nbytes = nbytes};
    return create_storage(stream, item, itemsize, out);
}
