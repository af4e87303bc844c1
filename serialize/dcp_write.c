/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_write.c - writing; see dcp.h.
 * What there is and in which file is settled first, and everything that can be refused is: values are pickled once to
 * see whether that works and how long it gets. Then each leaf is an archive of its own, from the bytes of its storages,
 * which are held in memory only as long. Two tensors over one storage become two copies, as in torch: the format has no
 * way to say more. */
#include "serialize/dcp.h"
#include "serialize/dcp_metadata_write.h"
#include "serialize/drop.h"
#include "serialize/pack.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_zip_write.h"
#include "serialize/value_node.h"

#include <string.h>

#define ROOT "archive"
#define ALIGNMENT 64            /* of archives in a file, so that their payloads are aligned, too */
#define TENSOR_PICKLE_BOUND 512 /* and for each dimension: */
#define DIMENSION_BOUND 20

typedef struct saver {
    const lks_tree_t *tree;
    const lks_save_options_t *options;
    lks_folder_t *folder;
    lks_tree_t *out; /* of the metadata */
    lks_dcp_leaves_t leaves;
    lks_torch_writer_t torch; /* for the pickles of values */
    lks_strbuf_t pickle;
} saver_t;

bool lks_dcp_is_part(const char *name)
{
    static const char suffix[] = ".distcp";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return strcmp(name, LKS_DCP_METADATA) == 0 || strcmp(name, LKS_DCP_METADATA ".tmp") == 0 ||
           (length > tail && strcmp(name + length - tail, suffix) == 0);
}

static const char *name_of(const lks_dcp_leaf_t *leaf)
{
    return lks_value_text(leaf->name, NULL);
}

/* --- pickles ------------------------------------------------------------------------------------ */

/* Pickles a value of the tree; the storages that it names are in saver->torch then. */
static lks_status_t pickle_value(saver_t *saver, const lks_value_t *value)
{
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&saver->torch);
    lks_torch_writer_reset(&saver->torch);
    lks_strbuf_clear(&saver->pickle);
    return lks_pickle_write(value, &hooks, &saver->pickle);
}

/* In a tree of its own: the same elements in C order, over a storage that has nothing else. */
static lks_status_t make_bare(lks_tree_t *bare, const lks_value_tensor_t *tensor, int64_t *stride,
                              size_t nbytes)
{
    lks_storage_t *storage; /* nobody looks at its bytes */
    LKS_TRY(lks_storage_wrap(lks_device_host(), NULL, nbytes, NULL, NULL, &storage));
    lks_shape_contiguous_stride(tensor->ndim, tensor->shape, stride);
    const lks_value_tensor_t packed = {
        .storage = lks_tree_add_storage(bare, storage, tensor->dtype, "cpu"),
        .dtype = tensor->dtype,
        .ndim = tensor->ndim,
        .shape = tensor->shape,
        .stride = stride,
    };
    lks_storage_release(storage);
    LKS_TRY(lks_tree_status(bare));
    lks_tree_set_root(bare, lks_value_tensor_new(bare, &packed));
    return lks_tree_status(bare);
}

static lks_status_t pickle_bare(const lks_tree_t *bare, lks_strbuf_t *pickle)
{
    lks_torch_writer_t torch;
    LKS_TRY(lks_torch_writer_init(bare, &torch));
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&torch);
    lks_strbuf_clear(pickle);
    lks_status_t status = lks_pickle_write(lks_tree_root(bare), &hooks, pickle);
    lks_torch_writer_fini(&torch);
    return status;
}

static lks_status_t pickle_tensor(saver_t *saver, const lks_dcp_leaf_t *leaf)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf->value);
    lks_tree_t *bare;
    LKS_TRY(lks_tree_create(&bare));
    int64_t *stride = lks_tree_alloc(bare, ((size_t)tensor->ndim + 1) * sizeof *stride);
    lks_status_t status =
        stride ? make_bare(bare, tensor, stride, (size_t)leaf->nbytes) : lks_tree_status(bare);
    status = status == LKS_OK ? pickle_bare(bare, &saver->pickle) : status;
    lks_tree_destroy(bare);
    return status;
}

/* --- what goes where ---------------------------------------------------------------------------- */

