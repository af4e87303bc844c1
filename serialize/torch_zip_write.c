/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip_write.c - writing; see torch_zip.h. */
#include "serialize/torch_zip_write.h"
#include "serialize/cast.h"
#include "serialize/check.h"
#include "serialize/crc32.h"
#include "serialize/hashmap.h"
#include "serialize/pack.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_zip.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_MAX 255      /* a file's name is no longer */
#define NAME_MAX_BELOW 32 /* of a record: "/.data/serialization_id", "/data/12345678901" */

#define SERIALIZATION_ID_SIZE 48

#define LOADED_MAX ((uint64_t)8 << 20) /* bytes that are in memory for the writer's sake at once */

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

/* --- an archive --------------------------------------------------------------------------------- */

static void add(lks_torch_zip_writer_t *writer, const char *name, const void *data, size_t nbytes,
                uint32_t *crc)
{
    char path[ROOT_MAX + NAME_MAX_BELOW];
    (void)snprintf(path, sizeof path, "%s/%s", writer->root, name);
    lks_zip_writer_add(&writer->zip, path, data, nbytes, crc);
}

lks_torch_zip_writer_t lks_torch_zip_begin(lks_sink_t *sink, const char *root,
                                           const lks_strbuf_t *pickle)
{
    lks_torch_zip_writer_t writer = {.zip = {.sink = sink, .base = lks_sink_position(sink)},
                                     .root = root};
    add(&writer, "data.pkl", pickle->data, pickle->length, NULL);
    add(&writer, "byteorder", "little", 6, NULL);
    return writer;
}

void lks_torch_zip_add(lks_torch_zip_writer_t *writer, size_t key, const void *data, size_t nbytes,
                       uint32_t *crc)
{
    char name[NAME_MAX_BELOW];
    (void)snprintf(name, sizeof name, "data/%zu", key);
    add(writer, name, data, nbytes, crc);
}

static void continue_crc(void *context, const void *data, size_t nbytes)
{
    uint32_t *crc = context;
    *crc = lks_crc32(*crc, data, nbytes);
}

static void write_payload(void *context, const void *data, size_t nbytes)
{
    lks_sink_write(context, data, nbytes);
}

/* Twice through the tensor, since its header comes first and has the checksum. */
static lks_status_t add_strided(lks_torch_zip_writer_t *writer, size_t key, const lks_tree_t *tree,
                                const lks_value_tensor_t *tensor, uint64_t nbytes)
{
    char path[ROOT_MAX + NAME_MAX_BELOW];
    uint32_t crc = 0;
    LKS_TRY(lks_tensor_pack(tree, tensor, continue_crc, &crc));
    (void)snprintf(path, sizeof path, "%s/data/%zu", writer->root, key);
    LKS_TRY(lks_zip_writer_begin(&writer->zip, path, nbytes, crc));
    return lks_tensor_pack(tree, tensor, write_payload, writer->zip.sink);
}

lks_status_t lks_torch_zip_add_packed(lks_torch_zip_writer_t *writer, size_t key,
                                      const lks_tree_t *tree, const lks_value_tensor_t *tensor)
{
    uint64_t nbytes;
    LKS_TRY(lks_tensor_packed_size(tensor, &nbytes));
    if (nbytes > 0 && !lks_tensor_is_packed(tensor)) {
        return add_strided(writer, key, tree, tensor, nbytes);
    }
    const unsigned char *data = lks_storage_data(lks_tree_storage(tree, tensor->storage)->storage);
    size_t offset = nbytes > 0 ? (size_t)tensor->offset * lks_dtype_size(tensor->dtype) : 0;
    lks_torch_zip_add(writer, key, data + offset, (size_t)nbytes, NULL);
    return LKS_OK;
}

