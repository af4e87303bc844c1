/* SPDX-License-Identifier: Apache-2.0 */
/* zip_storages.c - see zip_storages.h. */
#include "serialize/zip_storages.h"
#include "serialize/check.h"
#include "serialize/crc32.h"
#include "serialize/swap.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { RECORD_UNSEEN, RECORD_GOOD, RECORD_BAD };

/* --- storages ----------------------------------------------------------------------------------- */

static lks_status_t create_storage(lks_zip_storages_t *storages, const lks_zip_view_t *view,
                                   lks_zip_storage_t *item, lks_storage_t **out)
{
    const lks_zip_entry_t *entry = view->entry;
    /* The archive may itself lie anywhere in a file. */
    uintptr_t at = (uintptr_t)storages->source->data + entry->data + view->skip;
    bool misplaced = view->alignment > 1 && at % view->alignment != 0;
    *item = (lks_zip_storage_t){.entry = entry, .skip = view->skip, .nbytes = view->nbytes};
    item->swap = view->swapped ? lks_swap_width(view->dtype) : 1;
    if (entry->size == 0 || (!entry->deflated && item->swap == 1 && !misplaced)) {
        return lks_source_storage(storages->source, (size_t)entry->data + view->skip, view->nbytes,
                                  out);
    }
    if (entry->deflated && entry->size > storages->memory_left) {
        return lks_fail(LKS_ERR_FORMAT, "the deflated records need more than the memory limit");
    }
    LKS_TRY(lks_memory_create((size_t)entry->size, &item->memory));
    storages->memory_left -= entry->deflated ? (size_t)entry->size : 0;
    return lks_memory_storage(item->memory, view->skip, view->nbytes, out);
}

lks_status_t lks_zip_storages_get(lks_zip_storages_t *storages, const lks_zip_view_t *view,
                                  size_t *index)
{
    lks_tree_t *tree = storages->tree;
    size_t *known = &storages->index_of[view->entry - storages->zip->entries];
    if (*known == 0) {
        lks_storage_t *storage;
        lks_zip_storage_t *item = &storages->items[lks_tree_storage_count(tree)];
        LKS_TRY(create_storage(storages, view, item, &storage));
        size_t added = lks_tree_append_storage(tree, storage, view->dtype, view->location);
        lks_storage_release(storage); /* the tree has its own reference */
        LKS_TRY(lks_tree_status(tree));
        *known = storages->count = added + 1;
    }
    *index = *known - 1;
    return LKS_OK;
}

/* --- bytes of a storage ------------------------------------------------------------------------- */

static lks_status_t fill_memory(const lks_zip_t *zip, lks_zip_storage_t *item)
{
    const lks_zip_entry_t *entry = item->entry;
    unsigned char *data = item->memory->data;
    if (entry->deflated) {
        LKS_TRY(lks_zip_inflate(zip, entry, data));
    } else {
        memcpy(data, zip->data + entry->data, (size_t)entry->size);
    }
    atomic_store(&item->crc, lks_crc32(0, data, (size_t)entry->size));
    if (item->swap > 1) {
        lks_swap_bytes(data + item->skip, item->nbytes, item->swap);
    }
    return LKS_OK;
}

static void settle(lks_zip_storage_t *item)
{
    bool good = atomic_load(&item->crc) == item->entry->crc;
    atomic_store(&item->state, good ? RECORD_GOOD : RECORD_BAD);
}

/* Headers that contradict each other are found late, in what was a good archive so far. */
static lks_status_t check_headers(const lks_zip_storages_t *storages, const lks_zip_storage_t *item)
{
    return lks_zip_check(storages->zip, item->entry) == LKS_OK ? LKS_OK : LKS_ERR_CORRUPT;
}

/* What the checksum of a record says, without keeping a byte of it. Two threads may look at one record at once: they
 * find the same. */
static lks_status_t verify(const lks_zip_storages_t *storages, lks_zip_storage_t *item)
{
    uint32_t crc;
    LKS_TRY(check_headers(storages, item));
    LKS_TRY(lks_zip_crc(storages->zip, item->entry, &crc));
    atomic_store(&item->crc, crc);
    settle(item);
    return LKS_OK;
}

/* Puts "'a.pt': tensor 'fc.0.weight' (record data/3) is corrupt" in front, or what is known of that. */
static lks_status_t name_corrupt(const lks_zip_storages_t *storages, const lks_zip_storage_t *item,
                                 const char *name)
{
    const lks_zip_entry_t *entry = item->entry;
    const char *below = entry->name + storages->root_length, *path = storages->source->path;
    int length = (int)(entry->name_length - storages->root_length);
    if (name) {
        return lks_error_prefix(LKS_ERR_CORRUPT, "'%s': tensor '%s' (record %.*s) is corrupt", path,
                                name, length, below);
    }
    return lks_error_prefix(LKS_ERR_CORRUPT, "'%s': record %.*s is corrupt", path, length, below);
}

