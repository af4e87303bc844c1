/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint.c - the calls of checkpoint.h over the table of formats. */
#include "serialize/format.h"
#include "serialize/in_place.h"
#include "serialize/pack.h"
#include "serialize/parts.h"
#include "serialize/private_load.h"
#include "serialize/save.h"
#include "serialize/value_node.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct lks_checkpoint {
    lks_origin_t origin;
    char *path;
    const lks_format_t *format;
    void *state; /* the format's */
    lks_tree_t *tree;
};

/* --- opening ------------------------------------------------------------------------------------ */

lks_checkpoint_limits_t lks_checkpoint_limits_default(void)
{
    return (lks_checkpoint_limits_t){
        .memory = (size_t)1 << 30, .max_depth = 1000000, .max_nodes = 50000000};
}

static lks_status_t read_origin(lks_checkpoint_t *checkpoint, const lks_checkpoint_limits_t *limits)
{
    const lks_checkpoint_limits_t defaults = lks_checkpoint_limits_default();
    limits = limits ? limits : &defaults;
    LKS_TRY(lks_format_probe(&checkpoint->origin, &checkpoint->format));
    LKS_TRY(lks_tree_create_limited(limits, &checkpoint->tree));
    checkpoint->tree->source = checkpoint->origin.source;
    return checkpoint->format->open(&checkpoint->origin, limits, checkpoint->tree,
                                    &checkpoint->state);
}

/* A checkpoint over the origin, which it takes over. */
static lks_status_t open_origin(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                lks_checkpoint_t **out)
{
    lks_checkpoint_t *checkpoint = calloc(1, sizeof *checkpoint);
    char *path = strdup(origin->path);
    if (!checkpoint || !path) {
        lks_status_t status =
            lks_fail(LKS_ERR_NO_MEMORY, "opening '%s': out of memory", origin->path);
        lks_origin_fini(origin);
        free(checkpoint);
        free(path);
        return status;
    }
    checkpoint->origin = *origin;
    checkpoint->origin.path = checkpoint->path = path;
    lks_status_t status = read_origin(checkpoint, limits);
    if (status != LKS_OK) {
        status = lks_error_prefix(status, "reading '%s'", path);
        lks_checkpoint_close(checkpoint);
        return status;
    }
    *out = checkpoint;
    return LKS_OK;
}

lks_status_t lks_checkpoint_open(const char *path, const lks_checkpoint_limits_t *limits,
                                 lks_checkpoint_t **out)
{
    lks_origin_t origin;
    LKS_TRY(lks_origin_open(path, &origin));
    return open_origin(&origin, limits, out);
}

lks_status_t lks_checkpoint_open_source(lks_source_t *source, const lks_checkpoint_limits_t *limits,
                                        lks_checkpoint_t **out)
{
    lks_origin_t origin;
    lks_origin_of(source, &origin);
    return open_origin(&origin, limits, out);
}

lks_status_t lks_checkpoint_open_memory(const void *data, size_t nbytes, const char *name,
                                        const lks_checkpoint_limits_t *limits,
                                        lks_checkpoint_t **out)
{
    lks_source_t *source;
    LKS_TRY(lks_source_wrap(data, nbytes, name, &source));
    lks_status_t status = lks_checkpoint_open_source(source, limits, out);
    lks_source_release(source);
    return status;
}

void lks_checkpoint_close(lks_checkpoint_t *checkpoint)
{
    if (!checkpoint) {
        return;
    }
    lks_tree_destroy(checkpoint->tree);
    if (checkpoint->state) {
        checkpoint->format->close(checkpoint->state);
    }
    lks_origin_fini(&checkpoint->origin);
    free(checkpoint->path);
    free(checkpoint);
}

const char *lks_checkpoint_path(const lks_checkpoint_t *checkpoint)
{
    return checkpoint->path;
}

const char *lks_checkpoint_format(const lks_checkpoint_t *checkpoint)
{
    return checkpoint->format->name;
}

uint64_t lks_checkpoint_file_size(const lks_checkpoint_t *checkpoint)
{
    return checkpoint->origin.nbytes;
}

const lks_tree_t *lks_checkpoint_tree(const lks_checkpoint_t *checkpoint)
{
    return checkpoint->tree;
}

lks_tree_t *lks_checkpoint_edit(lks_checkpoint_t *checkpoint)
{
    return checkpoint->tree;
}

/* --- tensors ------------------------------------------------------------------------------------ */

lks_status_t lks_checkpoint_storage(lks_checkpoint_t *checkpoint, size_t index, const char *name,
                                    const void **data, size_t *nbytes)
{
    const lks_tree_storage_t *storage = lks_tree_storage(checkpoint->tree, index);
    if (!storage) {
        return lks_fail(LKS_ERR_INVALID_ARG, "'%s' has %zu storages, no number %zu",
                        lks_checkpoint_path(checkpoint), lks_tree_storage_count(checkpoint->tree),
                        index);
    }
    LKS_TRY(lks_tree_show_storage(checkpoint->tree, index, name));
    *data = lks_storage_data(storage->storage);
    *nbytes = lks_storage_nbytes(storage->storage);
    return LKS_OK;
}

