/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip.c - reading; see torch_zip.h. */
#include "serialize/torch_zip.h"
#include "serialize/cast.h"
#include "serialize/format.h"
#include "serialize/torch_archive.h"

#include <stdlib.h>

static bool probe(lks_origin_t *origin)
{
    return lks_origin_is_zip(origin);
}

static lks_status_t open_archive(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                                 lks_tree_t *tree, void **state)
{
    LKS_TRY(lks_torch_archive_open(origin, limits, tree, state));
    lks_value_t *root;
    LKS_TRY(lks_torch_archive_read(*state, "data.pkl", "data/", NULL, &root));
    lks_tree_set_root(tree, root);
    return lks_torch_archive_list(*state);
}

static lks_status_t update_archive(void *state, const lks_tree_t *tree, int fd, const char *path,
                                   bool sync)
{
    const lks_torch_archive_t *archive = state;
    size_t count = archive->storages.count;
    const lks_zip_entry_t **records = calloc(count + 1, sizeof *records);
    if (!records) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        bool is_cast = lks_cast_of(archive->tree, i) != NULL;
        records[i] = is_cast ? NULL : archive->storages.items[i].entry;
    }
    const lks_torch_zip_file_t file = {
        .path = path,
        .zip = &archive->zip,
        .root = archive->root,
        .root_length = archive->root_length,
        .tree = archive->tree,
        .records = records,
        .record_count = count,
    };
    lks_status_t status = lks_torch_zip_update(&file, tree, fd, sync);
    free(records);
    return status;
}

const lks_format_t lks_format_torch_zip = {
    .name = "torch_zip",
    .probe = probe,
    .open = open_archive,
    .close = lks_torch_archive_close,
    .records = lks_torch_archive_records,
    .save = lks_torch_zip_save,
    .update = update_archive,
};
