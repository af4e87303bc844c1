/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip_write.c - writing; see torch_zip.h. */
#include "serialize/check.h"
#include "serialize/hashmap.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_zip.h"
#include "serialize/value_node.h"
#include "serialize/zip_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROOT_MAX 255      /* a file's name is no longer */
#define NAME_MAX_BELOW 32 /* of a record: "/.data/serialization_id", "/data/12345678901" */

#define SERIALIZATION_ID_SIZE 48

/* The file's name without its last extension, as torch; "archive" where that would be no fit folder. */
static void root_of(const char *path, char root[ROOT_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : strlen(name);
    bool plain = length > 0 && length <= ROOT_MAX && strncmp(name, "..", length) != 0;
    for (size_t i = 0; plain && i < length; i++) {
        plain = name[i] >= ' ' && name[i] <= '~' && name[i] != '\\';
    }
    (void)snprintf(root, ROOT_MAX + 1, "%.*s", plain ? (int)length : 7, plain ? name : "archive");
}

static void add(lks_zip_writer_t *zip, const char *root, const char *name, const void *data,
                size_t nbytes)
{
    char path[ROOT_MAX + NAME_MAX_BELOW];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    lks_zip_writer_add(zip, path, data, nbytes);
}

static const lks_storage_t *storage_of(const lks_torch_writer_t *torch, size_t key)
{
    return lks_tree_storage(torch->tree, torch->order[key])->storage;
}

/* All bytes are valid before the first is written: a corrupt source is found with the disk untouched. */
static lks_status_t load_storages(const lks_torch_writer_t *torch, size_t threads)
{
    LKS_TRY(lks_checks_run_storages(torch->tree, torch->order, torch->count, threads));
    for (size_t key = 0; key < torch->count; key++) {
        LKS_TRY(lks_tree_load_storage(torch->tree, torch->order[key], NULL));
    }
    return LKS_OK;
}

static lks_status_t reserve(const lks_torch_writer_t *torch, const char *root, size_t pickle_size,
                            lks_sink_t *sink)
{
    size_t name_length = strlen(root) + NAME_MAX_BELOW;
    uint64_t total = lks_zip_end_bound() + lks_zip_record_bound(name_length, pickle_size);
    total += 3 * lks_zip_record_bound(name_length, 40); /* byteorder, version, serialization_id */
    for (size_t key = 0; key < torch->count; key++) {
        total += lks_zip_record_bound(name_length, lks_storage_nbytes(storage_of(torch, key)));
    }
    return lks_sink_reserve(sink, total);
}

/* Forty digits, as torch: half for the names of the records, half for what is in them. */
static void add_serialization_id(lks_zip_writer_t *zip, const char *root,
                                 char id[SERIALIZATION_ID_SIZE])
{
    (void)snprintf(id, SERIALIZATION_ID_SIZE, "%020" PRIu64 "%020" PRIu64, zip->names_hash,
                   zip->crcs_hash);
    add(zip, root, ".data/serialization_id", id, strlen(id));
}

static lks_status_t write_records(const lks_torch_writer_t *torch, const lks_strbuf_t *pickle,
                                  const char *root, lks_sink_t *sink)
{
    lks_zip_writer_t zip = {.sink = sink};
    add(&zip, root, "data.pkl", pickle->data, pickle->length);
    add(&zip, root, "byteorder", "little", 6);
    for (size_t key = 0; key < torch->count; key++) {
        char name[32];
        const lks_storage_t *storage = storage_of(torch, key);
        (void)snprintf(name, sizeof name, "data/%zu", key);
        add(&zip, root, name, lks_storage_data(storage), lks_storage_nbytes(storage));
    }
    add(&zip, root, "version", "3\n", 2);
    char id[SERIALIZATION_ID_SIZE];
    lks_status_t status;
    LKS_GOTO(lks_zip_writer_flush(&zip), fini_zip); /* the fingerprint is of what was written */
    add_serialization_id(&zip, root, id);
    status = lks_zip_writer_finish(&zip);

fini_zip:
    lks_zip_writer_fini(&zip);
    return status;
}

lks_status_t lks_torch_zip_save(const lks_tree_t *tree, const char *path,
                                const lks_save_options_t *options, lks_sink_t *sink)
{
    (void)options; /* the format holds everything */
    char root[ROOT_MAX + 1];
    root_of(path, root);
    lks_torch_writer_t torch;
    LKS_TRY(lks_torch_writer_init(tree, &torch));
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&torch);
    lks_strbuf_t pickle = {0};
    lks_status_t status;
    LKS_GOTO(lks_pickle_write(lks_tree_root(tree), &hooks, &pickle), free_pickle);
    LKS_GOTO(load_storages(&torch, lks_sink_threads(sink)), free_pickle);
    LKS_GOTO(reserve(&torch, root, pickle.length, sink), free_pickle);
    status = write_records(&torch, &pickle, root, sink);

free_pickle:
    lks_strbuf_fini(&pickle);
    lks_torch_writer_fini(&torch);
    return status;
}