/* Forty digits, as torch: half for the names of the records, half for what is in them. */
static void add_serialization_id(lks_torch_zip_writer_t *writer, char id[SERIALIZATION_ID_SIZE])
{
    (void)snprintf(id, SERIALIZATION_ID_SIZE, "%020" PRIu64 "%020" PRIu64, writer->zip.names_hash,
                   writer->zip.crcs_hash);
    add(writer, ".data/serialization_id", id, strlen(id), NULL);
}

lks_status_t lks_torch_zip_end(lks_torch_zip_writer_t *writer)
{
    char id[SERIALIZATION_ID_SIZE];
    add(writer, "version", "3\n", 2, NULL);
    LKS_TRY(lks_zip_writer_flush(&writer->zip)); /* the fingerprint is of what was written */
    add_serialization_id(writer, id);
    return lks_zip_writer_finish(&writer->zip);
}

void lks_torch_zip_fini(lks_torch_zip_writer_t *writer)
{
    lks_zip_writer_fini(&writer->zip);
}

uint64_t lks_torch_zip_storage_bound(const char *root, uint64_t nbytes)
{
    return lks_zip_record_bound(strlen(root) + NAME_MAX_BELOW, nbytes);
}

uint64_t lks_torch_zip_bound(const char *root, uint64_t nbytes)
{
    return lks_zip_end_bound() + lks_torch_zip_storage_bound(root, nbytes) +
           3 * lks_torch_zip_storage_bound(root, 40); /* byteorder, version, serialization_id */
}

/* --- a file ------------------------------------------------------------------------------------- */

static const lks_storage_t *storage_of(const lks_torch_writer_t *torch, size_t key)
{
    return lks_tree_storage(torch->tree, torch->order[key])->storage;
}

/* Whether a storage is a whole record of a mapped archive, not verified yet: the checksum that is found as it is written
 * says whether it is good, and it is passed over once. */
static bool is_verified_late(const lks_tree_t *tree, size_t index)
{
    size_t checked;
    (void)lks_check_count(tree, &checked);
    if (!tree->checks || index >= checked || lks_cast_of(tree, index)) {
        return false;
    }
    const lks_check_t check = lks_check_get(tree, index);
    const lks_storage_t *storage = tree->storages[index].storage;
    return check.data && !check.known && check.data == lks_storage_data(storage) &&
           check.nbytes == lks_storage_nbytes(storage);
}

/* What else lies in the file is verified before the first byte is written. */
static lks_status_t verify_mapped(const lks_torch_writer_t *torch, size_t threads)
{
    const lks_tree_t *tree = torch->tree;
    size_t *mapped = calloc(torch->count + 1, sizeof *mapped), count = 0;
    if (!mapped) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing %zu storages: out of memory", torch->count);
    }
    for (size_t key = 0; key < torch->count; key++) {
        size_t index = torch->order[key];
        if (!lks_storage_takes_memory(tree, index) && !is_verified_late(tree, index)) {
            mapped[count++] = index;
        }
    }
    lks_status_t status = lks_checks_run_storages(tree, mapped, count, threads);
    lks_storage_names_t *names = NULL;
    size_t checked;
    (void)lks_check_count(tree, &checked);
    for (size_t i = 0; i < count && status == LKS_OK; i++) {
        status = mapped[i] < checked ? lks_check_verdict(tree, mapped[i], &names) : LKS_OK;
    }
    lks_storage_names_destroy(names);
    free(mapped);
    return status;
}

static lks_status_t reserve(const lks_torch_writer_t *torch, const char *root, size_t pickle_size,
                            lks_sink_t *sink)
{
    uint64_t total = lks_torch_zip_bound(root, pickle_size);
    for (size_t key = 0; key < torch->count; key++) {
        total += lks_torch_zip_storage_bound(root, lks_storage_nbytes(storage_of(torch, key)));
    }
    return lks_sink_reserve(sink, total);
}

/* Storages on their way into the archive. */
typedef struct transfer {
    const lks_torch_writer_t *torch;
    lks_torch_zip_writer_t *writer;
    size_t first, next; /* keys of those that are loaded and wait */
    uint64_t nbytes;    /* that they take */
    struct late {
        bool is; /* verified when it was written */
        uint32_t crc;
    } * late; /* by key */
} transfer_t;