static lks_status_t check_tensor(const lks_checkpoint_t *checkpoint, const lks_value_t *value,
                                 const char *name)
{
    if (lks_value_tensor(value)) {
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_MISMATCH, "'%s': '%s' is not a tensor but %s",
                    lks_checkpoint_path(checkpoint), name ? name : "a value",
                    value ? lks_value_kind_name(lks_value_kind(value)) : "nothing");
}

lks_status_t lks_checkpoint_tensor(lks_checkpoint_t *checkpoint, const lks_value_t *value,
                                   const char *name, lks_tensor_t *out)
{
    LKS_TRY(check_tensor(checkpoint, value, name));
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    if (tensor->ndim > LKS_MAX_NDIM) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "'%s': tensor '%s' has %d dimensions, the most is %d",
                        lks_checkpoint_path(checkpoint), name ? name : "", tensor->ndim,
                        LKS_MAX_NDIM);
    }
    int64_t numel;
    LKS_TRY(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    const void *data;
    size_t nbytes;
    LKS_TRY(lks_checkpoint_storage(checkpoint, tensor->storage, name, &data, &nbytes));
    /* An empty tensor may point anywhere in a file; a view may not. */
    int64_t offset = numel > 0 ? tensor->offset : 0;
    return lks_tensor_view(lks_tree_storage(checkpoint->tree, tensor->storage)->storage,
                           tensor->dtype, offset, tensor->ndim, tensor->shape, tensor->stride, out);
}

lks_status_t lks_checkpoint_elements(lks_checkpoint_t *checkpoint, const lks_value_t *value,
                                     const char *name,
                                     void (*write)(void *context, const void *data, size_t nbytes),
                                     void *context)
{
    LKS_TRY(check_tensor(checkpoint, value, name));
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    LKS_TRY(lks_tree_show_storage(checkpoint->tree, tensor->storage, name));
    return lks_tensor_pack(checkpoint->tree, tensor, write, context);
}

void lks_checkpoint_unload(lks_checkpoint_t *checkpoint, size_t index)
{
    if (index < lks_tree_storage_count(checkpoint->tree)) {
        lks_tree_hide_storage(checkpoint->tree, index);
    }
}

/* --- what else an archive has ------------------------------------------------------------------- */

static const lks_zip_records_t *records_of(const lks_checkpoint_t *checkpoint)
{
    static const lks_zip_records_t none;
    const lks_format_t *format = checkpoint->format;
    return format->records ? format->records(checkpoint->state) : &none;
}

size_t lks_checkpoint_record_count(const lks_checkpoint_t *checkpoint)
{
    return records_of(checkpoint)->count;
}

const lks_record_t *lks_checkpoint_record(const lks_checkpoint_t *checkpoint, size_t index)
{
    const lks_zip_records_t *records = records_of(checkpoint);
    return index < records->count ? &records->items[index] : NULL;
}

lks_status_t lks_checkpoint_record_read(const lks_checkpoint_t *checkpoint, size_t index,
                                        void *data)
{
    const lks_zip_records_t *records = records_of(checkpoint);
    if (index >= records->count) {
        return lks_fail(LKS_ERR_INVALID_ARG, "'%s' has %zu records, no number %zu",
                        lks_checkpoint_path(checkpoint), records->count, index);
    }
    lks_status_t status = lks_zip_records_read(records, index, data);
    return status == LKS_OK
               ? LKS_OK
               : lks_error_prefix(status, "reading '%s'", lks_checkpoint_path(checkpoint));
}

const lks_value_t *lks_checkpoint_constants(const lks_checkpoint_t *checkpoint)
{
    const lks_format_t *format = checkpoint->format;
    return format->constants ? format->constants(checkpoint->state) : NULL;
}

lks_status_t lks_checkpoint_load_private(lks_checkpoint_t *checkpoint,
                                         const lks_load_options_t *options)
{
    const lks_load_options_t all = {0};
    if (!checkpoint->origin.source || checkpoint->tree->load == lks_parts_load) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "loading '%s': a checkpoint of several files is not read into memory of "
                        "its own",
                        checkpoint->path);
    }
    return lks_private_load(checkpoint->tree, checkpoint->origin.source, options ? options : &all);
}

/* --- saving ------------------------------------------------------------------------------------- */

lks_save_options_t lks_save_options_default(void)
{
    return (lks_save_options_t){.sync = true, .shard_size = 5000000000};
}

/* The sink names the file itself. */
static lks_status_t save_status(lks_status_t status, const char *path)
{
    return status == LKS_OK || status == LKS_ERR_IO
               ? status
               : lks_error_prefix(status, "writing '%s'", path);
}

