/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_archive.c - see dcp_archive.h. */
#include "serialize/dcp_archive.h"
#include "serialize/dcp_chunk.h"
#include "serialize/format.h"
#include "serialize/pack.h"
#include "serialize/value_node.h"

#include <stdio.h>
#include <string.h>

#define DESCRIBED_MAX 256

lks_status_t lks_dcp_archive_open(lks_source_t *source, const lks_dcp_chunk_t *chunk,
                                  const lks_checkpoint_limits_t *limits, lks_checkpoint_t **out)
{
    lks_source_t *slice;
    LKS_TRY(lks_source_slice(source, chunk->start, chunk->nbytes, source->path, &slice));
    lks_checkpoint_t *archive;
    lks_status_t status = lks_checkpoint_open_source(slice, limits, &archive);
    lks_source_release(slice);
    LKS_TRY(status);
    if (strcmp(lks_checkpoint_format(archive), "torch_zip") != 0) {
        status = lks_fail(LKS_ERR_UNSUPPORTED,
                          "'%s' has %s data at byte %zu, where torch.save's was expected",
                          source->path, lks_checkpoint_format(archive), chunk->start);
        lks_checkpoint_close(archive);
        return status;
    }
    *out = archive;
    return LKS_OK;
}

static bool same_shape(const lks_dcp_item_t *item, const lks_dcp_chunk_t *chunk,
                       const lks_value_tensor_t *tensor)
{
    size_t nbytes = (size_t)item->ndim * sizeof(int64_t);
    return tensor->ndim == item->ndim &&
           (nbytes == 0 || memcmp(tensor->shape, chunk->sizes, nbytes) == 0);
}

/* "float32 (3, 4)" */
static const char *describe(char text[DESCRIBED_MAX], lks_dtype_t dtype, int ndim,
                            const int64_t *shape)
{
    int length = snprintf(text, DESCRIBED_MAX, "%s ", lks_dtype_name(dtype));
    (void)lks_shape_format(text + length, DESCRIBED_MAX - (size_t)length, ndim, shape);
    return text;
}

static lks_status_t fail_other(const lks_dcp_item_t *item, const lks_dcp_chunk_t *chunk,
                               const lks_checkpoint_t *archive)
{
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(archive));
    const lks_value_tensor_t *tensor = lks_value_tensor(root);
    char found[DESCRIBED_MAX], wanted[DESCRIBED_MAX];
    return lks_fail(LKS_ERR_FORMAT, "'%s' has %s at byte %zu, .metadata says %s",
                    lks_checkpoint_path(archive),
                    tensor ? describe(found, tensor->dtype, tensor->ndim, tensor->shape)
                           : lks_value_kind_name(lks_value_kind(root)),
                    chunk->start, describe(wanted, item->dtype, item->ndim, chunk->sizes));
}

lks_status_t lks_dcp_archive_tensor(const lks_checkpoint_t *archive, const lks_dcp_item_t *item,
                                    const lks_dcp_chunk_t *chunk, const lks_value_t **out)
{
    const lks_tree_t *tree = lks_checkpoint_tree(archive);
    const lks_value_t *root = lks_tree_root(tree);
    const lks_value_tensor_t *tensor = lks_value_tensor(root);
    if (!tensor || tensor->dtype != item->dtype || !same_shape(item, chunk, tensor)) {
        return fail_other(item, chunk, archive);
    }
    uint64_t nbytes;
    LKS_TRY(lks_tensor_packed_size(tensor, &nbytes));
    if (nbytes > lks_storage_nbytes(lks_tree_storage(tree, tensor->storage)->storage)) {
        return lks_fail(LKS_ERR_FORMAT, "'%s' has fewer bytes than the elements at byte %zu need",
                        lks_checkpoint_path(archive), chunk->start);
    }
    *out = root;
    return LKS_OK;
}

bool lks_dcp_is_plain(const lks_value_t *tensor)
{
    return !lks_value_tensor_quantizer(tensor) && !lks_value_tensor_attributes(tensor);
}

lks_status_t lks_dcp_archive_load(const lks_checkpoint_t *archive, const lks_dcp_item_t *item,
                                  const lks_dcp_chunk_t *chunk, void *whole, const char *name)
{
    const lks_tree_t *tree = lks_checkpoint_tree(archive);
    const lks_value_t *root;
    LKS_TRY(lks_dcp_archive_tensor(archive, item, chunk, &root));
    const lks_value_tensor_t *tensor = lks_value_tensor(root);
    if (item->count > 1 && (!lks_dcp_is_plain(root) || tensor->is_conj || tensor->is_neg)) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "'%s' has a part of a quantized, conjugated or "
                        "negated tensor at byte %zu",
                        lks_checkpoint_path(archive), chunk->start);
    }
    LKS_TRY(lks_tree_load_storage(tree, tensor->storage, name));
    if (!whole) {
        return LKS_OK;
    }
    lks_dcp_scatter_t scatter = lks_dcp_scatter_to(whole, item, chunk);
    return lks_tensor_pack(tree, tensor, lks_dcp_scatter_write, &scatter);
}