static void unload(transfer_t *transfer)
{
    for (; transfer->first < transfer->next; transfer->first++) {
        if (!transfer->late[transfer->first].is) {
            lks_tree_unload_storage(transfer->torch->tree, transfer->torch->order[transfer->first]);
        }
    }
    transfer->nbytes = 0;
}

static lks_status_t add_storage(transfer_t *transfer)
{
    const lks_torch_writer_t *torch = transfer->torch;
    size_t key = transfer->next, index = torch->order[key];
    const lks_storage_t *storage = storage_of(torch, key);
    size_t nbytes = lks_storage_nbytes(storage);
    size_t taken = lks_storage_takes_memory(torch->tree, index) ? nbytes : 0;
    if (transfer->nbytes > 0 && taken > LOADED_MAX - transfer->nbytes) {
        LKS_TRY(lks_zip_writer_flush(&transfer->writer->zip));
        unload(transfer);
    }
    struct late *late = &transfer->late[key];
    late->is = is_verified_late(torch->tree, index);
    if (!late->is) {
        LKS_TRY(lks_tree_load_storage(torch->tree, index, NULL));
    }
    transfer->next++;
    /* One that is larger than all of them may be has no other beside it. */
    transfer->nbytes += taken < LOADED_MAX ? taken : LOADED_MAX - transfer->nbytes;
    lks_torch_zip_add(transfer->writer, key, lks_storage_data(storage), nbytes, &late->crc);
    return LKS_OK;
}

/* The verdict on what was written unseen. Where writing failed, checksums mean nothing. */
static lks_status_t verify_late(const transfer_t *transfer)
{
    const lks_tree_t *tree = transfer->torch->tree;
    lks_storage_names_t *names = NULL;
    lks_status_t status = LKS_OK;
    if (lks_sink_failed(transfer->writer->zip.sink)) {
        return LKS_OK; /* the sink reports it at commit */
    }
    for (size_t key = 0; key < transfer->torch->count && status == LKS_OK; key++) {
        if (transfer->late[key].is) {
            size_t index = transfer->torch->order[key];
            tree->checks->settle(tree->load_context, index, transfer->late[key].crc);
            status = lks_check_verdict(tree, index, &names);
        }
    }
    lks_storage_names_destroy(names);
    return status;
}

static lks_status_t write_storages(const lks_torch_writer_t *torch, lks_torch_zip_writer_t *writer)
{
    transfer_t transfer = {
        .torch = torch, .writer = writer, .late = calloc(torch->count + 1, sizeof *transfer.late)};
    if (!transfer.late) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing %zu storages: out of memory", torch->count);
    }
    lks_status_t status = LKS_OK;
    while (transfer.next < torch->count && status == LKS_OK) {
        status = add_storage(&transfer);
    }
    if (status == LKS_OK) {
        status = lks_zip_writer_flush(&writer->zip);
    }
    unload(&transfer);
    status = status == LKS_OK ? verify_late(&transfer) : status;
    free(transfer.late);
    return status;
}

static lks_status_t write_records(const lks_torch_writer_t *torch, const lks_strbuf_t *pickle,
                                  const char *root, lks_sink_t *sink)
{
    lks_torch_zip_writer_t writer = lks_torch_zip_begin(sink, root, pickle);
    lks_status_t status = write_storages(torch, &writer);
    status = status == LKS_OK ? lks_torch_zip_end(&writer) : status;
    lks_torch_zip_fini(&writer);
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
    LKS_GOTO(verify_mapped(&torch, lks_sink_threads(sink)), free_pickle);
    LKS_GOTO(reserve(&torch, root, pickle.length, sink), free_pickle);
    status = write_records(&torch, &pickle, root, sink);

free_pickle:
    lks_strbuf_fini(&pickle);
    lks_torch_writer_fini(&torch);
    return status;
}
