/* SPDX-License-Identifier: Apache-2.0 */
/* torch_legacy_write.c - writing; see torch_legacy.h. */
#include "serialize/bytes.h"
#include "serialize/pickle_torch.h"
#include "serialize/torch_legacy.h"
#include "serialize/value_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_BYTES 8

/* Everything before the first storage, and the order of the storages: keys sorted as texts. */
typedef struct stream {
    lks_torch_writer_t torch;
    lks_strbuf_t pickles;
    size_t *keys;
} stream_t;

static lks_status_t append_value(stream_t *stream, const lks_tree_t *tree, const lks_value_t *value)
{
    LKS_TRY(lks_tree_status(tree));
    return lks_pickle_write(value, &(lks_pickle_write_hooks_t){0}, &stream->pickles);
}

static lks_value_t *system_description(lks_tree_t *tree)
{
    lks_value_t *sizes = lks_value_dict(tree), *system = lks_value_dict(tree);
    lks_value_set_str(tree, sizes, "short", lks_value_int(tree, 2));
    lks_value_set_str(tree, sizes, "int", lks_value_int(tree, 4));
    lks_value_set_str(tree, sizes, "long", lks_value_int(tree, 4));
    lks_value_set_str(tree, system, "protocol_version", lks_value_int(tree, LKS_LEGACY_VERSION));
    lks_value_set_str(tree, system, "little_endian", lks_value_bool(tree, true));
    lks_value_set_str(tree, system, "type_sizes", sizes);
    return system;
}

static lks_status_t append_header(stream_t *stream, lks_tree_t *scratch)
{
    const size_t magic_bytes = sizeof LKS_LEGACY_MAGIC - 1;
    LKS_TRY(
        append_value(stream, scratch, lks_value_bigint(scratch, LKS_LEGACY_MAGIC, magic_bytes)));
    LKS_TRY(append_value(stream, scratch, lks_value_int(scratch, LKS_LEGACY_VERSION)));
    return append_value(stream, scratch, system_description(scratch));
}

static int compare_texts(const void *a, const void *b)
{
    char texts[2][24];
    (void)snprintf(texts[0], sizeof texts[0], "%zu", *(const size_t *)a);
    (void)snprintf(texts[1], sizeof texts[1], "%zu", *(const size_t *)b);
    return strcmp(texts[0], texts[1]);
}

static lks_status_t sort_keys(stream_t *stream)
{
    stream->keys = malloc((stream->torch.count + 1) * sizeof *stream->keys);
    if (!stream->keys) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing a checkpoint: out of memory");
    }
    for (size_t i = 0; i < stream->torch.count; i++) {
        stream->keys[i] = i;
    }
    qsort(stream->keys, stream->torch.count, sizeof *stream->keys, compare_texts);
    return LKS_OK;
}

static lks_status_t append_keys(stream_t *stream, lks_tree_t *scratch)
{
    lks_value_t *list = lks_value_list(scratch);
    for (size_t i = 0; i < stream->torch.count; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "%zu", stream->keys[i]);
        lks_value_append(scratch, list, lks_value_str(scratch, key));
    }
    return append_value(stream, scratch, list);
}

static lks_status_t append_pickles(stream_t *stream, lks_tree_t *scratch)
{
    const lks_pickle_write_hooks_t hooks = lks_torch_write_hooks(&stream->torch);
    LKS_TRY(append_header(stream, scratch));
    LKS_TRY(lks_pickle_write(lks_tree_root(stream->torch.tree), &hooks, &stream->pickles));
    LKS_TRY(sort_keys(stream));
    return append_keys(stream, scratch);
}

/* Bytes of the whole elements of a storage; those behind them belong to none. */
static size_t elements_nbytes(const stream_t *stream, size_t index)
{
    size_t nbytes = lks_storage_nbytes(lks_tree_storage(stream->torch.tree, index)->storage);
    return nbytes - nbytes % stream->torch.itemsize[index];
}

static lks_status_t reserve(const stream_t *stream, lks_sink_t *sink)
{
    uint64_t total = stream->pickles.length;
    for (size_t key = 0; key < stream->torch.count; key++) {
        total += COUNT_BYTES + elements_nbytes(stream, stream->torch.order[key]);
    }
    return lks_sink_reserve(sink, total);
}

static lks_status_t write_storage(const stream_t *stream, size_t index, lks_sink_t *sink)
{
    const lks_tree_t *tree = stream->torch.tree;
    size_t nbytes = elements_nbytes(stream, index);
    unsigned char count[COUNT_BYTES];
    (void)lks_put_uint(count, nbytes / stream->torch.itemsize[index], COUNT_BYTES);
    LKS_TRY(lks_tree_load_storage(tree, index, NULL));
    lks_sink_write(sink, count, COUNT_BYTES);
    lks_sink_write(sink, lks_storage_data(lks_tree_storage(tree, index)->storage), nbytes);
    lks_tree_unload_storage(tree, index);
    return LKS_OK;
}

static lks_status_t write_stream(stream_t *stream, lks_tree_t *scratch, lks_sink_t *sink)
{
    LKS_TRY(append_pickles(stream, scratch));
    LKS_TRY(reserve(stream, sink));
    lks_sink_write(sink, stream->pickles.data, stream->pickles.length);
    for (size_t i = 0; i < stream->torch.count; i++) {
        LKS_TRY(write_storage(stream, stream->torch.order[stream->keys[i]], sink));
    }
    return LKS_OK;
}

lks_status_t lks_torch_legacy_save(const lks_tree_t *tree, const char *path,
                                   const lks_save_options_t *options, lks_sink_t *sink)
{
    (void)path;
    (void)options; /* the format holds everything */
    stream_t stream = {0};
    lks_tree_t *scratch;
    LKS_TRY(lks_torch_writer_init(tree, &stream.torch));
    stream.torch.stream = true;
    lks_status_t status;
    LKS_GOTO(lks_tree_create(&scratch), free_writer);
    status = write_stream(&stream, scratch, sink);
    lks_tree_destroy(scratch);

free_writer:
    free(stream.keys);
    lks_strbuf_fini(&stream.pickles);
    lks_torch_writer_fini(&stream.torch);
    return status;
}
