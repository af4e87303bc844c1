/* SPDX-License-Identifier: Apache-2.0 */
/* torch_archive.c - finding and reading records; see torch_archive.h. Opening looks at the directory and at the
 * pickles. */
#include "serialize/torch_archive.h"
#include "core/checked.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_MAX 10
#define NAME_BYTES_MAX 1024 /* of a record below the root */

/* --- records ------------------------------------------------------------------------------------ */

/* Pickles name storages in nearly the order in which the archive has their records (0, 1, 10, 100, 101, ...,
 * 11, ...): the wanted one is mostly among the next few. */
static const lks_zip_entry_t *find_near(lks_torch_archive_t *archive, const char *path,
                                        size_t length)
{
    const lks_zip_t *zip = &archive->zip;
    for (size_t i = archive->next; i < zip->count && i < archive->next + 3; i++) {
        const lks_zip_entry_t *entry = &zip->entries[i];
        if (entry->name_length == length && memcmp(entry->name, path, length) == 0) {
            return entry;
        }
    }
    return lks_zip_find(zip, path, length);
}

const lks_zip_entry_t *lks_torch_archive_find(lks_torch_archive_t *archive, const char *folder,
                                              const char *name, size_t name_length)
{
    char path[UINT16_MAX + NAME_BYTES_MAX];
    size_t folder_length = strlen(folder);
    if (name_length > NAME_BYTES_MAX - folder_length) {
        return NULL;
    }
    memcpy(path, archive->root, archive->root_length);
    memcpy(path + archive->root_length, folder, folder_length);
    memcpy(path + archive->root_length + folder_length, name, name_length);
    size_t length = archive->root_length + folder_length + name_length;
    const lks_zip_entry_t *entry = find_near(archive, path, length);
    archive->next = entry ? (size_t)(entry - archive->zip.entries) + 1 : archive->next;
    return entry;
}

/* A record that holds one short word, e.g. "little"; `word` is "" where there is none. */
static lks_status_t read_word(lks_torch_archive_t *archive, const char *name, char *word,
                              size_t size)
{
    word[0] = '\0';
    const lks_zip_entry_t *entry = lks_torch_archive_find(archive, "", name, strlen(name));
    if (!entry) {
        return LKS_OK;
    }
    const unsigned char *data;
    void *owned;
    LKS_TRY(lks_zip_read(&archive->zip, entry, size - 1, &data, &owned));
    size_t length = entry->size < size - 1 ? (size_t)entry->size : size - 1;
    memcpy(word, data, length);
    word[length] = '\0';
    free(owned);
    return LKS_OK;
}

/* The first component of the first name; all others must share it. */
static lks_status_t find_root(lks_torch_archive_t *archive)
{
    const lks_zip_t *zip = &archive->zip;
    const lks_zip_entry_t *first = zip->count > 0 ? &zip->entries[0] : NULL;
    const char *slash = first ? memchr(first->name, '/', first->name_length) : NULL;
    if (!slash) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a zip archive, but its records are in no folder: torch.save "
                        "did not write it");
    }
    archive->root = first->name;
    archive->root_length = (size_t)(slash - first->name) + 1;
    for (size_t i = 0; i < zip->count; i++) {
        const lks_zip_entry_t *entry = &zip->entries[i];
        if (entry->name_length < archive->root_length ||
            memcmp(entry->name, archive->root, archive->root_length) != 0) {
            return lks_fail(LKS_ERR_FORMAT, "record '%.*s' is outside of the folder '%.*s'",
                            LKS_ZIP_NAME(entry),
                            (int)(archive->root_length < 200 ? archive->root_length : 200),
                            archive->root);
        }
    }
    return LKS_OK;
}

static lks_status_t check_version(lks_torch_archive_t *archive)
{
    char word[16];
    LKS_TRY(read_word(archive, "version", word, sizeof word));
    if (word[0] == '\0') {
        LKS_TRY(read_word(archive, ".data/version", word, sizeof word));
    }
    if (word[0] == '\0') {
        return lks_fail(LKS_ERR_FORMAT, "the archive has no record 'version'");
    }
    char *end;
    long version = strtol(word, &end, 10);
    if (end == word || (*end != '\0' && strcmp(end, "\n") != 0) || version < 1) {
        return lks_fail(LKS_ERR_FORMAT, "the record 'version' is no number");
    }
    if (version > VERSION_MAX) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "the archive has version %ld, the newest known is %d",
                        version, VERSION_MAX);
    }
    return LKS_OK;
}

static lks_status_t read_byte_order(lks_torch_archive_t *archive)
{
    char word[16];
    LKS_TRY(read_word(archive, "byteorder", word, sizeof word));
    archive->big_endian = strcmp(word, "big") == 0;
    if (word[0] != '\0' && !archive->big_endian && strcmp(word, "little") != 0) {
        return lks_fail(LKS_ERR_FORMAT, "the record 'byteorder' is neither 'little' nor 'big'");
    }
    return LKS_OK;
}

/* --- storages ----------------------------------------------------------------------------------- */

