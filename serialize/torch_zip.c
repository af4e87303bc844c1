/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip.c - reading; see torch_zip.h.
 * Opening looks at the directory and at data.pkl. A stored record becomes a storage in the mapped file, and its
 * checksum is verified when its bytes are first wanted. A record that is deflated, big-endian or not aligned to
 * its elements becomes a storage in anonymous memory, which is filled then. */
#include "serialize/torch_zip.h"
#include "core/checked.h"
#include "serialize/crc32.h"
#include "serialize/format.h"
#include "serialize/pickle_torch.h"
#include "serialize/value_node.h"
#include "serialize/zip_read.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define VERSION_MAX 10
#define NAME_BYTES_MAX 1024 /* of a record below the root */

enum { RECORD_UNSEEN, RECORD_GOOD, RECORD_BAD };

/* The record behind a storage of the tree. */
typedef struct record {
    const lks_zip_entry_t *entry;
    unsigned char *memory; /* to be filled; NULL: in the map */
    _Atomic int state;
    _Atomic uint32_t crc; /* found, where the state is bad */
} record_t;

typedef struct archive {
    lks_source_t *source;
    lks_zip_t zip;
    const char *root; /* with its slash; in the map */
    size_t root_length;
    size_t next; /* entry behind the one found last */
    lks_tree_t *tree;
    record_t *records;  /* by storage of the tree; room for one per entry */
    size_t *storage_of; /* by entry of the zip: index of the storage plus 1 */
    bool big_endian;
    size_t memory_left; /* of the limit, for inflated storages */
    pthread_mutex_t fill;
} archive_t;

/* --- records ------------------------------------------------------------------------------------ */

/* Pickles name storages in nearly the order in which the archive has their records (0, 1, 10, 100, 101, ...,
 * 11, ...): the wanted one is mostly among the next few. */
static const lks_zip_entry_t *find_near(archive_t *archive, const char *path, size_t length)
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

/* The record "<root>/<folder><name>", or NULL. */
static const lks_zip_entry_t *find_record(archive_t *archive, const char *folder, const char *name,
                                          size_t name_length)
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
static lks_status_t read_word(archive_t *archive, const char *name, char *word, size_t size)
{
    word[0] = '\0';
    const lks_zip_entry_t *entry = find_record(archive, "", name, strlen(name));
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
static lks_status_t find_root(archive_t *archive)
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

static lks_status_t check_version(archive_t *archive)
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

static lks_status_t read_byte_order(archive_t *archive)
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

typedef struct mapping {
    void *data;
    size_t size;
} mapping_t;

static void release_mapping(void *context)
{
    mapping_t *mapping = context;
    (void)munmap(mapping->data, mapping->size);
    free(mapping);
}

/* Anonymous memory costs nothing until it is filled. */
static lks_status_t map_memory(size_t size, size_t nbytes, unsigned char **data,
                               lks_storage_t **out)
{
    mapping_t *mapping = malloc(sizeof *mapping);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!mapping || memory == MAP_FAILED) {
        free(mapping);
        if (memory != MAP_FAILED) {
            (void)munmap(memory, size);
        }
        return lks_fail(LKS_ERR_NO_MEMORY, "no memory for a storage of %zu bytes", size);
    }
    *mapping = (mapping_t){.data = memory, .size = size};
    lks_status_t status =
        lks_storage_wrap(lks_device_host(), memory, nbytes, release_mapping, mapping, out);
    if (status != LKS_OK) {
        release_mapping(mapping);
        return status;
    }
    *data = memory;
    return LKS_OK;
}

/* Bytes of the storage, which must be in its record: torch would read whatever lies behind a shorter one. */
static lks_status_t storage_size(const lks_torch_storage_id_t *id, const lks_zip_entry_t *entry,
                                 size_t *out)
{
    size_t nbytes = (size_t)entry->size;
    if (id->itemsize > 0 &&
        (!lks_mul_size((size_t)id->numel, id->itemsize, &nbytes) || nbytes > entry->size)) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a %s of %" PRId64 " elements does not fit record data/%.*s of %" PRIu64
                        " bytes",
                        id->class_name, id->numel, (int)id->key_length, id->key, entry->size);
    }
    *out = nbytes;
    return LKS_OK;
}

static lks_status_t create_storage(archive_t *archive, const lks_zip_entry_t *entry, size_t nbytes,
                                   size_t itemsize, record_t *record, lks_storage_t **out)
{
    bool swapped = archive->big_endian && itemsize > 1;
    bool misplaced = itemsize > 1 && entry->data % itemsize != 0;
    record->entry = entry;
    if (entry->size == 0 || (!entry->deflated && !swapped && !misplaced)) {
        return lks_source_storage(archive->source, (size_t)entry->data, nbytes, out);
    }
    if (entry->deflated && entry->size > archive->memory_left) {
        return lks_fail(LKS_ERR_FORMAT, "the deflated records need more than the memory limit");
    }
    LKS_TRY(map_memory((size_t)entry->size, nbytes, &record->memory, out));
    archive->memory_left -= entry->deflated ? (size_t)entry->size : 0;
    return LKS_OK;
}