/* A bound on the bytes of a value's archive; the value is left out where that stays 0. */
static lks_status_t measure_value(saver_t *saver, lks_dcp_leaf_t *leaf)
{
    lks_status_t status = pickle_value(saver, leaf->value);
    if (status == LKS_ERR_UNSUPPORTED) {
        return lks_save_drop(saver->options, name_of(leaf), lks_last_error()->message);
    }
    LKS_TRY(status);
    leaf->length = ALIGNMENT + lks_torch_zip_bound(ROOT, saver->pickle.length);
    for (size_t key = 0; key < saver->torch.count; key++) {
        const lks_tree_storage_t *storage = lks_tree_storage(saver->tree, saver->torch.order[key]);
        leaf->nbytes += lks_storage_nbytes(storage->storage);
        leaf->length += lks_torch_zip_storage_bound(ROOT, lks_storage_nbytes(storage->storage));
    }
    return LKS_OK;
}

static lks_status_t measure_tensor(lks_dcp_leaf_t *leaf)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf->value);
    uint64_t pickle = TENSOR_PICKLE_BOUND + DIMENSION_BOUND * (uint64_t)tensor->ndim;
    LKS_TRY(lks_tensor_packed_size(tensor, &leaf->nbytes));
    leaf->length = ALIGNMENT + lks_torch_zip_bound(ROOT, pickle) +
                   lks_torch_zip_storage_bound(ROOT, leaf->nbytes);
    return LKS_OK;
}

/* Sets what is known of a leaf before it is written: its bytes, and a bound as its length. */
static lks_status_t measure(saver_t *saver, lks_dcp_leaf_t *leaf)
{
    switch (leaf->kind) {
    case LKS_DCP_LEAF_TENSOR: return measure_tensor(leaf);
    case LKS_DCP_LEAF_VALUE: return measure_value(saver, leaf);
    case LKS_DCP_LEAF_EMPTY: break;
    }
    return LKS_OK;
}

/* Shares the leaves out to files. */
static lks_status_t lay_out(saver_t *saver)
{
    lks_dcp_leaves_t *leaves = &saver->leaves;
    const uint64_t most = saver->options->shard_size;
    size_t kept = 0, file = 0;
    uint64_t filled = 0;
    for (size_t i = 0; i < leaves->count; i++) {
        lks_dcp_leaf_t leaf = leaves->items[i];
        LKS_TRY(measure(saver, &leaf));
        if (filled > 0 && leaf.nbytes > most - filled) {
            file++;
            filled = 0;
        }
        filled = leaf.nbytes < most - filled ? filled + leaf.nbytes : most;
        leaf.file = file;
        if (leaf.length > 0 || leaf.kind == LKS_DCP_LEAF_EMPTY) {
            leaves->items[kept++] = leaf;
        }
    }
    leaves->count = kept;
    return LKS_OK;
}

/* --- files -------------------------------------------------------------------------------------- */

static lks_status_t write_tensor(saver_t *saver, const lks_dcp_leaf_t *leaf, lks_sink_t *sink)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(leaf->value);
    LKS_TRY(pickle_tensor(saver, leaf));
    LKS_TRY(lks_tree_load_storage(saver->tree, tensor->storage, name_of(leaf)));
    lks_torch_zip_writer_t zip = lks_torch_zip_begin(sink, ROOT, &saver->pickle);
    lks_status_t status = lks_torch_zip_add_packed(&zip, 0, saver->tree, tensor);
    status = status == LKS_OK ? lks_torch_zip_end(&zip) : status;
    lks_torch_zip_fini(&zip);
    lks_tree_unload_storage(saver->tree, tensor->storage);
    return status;
}

static lks_status_t write_storages(saver_t *saver, const char *name, lks_torch_zip_writer_t *zip)
{
    const lks_torch_writer_t *torch = &saver->torch;
    for (size_t key = 0; key < torch->count; key++) {
        LKS_TRY(lks_tree_load_storage(saver->tree, torch->order[key], name));
        const lks_storage_t *storage = lks_tree_storage(saver->tree, torch->order[key])->storage;
        lks_torch_zip_add(zip, key, lks_storage_data(storage), lks_storage_nbytes(storage), NULL);
    }
    return lks_torch_zip_end(zip);
}

