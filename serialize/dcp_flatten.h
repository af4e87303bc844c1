/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_flatten.h - a nested state dict as torch.distributed.checkpoint (2.4 and later) flattens it before saving: dicts,
 * and lists in which there is a tensor or dict, are taken apart; everything else is a value, tuples included. */
#ifndef LOCKSTEP_SERIALIZE_DCP_FLATTEN_H
#define LOCKSTEP_SERIALIZE_DCP_FLATTEN_H

#include <lockstep/checkpoint.h>

typedef enum {
    LKS_DCP_LEAF_TENSOR, /* nothing but elements, which can stand as a tensor of its own */
    LKS_DCP_LEAF_VALUE,
    LKS_DCP_LEAF_EMPTY /* a dict with nothing in it: has a path, and no bytes. Torch drops it */
} lks_dcp_leaf_kind_t;

typedef struct lks_dcp_leaf {
    lks_dcp_leaf_kind_t kind;
    const lks_value_t *value;
    lks_value_t *name, *path; /* "model.fc.0.weight" and ('model', 'fc.0.weight') */
    uint64_t nbytes;          /* of a tensor's elements, of a value's storages */
    size_t file;              /* where it is written */
    uint64_t start, length;
} lks_dcp_leaf_t;

typedef struct lks_dcp_leaves {
    lks_dcp_leaf_t *items;
    size_t count, capacity;
} lks_dcp_leaves_t;

/** Flattens the root of a tree. Names and paths are made in `out`. lks_dcp_leaves_fini also after a failure.
 *  Errors: UNSUPPORTED (the root is no dict; two values of one name; containers in themselves; a key that is no str or
 *  int, unless `options` say to leave it out), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_flatten(const lks_tree_t *tree,
                                           const lks_save_options_t *options, lks_tree_t *out,
                                           lks_dcp_leaves_t *leaves);
void lks_dcp_leaves_fini(lks_dcp_leaves_t *leaves);

#endif