/* `status` of looking at a record, or what its checksum said then. */
static lks_status_t answer(const lks_zip_storages_t *storages, const lks_zip_storage_t *item,
                           lks_status_t status, const char *name)
{
    if (status == LKS_OK && atomic_load(&item->state) == RECORD_BAD) {
        status = lks_fail(LKS_ERR_CORRUPT, "CRC-32 is %08" PRIx32 ", the archive says %08" PRIx32,
                          atomic_load(&item->crc), item->entry->crc);
    }
    return status == LKS_ERR_CORRUPT ? name_corrupt(storages, item, name) : status;
}

static lks_status_t check_record(void *context, size_t index, const char *name)
{
    lks_zip_storages_t *storages = context;
    lks_zip_storage_t *item = &storages->items[index];
    bool unseen = atomic_load(&item->state) == RECORD_UNSEEN;
    return answer(storages, item, unseen ? verify(storages, item) : LKS_OK, name);
}

/* Done by one thread. A record that is known to be bad is left alone. */
static lks_status_t fill(lks_zip_storages_t *storages, lks_zip_storage_t *item)
{
    if (atomic_load(&item->filled) || atomic_load(&item->state) == RECORD_BAD) {
        return LKS_OK;
    }
    LKS_TRY(check_headers(storages, item));
    LKS_TRY(fill_memory(storages->zip, item));
    settle(item);
    atomic_store(&item->filled, true);
    return LKS_OK;
}

/* Storages that were added to the tree since are none of the archive's. */
static lks_status_t load(void *context, size_t index, const char *name)
{
    lks_zip_storages_t *storages = context;
    if (index >= storages->count) {
        return LKS_OK;
    }
    lks_zip_storage_t *item = &storages->items[index];
    if (!item->memory) {
        return check_record(context, index, name);
    }
    lks_status_t status = LKS_OK;
    if (!atomic_load(&item->filled)) {
        (void)pthread_mutex_lock(&storages->fill);
        status = fill(storages, item);
        (void)pthread_mutex_unlock(&storages->fill);
    }
    return answer(storages, item, status, name);
}

/* Pages of private memory go back to the system; the next load fills them anew. */
static void unload(void *context, size_t index)
{
    lks_zip_storages_t *storages = context;
    lks_zip_storage_t *item = &storages->items[index < storages->count ? index : 0];
    if (index >= storages->count || !item->memory) {
        return;
    }
    (void)pthread_mutex_lock(&storages->fill);
    atomic_store(&item->filled, false);
    (void)madvise(item->memory->data, item->memory->size, MADV_DONTNEED);
    (void)pthread_mutex_unlock(&storages->fill);
}

/* --- many records at once (check.h) -------------------------------------------------------------- */

static size_t count_checks(void *context, size_t *storages)
{
    const lks_zip_storages_t *all = context;
    *storages = all->count;
    return all->record_count;
}

static void get_check(void *context, size_t index, lks_check_t *out)
{
    const lks_zip_storages_t *storages = context;
    const lks_zip_storage_t *item = &storages->items[index];
    const lks_zip_entry_t *entry = item->entry;
    *out = (lks_check_t){.place = entry->header,
                         .nbytes = entry->size,
                         .data = entry->deflated ? NULL : storages->zip->data + entry->data,
                         .known = atomic_load(&item->state) != RECORD_UNSEEN};
}

/* Headers that contradict each other are left for the verdict. */
static void settle_check(void *context, size_t index, uint32_t crc)
{
    lks_zip_storages_t *storages = context;
    lks_zip_storage_t *item = &storages->items[index];
    if (lks_zip_check(storages->zip, item->entry) == LKS_OK) {
        atomic_store(&item->crc, crc);
        settle(item);
    }
}

static const lks_checks_t checks = {
    .count = count_checks, .get = get_check, .settle = settle_check, .verdict = check_record};

void lks_zip_storages_complete(lks_zip_storages_t *storages)
{
    storages->record_count = storages->count;
    for (size_t i = 0; i < storages->zip->count; i++) {
        if (storages->index_of[i] == 0) {
            storages->items[storages->record_count++].entry = &storages->zip->entries[i];
        }
    }
    storages->tree->checks = &checks;
}

/* --- life --------------------------------------------------------------------------------------- */

lks_status_t lks_zip_storages_init(lks_zip_storages_t *storages, lks_source_t *source,
                                   const lks_zip_t *zip, lks_tree_t *tree, size_t memory)
{
    *storages =
        (lks_zip_storages_t){.source = source, .zip = zip, .tree = tree, .memory_left = memory};
    (void)pthread_mutex_init(&storages->fill, NULL);
    storages->items = calloc(zip->count + 1, sizeof *storages->items);
    storages->index_of = calloc(zip->count + 1, sizeof *storages->index_of);
    if (!storages->items || !storages->index_of) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    tree->load = load;
    tree->unload = unload;
    tree->load_context = storages;
    return LKS_OK;
}

void lks_zip_storages_fini(lks_zip_storages_t *storages)
{
    if (!storages->zip) {
        return; /* never begun */
    }
    for (size_t i = 0; storages->items && i < storages->zip->count; i++) {
        lks_memory_release(storages->items[i].memory);
    }
    free(storages->items);
    free(storages->index_of);
    (void)pthread_mutex_destroy(&storages->fill);
}