static lks_status_t write_value(saver_t *saver, const lks_dcp_leaf_t *leaf, lks_sink_t *sink)
{
    LKS_TRY(pickle_value(saver, leaf->value));
    lks_torch_zip_writer_t zip = lks_torch_zip_begin(sink, ROOT, &saver->pickle);
    lks_status_t status = write_storages(saver, name_of(leaf), &zip);
    lks_torch_zip_fini(&zip);
    for (size_t key = 0; key < saver->torch.count; key++) {
        lks_tree_unload_storage(saver->tree, saver->torch.order[key]);
    }
    return status;
}

static lks_status_t write_leaf(saver_t *saver, lks_dcp_leaf_t *leaf, lks_sink_t *sink)
{
    static const char zeros[ALIGNMENT];
    if (leaf->kind == LKS_DCP_LEAF_EMPTY) {
        return LKS_OK;
    }
    lks_sink_write(sink, zeros, (size_t)(-lks_sink_position(sink) % ALIGNMENT));
    leaf->start = lks_sink_position(sink);
    LKS_TRY(leaf->kind == LKS_DCP_LEAF_TENSOR ? write_tensor(saver, leaf, sink)
                                              : write_value(saver, leaf, sink));
    leaf->length = lks_sink_position(sink) - leaf->start;
    return LKS_OK;
}

/* Leaves [first, end) are of one file. */
static lks_status_t write_leaves(saver_t *saver, size_t first, size_t end, lks_sink_t *sink)
{
    uint64_t bound = 0;
    for (size_t i = first; i < end; i++) {
        bound += saver->leaves.items[i].length;
    }
    LKS_TRY(lks_sink_reserve(sink, bound));
    for (size_t i = first; i < end; i++) {
        LKS_TRY(write_leaf(saver, &saver->leaves.items[i], sink));
    }
    return LKS_OK;
}

static lks_status_t end_file(lks_sink_t *sink, lks_status_t status, bool sync)
{
    if (status != LKS_OK) {
        lks_sink_discard(sink);
        return status;
    }
    return lks_sink_commit(sink, sync);
}

static lks_status_t write_files(saver_t *saver)
{
    const lks_dcp_leaves_t *leaves = &saver->leaves;
    for (size_t first = 0, end = 0; first < leaves->count; first = end) {
        size_t file = leaves->items[first].file;
        while (end < leaves->count && leaves->items[end].file == file) {
            end++;
        }
        char name[LKS_DCP_FILE_NAME_MAX];
        lks_sink_t *sink;
        lks_dcp_file_name(name, file);
        LKS_TRY(lks_folder_file(saver->folder, name, &sink));
        lks_sink_set_source(sink, saver->tree->source);
        lks_status_t status = write_leaves(saver, first, end, sink);
        LKS_TRY(end_file(sink, status, saver->options->sync));
    }
    return LKS_OK;
}

static lks_status_t write_metadata(saver_t *saver)
{
    lks_sink_t *sink;
    lks_strbuf_clear(&saver->pickle);
    LKS_TRY(lks_dcp_metadata_write(&saver->leaves, saver->out, &saver->pickle));
    LKS_TRY(lks_folder_file(saver->folder, LKS_DCP_METADATA, &sink));
    lks_sink_write(sink, saver->pickle.data, saver->pickle.length);
    return lks_sink_commit(sink, saver->options->sync);
}

static lks_status_t save(saver_t *saver)
{
    LKS_TRY(lks_dcp_flatten(saver->tree, saver->options, saver->out, &saver->leaves));
    LKS_TRY(lay_out(saver));
    LKS_TRY(write_files(saver));
    return write_metadata(saver);
}

lks_status_t lks_dcp_save(const lks_tree_t *tree, const lks_save_options_t *options,
                          lks_folder_t *folder)
{
    saver_t saver = {.tree = tree, .options = options, .folder = folder};
    LKS_TRY(lks_torch_writer_init(tree, &saver.torch));
    lks_status_t status = lks_tree_create(&saver.out);
    status = status == LKS_OK ? save(&saver) : status;
    lks_dcp_leaves_fini(&saver.leaves);
    lks_tree_destroy(saver.out);
    lks_torch_writer_fini(&saver.torch);
    lks_strbuf_fini(&saver.pickle);
    return status;
}