/* Bytes of the storage, which must be in its record: torch would read whatever lies behind a shorter one. */
static lks_status_t storage_size(const char *folder, const lks_torch_storage_id_t *id,
                                 const lks_zip_entry_t *entry, size_t *out)
{
    size_t nbytes = (size_t)entry->size;
    if (id->itemsize > 0 &&
        (!lks_mul_size((size_t)id->numel, id->itemsize, &nbytes) || nbytes > entry->size)) {
        return lks_fail(
            LKS_ERR_FORMAT,
            "a %s of %" PRId64 " elements does not fit record %s%.*s of %" PRIu64 " bytes",
            id->class_name, id->numel, folder, (int)id->key_length, id->key, entry->size);
    }
    *out = nbytes;
    return LKS_OK;
}

/* lks_torch_reader_t.storage: the first mention of a key decides its type, as in torch. */
static lks_status_t find_storage(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                                 size_t *index)
{
    (void)tree; /* the archive's */
    lks_torch_archive_t *archive = context;
    const lks_zip_entry_t *entry =
        lks_torch_archive_find(archive, archive->folder, id->key, id->key_length);
    if (!entry) {
        return lks_fail(LKS_ERR_FORMAT, "the archive has no record '%s%.*s'", archive->folder,
                        (int)(id->key_length < 200 ? id->key_length : 200), id->key);
    }
    lks_zip_view_t view = {.entry = entry,
                           .dtype = id->dtype,
                           .alignment = id->itemsize,
                           .swapped = archive->big_endian,
                           .location = id->location};
    LKS_TRY(storage_size(archive->folder, id, entry, &view.nbytes));
    return lks_zip_storages_get(&archive->storages, &view, index);
}

/* --- pickles ------------------------------------------------------------------------------------ */

static lks_status_t read_pickle(lks_torch_archive_t *archive, const char *name,
                                const lks_zip_entry_t *entry, lks_torch_create_fn_t create,
                                lks_value_t **out)
{
    const unsigned char *data;
    void *owned;
    LKS_TRY(lks_zip_read(&archive->zip, entry, archive->memory, &data, &owned));
    lks_torch_reader_t torch = {.context = archive, .storage = find_storage, .create = create};
    const lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    size_t used;
    lks_value_t *value;
    lks_status_t status =
        lks_pickle_read(name, data, (size_t)entry->size, &hooks, archive->tree, &used, &value);
    free(owned);
    LKS_TRY(status);
    if (used != entry->size) {
        return lks_fail(LKS_ERR_FORMAT, "%s: %" PRIu64 " bytes follow the end of the pickle", name,
                        entry->size - used);
    }
    *out = value;
    return LKS_OK;
}

lks_status_t lks_torch_archive_read(lks_torch_archive_t *archive, const char *name,
                                    const char *folder, lks_torch_create_fn_t create,
                                    lks_value_t **out)
{
    const lks_zip_entry_t *entry = lks_torch_archive_find(archive, "", name, strlen(name));
    if (!entry) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a zip archive without a record '%s': PyTorch did not write it", name);
    }
    archive->folder = folder;
    return read_pickle(archive, name, entry, create, out);
}

/* --- the archive -------------------------------------------------------------------------------- */

bool lks_torch_archive_probe(lks_origin_t *origin, const char *name)
{
    const lks_zip_t *zip = lks_origin_zip(origin);
    const lks_zip_entry_t *first = zip && zip->count > 0 ? &zip->entries[0] : NULL;
    const char *slash = first ? memchr(first->name, '/', first->name_length) : NULL;
    char path[UINT16_MAX + NAME_BYTES_MAX];
    size_t root_length = slash ? (size_t)(slash - first->name) + 1 : 0, length = strlen(name);
    if (!slash || length > NAME_BYTES_MAX) {
        return false;
    }
    memcpy(path, first->name, root_length);
    memcpy(path + root_length, name, length);
    return lks_zip_find(zip, path, root_length + length) != NULL;
}

lks_status_t lks_torch_archive_list(lks_torch_archive_t *archive)
{
    lks_zip_storages_complete(&archive->storages);
    return lks_zip_records_init(&archive->zip, archive->storages.index_of, archive->root_length,
                                archive->tree, &archive->others);
}

const lks_zip_records_t *lks_torch_archive_records(const void *archive)
{
    return &((const lks_torch_archive_t *)archive)->others;
}

void lks_torch_archive_close(void *state)
{
    lks_torch_archive_t *archive = state;
    lks_zip_storages_fini(&archive->storages);
    lks_zip_records_fini(&archive->others);
    lks_zip_close(&archive->zip);
    free(archive);
}

lks_status_t lks_torch_archive_open(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                    lks_tree_t *tree, void **state)
{
    lks_torch_archive_t *archive = calloc(1, sizeof *archive);
    if (!archive) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    archive->tree = tree;
    archive->memory = limits->memory;
    *state = archive; /* from here on closing frees it */
    LKS_TRY(lks_origin_take_zip(origin, &archive->zip));
    LKS_TRY(lks_zip_storages_init(&archive->storages, origin->source, &archive->zip, tree,
                                  limits->memory));
    LKS_TRY(find_root(archive));
    archive->storages.root_length = archive->root_length;
    LKS_TRY(check_version(archive));
    return read_byte_order(archive);
}