static lks_status_t add_storage(archive_t *archive, lks_tree_t *tree,
                                const lks_torch_storage_id_t *id, const lks_zip_entry_t *entry,
                                size_t *index)
{
    size_t nbytes = 0;
    LKS_TRY(storage_size(id, entry, &nbytes));
    record_t *record = &archive->records[lks_tree_storage_count(tree)];
    lks_storage_t *storage;
    LKS_TRY(create_storage(archive, entry, nbytes, id->itemsize, record, &storage));
    *index = lks_tree_append_storage(tree, storage, id->dtype, id->location);
    lks_storage_release(storage); /* the tree has its own reference */
    return lks_tree_status(tree);
}

/* The first mention of a key decides its type, as in torch. */
static lks_status_t find_storage(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                                 size_t *index)
{
    archive_t *archive = context;
    const lks_zip_entry_t *entry = find_record(archive, "data/", id->key, id->key_length);
    if (!entry) {
        return lks_fail(LKS_ERR_FORMAT, "the archive has no record 'data/%.*s'",
                        (int)(id->key_length < 200 ? id->key_length : 200), id->key);
    }
    size_t *known = &archive->storage_of[entry - archive->zip.entries];
    if (*known == 0) {
        LKS_TRY(add_storage(archive, tree, id, entry, index));
        *known = *index + 1;
    }
    *index = *known - 1;
    return LKS_OK;
}

/* --- bytes of a storage ------------------------------------------------------------------------- */

static void swap_bytes(unsigned char *data, size_t nbytes, size_t width)
{
    for (size_t at = 0; nbytes - at >= width; at += width) {
        for (size_t i = 0; i < width / 2; i++) {
            unsigned char byte = data[at + i];
            data[at + i] = data[at + width - 1 - i];
            data[at + width - 1 - i] = byte;
        }
    }
}

/* Bytes that are swapped together: of a complex element, those of one part. */
static size_t swap_width(lks_dtype_t dtype)
{
    size_t itemsize = lks_dtype_size(dtype);
    return dtype == LKS_DTYPE_C64 || dtype == LKS_DTYPE_C128 ? itemsize / 2 : itemsize;
}

static lks_status_t fill_memory(archive_t *archive, record_t *record, lks_dtype_t dtype)
{
    const lks_zip_entry_t *entry = record->entry;
    if (entry->deflated) {
        LKS_TRY(lks_zip_inflate(&archive->zip, entry, record->memory));
    } else {
        memcpy(record->memory, archive->zip.data + entry->data, (size_t)entry->size);
    }
    atomic_store(&record->crc, lks_crc32(0, record->memory, (size_t)entry->size));
    if (archive->big_endian) {
        swap_bytes(record->memory, (size_t)entry->size, swap_width(dtype));
    }
    return LKS_OK;
}

static void settle(record_t *record)
{
    bool good = atomic_load(&record->crc) == record->entry->crc;
    atomic_store(&record->state, good ? RECORD_GOOD : RECORD_BAD);
}

/* Two threads may checksum one record at once: they find the same. Filling memory is done by one. */
static lks_status_t verify(archive_t *archive, record_t *record, lks_dtype_t dtype)
{
    if (lks_zip_check(&archive->zip, record->entry) != LKS_OK) {
        return LKS_ERR_CORRUPT;
    }
    if (!record->memory) {
        const unsigned char *data = archive->zip.data + record->entry->data;
        atomic_store(&record->crc, lks_crc32(0, data, (size_t)record->entry->size));
        settle(record);
        return LKS_OK;
    }
    lks_status_t status = LKS_OK;
    (void)pthread_mutex_lock(&archive->fill);
    if (atomic_load(&record->state) == RECORD_UNSEEN) {
        status = fill_memory(archive, record, dtype);
        if (status == LKS_OK) {
            settle(record);
        }
    }
    (void)pthread_mutex_unlock(&archive->fill);
    return status;
}

/* Puts "'a.pt': tensor 'fc.0.weight' (record data/3) is corrupt" in front, or what is known of that. */
static lks_status_t name_corrupt(const archive_t *archive, const record_t *record, const char *name)
{
    const lks_zip_entry_t *entry = record->entry;
    const char *below = entry->name + archive->root_length, *path = archive->source->path;
    int length = (int)(entry->name_length - archive->root_length);
    if (name) {
        return lks_error_prefix(LKS_ERR_CORRUPT, "'%s': tensor '%s' (record %.*s) is corrupt", path,
                                name, length, below);
    }
    return lks_error_prefix(LKS_ERR_CORRUPT, "'%s': record %.*s is corrupt", path, length, below);
}

