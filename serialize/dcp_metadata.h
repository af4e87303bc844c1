/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_metadata.h - what the `.metadata` of a torch.distributed.checkpoint directory says. It is one pickle of dataclasses:
 *     Metadata
 *         state_dict_metadata    {name: TensorStorageMetadata(properties, size, chunks) or BytesStorageMetadata()}
 *         storage_data           {MetadataIndex(name, offset): _StorageInfo(relative_path, offset, length)}
 *         planner_data           {name: the path that it was flattened from}, or something else
 * Modules are torch.distributed._shard.checkpoint (1.13) or torch.distributed.checkpoint (2.x). Nothing is believed:
 * whoever holds the result knows that chunks tile their tensors and that no two items share a byte of a file. */
#ifndef LOCKSTEP_SERIALIZE_DCP_METADATA_H
#define LOCKSTEP_SERIALIZE_DCP_METADATA_H

#include "core/arena.h"
#include "serialize/source.h"

#include <lockstep/checkpoint.h>

/** A piece of a tensor, or a pickled value: one archive of torch.save in a range of a file. */
typedef struct lks_dcp_chunk {
    const int64_t *offsets, *sizes; /* ndim each */
    size_t file;                    /* index into the metadata's files */
    size_t start, nbytes;           /* of the range */
} lks_dcp_chunk_t;

/** An entry of the flattened state dict. */
typedef struct lks_dcp_item {
    const char *name;
    const lks_value_t
        *key; /* the name as a str, and its path (NULL: none); both in the tree that was read */
    const lks_value_t *path; /* into */
    bool is_tensor;          /* else it has one chunk of no dimensions */
    bool requires_grad;
    lks_dtype_t dtype;
    int ndim;
    const int64_t *size;     /* of the whole tensor */
    size_t nbytes;           /* of its elements */
    lks_dcp_chunk_t *chunks; /* those that have elements */
    size_t count;
} lks_dcp_item_t;

typedef struct lks_dcp_metadata {
    lks_arena_t arena;
    lks_dcp_item_t *items;
    size_t count;
    const char **files; /* plain names, in the tree that was read into */
    size_t file_count;
    const lks_value_t *paths; /* planner_data, NULL if it is none */
} lks_dcp_metadata_t;

/** Reads the file into `tree` and interprets it; lks_dcp_metadata_fini also after a failure.
 *  Errors: FORMAT, UNSUPPORTED (compressed files, layouts other than strided), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_metadata_read(const lks_source_t *source,
                                                 const lks_checkpoint_limits_t *limits,
                                                 lks_tree_t *tree, lks_dcp_metadata_t *out);
void lks_dcp_metadata_fini(lks_dcp_metadata_t *metadata);

#endif