static lks_status_t save_file(const lks_format_t *format, const char *path, const lks_tree_t *tree,
                              const lks_save_options_t *options)
{
    lks_sink_t *sink;
    LKS_TRY(lks_sink_create(path, &sink));
    lks_sink_set_threads(sink, options->threads);
    lks_sink_set_source(sink, tree->source);
    lks_status_t status = format->save(tree, path, options, sink);
    if (status != LKS_OK) {
        lks_sink_discard(sink);
        return status;
    }
    return lks_sink_commit(sink, options->sync);
}

static lks_status_t save_folder(const lks_format_t *format, const char *path,
                                const lks_tree_t *tree, const lks_save_options_t *options)
{
    lks_folder_t *folder;
    LKS_TRY(lks_folder_create(path, format->is_part, &folder));
    lks_status_t status = format->save_folder(tree, options, folder);
    if (status != LKS_OK) {
        lks_folder_discard(folder);
        return status;
    }
    return lks_folder_commit(folder, options->sync);
}

static lks_status_t find_format(const char *path, const lks_save_options_t *options,
                                const lks_format_t **out)
{
    const lks_format_t *format = lks_format_of_name(path);
    if (options->format) {
        LKS_TRY(lks_format_find(options->format, &format));
    }
    if (!format->save && !format->save_folder) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "writing '%s': the format '%s' is only read", path,
                        format->name);
    }
    if (!format->save && options->copy_count > 0) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "writing '%s': a checkpoint of several files is not copied", path);
    }
    *out = format;
    return LKS_OK;
}

static lks_status_t check_tree(const char *path, const lks_tree_t *tree)
{
    if (lks_tree_status(tree) != LKS_OK) {
        return lks_fail(LKS_ERR_INVALID_ARG, "writing '%s': building its values failed: %s", path,
                        lks_last_error()->message);
    }
    if (!lks_tree_root(tree)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "writing '%s': the tree has no root", path);
    }
    return LKS_OK;
}

lks_status_t lks_save_check(const char *path, const lks_tree_t *tree,
                            const lks_save_options_t *options)
{
    const lks_format_t *format;
    LKS_TRY(find_format(path, options, &format));
    return check_tree(path, tree);
}

static lks_status_t copy_file(const char *from, const char *to, bool sync)
{
    int fd;
    size_t size;
    LKS_TRY(lks_file_open_read(from, &fd, &size));
    lks_sink_t *sink;
    lks_status_t status = lks_sink_create(to, &sink);
    if (status == LKS_OK) {
        lks_sink_copy_file(sink, fd, size);
        status = lks_sink_commit(sink, sync);
    }
    (void)close(fd);
    return status;
}

static lks_opened_t opened_of(const lks_checkpoint_t *checkpoint)
{
    return (lks_opened_t){.format = checkpoint->format,
                          .state = checkpoint->state,
                          .source = checkpoint->origin.source,
                          .path = checkpoint->path};
}

/* `from` may be NULL. */
static lks_status_t save(const lks_checkpoint_t *from, const char *path, const lks_tree_t *tree,
                         const lks_save_options_t *options)
{
    const lks_save_options_t defaults = lks_save_options_default();
    options = options ? options : &defaults;
    const lks_format_t *format;
    LKS_TRY(find_format(path, options, &format));
    LKS_TRY(check_tree(path, tree));
    lks_status_t status = LKS_OK;
    bool done = false;
    if (from && from->format == format) {
        const lks_opened_t opened = opened_of(from);
        status = lks_in_place_save(&opened, tree, path, options->sync, &done);
    }
    if (status == LKS_OK && !done) {
        status = format->save ? save_file(format, path, tree, options)
                              : save_folder(format, path, tree, options);
    }
    for (size_t i = 0; i < options->copy_count && status == LKS_OK; i++) {
        status = copy_file(path, options->copies[i], options->sync);
    }
    return save_status(status, path);
}

lks_status_t lks_checkpoint_save(const char *path, const lks_tree_t *tree,
                                 const lks_save_options_t *options)
{
    return save(NULL, path, tree, options);
}

lks_status_t lks_checkpoint_save_as(const lks_checkpoint_t *checkpoint, const char *path,
                                    const lks_tree_t *tree, const lks_save_options_t *options)
{
    return save(checkpoint, path, tree, options);
}

lks_update_options_t lks_update_options_default(void)
{
    return (lks_update_options_t){.sync = true};
}

lks_status_t lks_checkpoint_update(lks_checkpoint_t *checkpoint, const lks_tree_t *tree,
                                   const lks_update_options_t *options)
{
    const lks_update_options_t defaults = lks_update_options_default();
    const lks_opened_t opened = opened_of(checkpoint);
    return lks_in_place_update(&opened, tree, options ? options : &defaults);
}

lks_status_t lks_checkpoint_copy(const char *from, const char *to)
{
    return copy_file(from, to, true);
}
