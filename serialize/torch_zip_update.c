/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip_update.c - another object over the same storages, in the archive's own file; see torch_zip.h.
 * Only data.pkl is written anew. Storages keep their keys, because their records keep their names. */
#include "serialize/crc32.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_zip.h"
#include "serialize/value_node.h"
#include "serialize/zip_update.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FOLDER "data/" /* of the storages' records */
#define ID_SIZE 40

/* Records that an update leaves behind. The first is written anew, the second if it was there. The others promise that
 * offsets can be worked out from the layout that torch writes; without them torch looks them up. */
static const char *const replaced[] = {
    "data.pkl",
    ".data/serialization_id",
    ".format_version",
    ".storage_alignment",
};

enum { PICKLE, ID, REPLACED = sizeof replaced / sizeof *replaced };

typedef struct update {
    const lks_torch_zip_file_t *file;
    lks_torch_key_t *keys; /* by storage of the new tree */
    bool *drop;            /* by entry of the archive */
    lks_strbuf_t pickle;
    const lks_zip_entry_t *old[REPLACED]; /* NULL: the archive has none */
    char id[ID_SIZE + 1];
} update_t;

/* --- the pickle --------------------------------------------------------------------------------- */

static lks_status_t index_storages(const lks_torch_zip_file_t *file, lks_intmap_t *map)
{
    for (size_t i = 0; i < file->record_count; i++) {
        uintptr_t storage = (uintptr_t)lks_tree_storage(file->tree, i)->storage;
        if (file->records[i] && !lks_intmap_set(map, storage, i)) {
            return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
        }
    }
    return LKS_OK;
}

static lks_torch_key_t key_of(const lks_torch_zip_file_t *file, size_t index)
{
    size_t front = file->root_length + strlen(FOLDER);
    const lks_zip_entry_t *record = file->records[index];
    return (lks_torch_key_t){.text = record->name + front, .length = record->name_length - front};
}

static lks_status_t find_keys(update_t *update, const lks_tree_t *tree)
{
    lks_intmap_t map = {0};
    lks_status_t status = index_storages(update->file, &map);
    for (size_t i = 0; i < lks_tree_storage_count(tree) && status == LKS_OK; i++) {
        size_t index = lks_intmap_get(&map, (uintptr_t)lks_tree_storage(tree, i)->storage);
        if (index != SIZE_MAX) {
            update->keys[i] = key_of(update->file, index);
        } else {
            status = lks_fail(LKS_ERR_UNSUPPORTED,
                              "storage %zu is not one of the file: only a new file can hold it", i);
        }
    }
    lks_intmap_fini(&map);
    return status;
}

static lks_status_t write_pickle(update_t *update, const lks_tree_t *tree)
{
    lks_torch_writer_t torch;
    LKS_TRY(lks_torch_writer_init(tree, &torch));
    torch.keys = update->keys;
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&torch);
    lks_status_t status = lks_pickle_write(lks_tree_root(tree), &hooks, &update->pickle);
    lks_torch_writer_fini(&torch);
    return status;
}

/* --- the archive -------------------------------------------------------------------------------- */

static bool has_name(const lks_torch_zip_file_t *file, const lks_zip_entry_t *entry,
                     const char *name)
{
    size_t length = strlen(name);
    return entry->name_length == file->root_length + length &&
           memcmp(entry->name + file->root_length, name, length) == 0;
}

static void find_replaced(update_t *update)
{
    const lks_zip_t *zip = update->file->zip;
    for (size_t i = 0; i < zip->count; i++) {
        for (size_t j = 0; j < REPLACED; j++) {
            if (has_name(update->file, &zip->entries[i], replaced[j])) {
                update->old[j] = &zip->entries[i];
                update->drop[i] = true;
            }
        }
    }
}

/* As torch_zip_write.c: half for the names, half for what is in the records. */
static void make_id(update_t *update)
{
    const lks_zip_t *zip = update->file->zip;
    uint64_t names = 0, crcs = 0;
    for (size_t i = 0; i < zip->count; i++) {
        const lks_zip_entry_t *entry = &zip->entries[i];
        bool pickle = entry == update->old[PICKLE];
        if (!update->drop[i] || pickle) {
            uint32_t crc =
                pickle ? lks_crc32(0, update->pickle.data, update->pickle.length) : entry->crc;
            names = lks_hash_bytes(names, entry->name, entry->name_length);
            crcs = lks_mix64(crcs + crc + 1);
        }
    }
    (void)snprintf(update->id, sizeof update->id, "%020" PRIu64 "%020" PRIu64, names, crcs);
}

static lks_zip_addition_t replace(const lks_zip_entry_t *old, const void *data, size_t nbytes)
{
    return (lks_zip_addition_t){
        .record = {.name = old->name, .name_length = old->name_length, .size = nbytes},
        .data = data};
}

static lks_status_t write_archive(update_t *update, int fd, bool sync)
{
    find_replaced(update);
    lks_zip_addition_t additions[2];
    additions[PICKLE] = replace(update->old[PICKLE], update->pickle.data, update->pickle.length);
    if (update->old[ID]) {
        make_id(update);
        additions[ID] = replace(update->old[ID], update->id, ID_SIZE);
    }
    const lks_zip_update_t change = {
        .zip = update->file->zip,
        .drop = update->drop,
        .additions = additions,
        .addition_count = update->old[ID] ? 2 : 1,
    };
    return lks_zip_update_file(&change, fd, update->file->path, sync);
}

lks_status_t lks_torch_zip_update(const lks_torch_zip_file_t *file, const lks_tree_t *tree, int fd,
                                  bool sync)
{
    update_t update = {
        .file = file,
        .keys = calloc(lks_tree_storage_count(tree) + 1, sizeof *update.keys),
        .drop = calloc(file->zip->count + 1, sizeof *update.drop),
    };
    lks_status_t status;
    if (!update.keys || !update.drop) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
        goto free_update;
    }
    LKS_GOTO(find_keys(&update, tree), free_update);
    LKS_GOTO(write_pickle(&update, tree), free_update);
    status = write_archive(&update, fd, sync);

free_update:
    free(update.keys);
    free(update.drop);
    lks_strbuf_fini(&update.pickle);
    return status;
}