static lks_status_t load_storage(void *context, size_t index, const char *name)
{
    archive_t *archive = context;
    record_t *record = &archive->records[index];
    if (atomic_load(&record->state) == RECORD_UNSEEN) {
        lks_status_t status = verify(archive, record, archive->tree->storages[index].dtype);
        if (status != LKS_OK) {
            return status == LKS_ERR_CORRUPT ? name_corrupt(archive, record, name) : status;
        }
    }
    if (atomic_load(&record->state) == RECORD_GOOD) {
        return LKS_OK;
    }
    (void)lks_fail(LKS_ERR_CORRUPT, "CRC-32 is %08" PRIx32 ", the archive says %08" PRIx32,
                   atomic_load(&record->crc), record->entry->crc);
    return name_corrupt(archive, record, name);
}

/* --- the format --------------------------------------------------------------------------------- */

static bool probe(lks_origin_t *origin)
{
    return lks_origin_is_zip(origin);
}

static void close_archive(void *state)
{
    archive_t *archive = state;
    lks_zip_close(&archive->zip);
    free(archive->records);
    free(archive->storage_of);
    (void)pthread_mutex_destroy(&archive->fill);
    free(archive);
}

static lks_status_t check_archive(archive_t *archive)
{
    LKS_TRY(find_root(archive));
    if (find_record(archive, "", "constants.pkl", 13)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "it is a TorchScript program (torch.jit.save), which this "
                        "version does not read");
    }
    LKS_TRY(check_version(archive));
    return read_byte_order(archive);
}

static lks_status_t read_object(archive_t *archive, const lks_checkpoint_limits_t *limits)
{
    const lks_zip_entry_t *entry = find_record(archive, "", "data.pkl", 8);
    if (!entry) {
        return lks_fail(LKS_ERR_FORMAT,
                        "a zip archive without a record 'data.pkl': torch.save did not "
                        "write it");
    }
    const unsigned char *data;
    void *owned;
    LKS_TRY(lks_zip_read(&archive->zip, entry, limits->memory, &data, &owned));
    lks_torch_reader_t torch = {.context = archive, .storage = find_storage};
    const lks_pickle_hooks_t hooks = lks_torch_read_hooks(&torch);
    size_t used;
    lks_value_t *root;
    lks_status_t status =
        lks_pickle_read("data.pkl", data, (size_t)entry->size, &hooks, archive->tree, &used, &root);
    free(owned);
    LKS_TRY(status);
    if (used != entry->size) {
        return lks_fail(LKS_ERR_FORMAT, "data.pkl: %" PRIu64 " bytes follow the end of the pickle",
                        entry->size - used);
    }
    lks_tree_set_root(archive->tree, root);
    return LKS_OK;
}

static lks_status_t open_archive(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                 lks_tree_t *tree, void **state)
{
    archive_t *archive = calloc(1, sizeof *archive);
    if (!archive) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    archive->source = origin->source;
    archive->tree = tree;
    archive->memory_left = limits->memory;
    (void)pthread_mutex_init(&archive->fill, NULL);
    *state = archive; /* from here on closing frees it */
    LKS_TRY(lks_origin_take_zip(origin, &archive->zip));
    archive->records = calloc(archive->zip.count + 1, sizeof *archive->records);
    archive->storage_of = calloc(archive->zip.count + 1, sizeof *archive->storage_of);
    if (!archive->records || !archive->storage_of) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    tree->load = load_storage;
    tree->load_context = archive;
    LKS_TRY(check_archive(archive));
    return read_object(archive, limits);
}

static lks_status_t update_archive(void *state, const lks_tree_t *tree, int fd, bool sync)
{
    const archive_t *archive = state;
    size_t count = lks_tree_storage_count(archive->tree);
    const lks_zip_entry_t **records = calloc(count + 1, sizeof *records);
    if (!records) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        records[i] = archive->records[i].entry;
    }
    const lks_torch_zip_file_t file = {
        .path = archive->source->path,
        .zip = &archive->zip,
        .root = archive->root,
        .root_length = archive->root_length,
        .tree = archive->tree,
        .records = records,
    };
    lks_status_t status = lks_torch_zip_update(&file, tree, fd, sync);
    free(records);
    return status;
}

const lks_format_t lks_format_torch_zip = {
    .name = "torch_zip",
    .probe = probe,
    .open = open_archive,
    .close = close_archive,
    .save = lks_torch_zip_save,
    .update = update_archive,
};
