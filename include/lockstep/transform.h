/* SPDX-License-Identifier: Apache-2.0 */
/* transform.h - changes to a whole value tree, in place: which part of it is kept, how it is nested, its dtypes and its
 * device tags. Names are rename.h's business.
 * The tree is one that was built, or a checkpoint's (lks_checkpoint_edit): then nothing of the file changes, and bytes
 * are read, checked and converted when they are first wanted.
 * A call that fails leaves the tree as it was, except that one which runs into the tree's own memory limit has failed
 * for good (lks_tree_status). Threads: a tree belongs to one thread while it changes. */
#ifndef LOCKSTEP_TRANSFORM_H
#define LOCKSTEP_TRANSFORM_H

#include <lockstep/value.h>

LKS_BEGIN_DECLS

/** Makes the state dict at `path`, or with path NULL the one that lks_state_dict_find finds, the root: an ordered dict
 *  of its entries, `_metadata` and values that are no tensors included. That of a whole model is built from its
 *  modules. Errors: as lks_state_dict_find. */
LKS_API LKS_NODISCARD lks_status_t lks_tree_keep_state_dict(lks_tree_t *tree, const char *path);

/** Makes the root one dict without dicts, lists and tuples inside: {'model': {'w': t}, 'lr': [0.1]} becomes
 *  {'model.w': t, 'lr.0': 0.1}. Empty containers stay as they are.
 *  Errors: MISMATCH (two values under one name, which is named), UNSUPPORTED (a key that is no str or int; a
 *  container inside itself), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_tree_flatten(lks_tree_t *tree);

/** Converts every tensor of `from` to `to`; `from` NULL: every float64, float32, float16 and bfloat16 one. Goes by
 *  storages, so tensors that share memory still do. Elements are converted as lks_tensor_convert does, when a
 *  storage is loaded. `*count` (may be NULL) is the number of storages.
 *  Errors: UNSUPPORTED (a dtype that does not convert), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_tree_cast(lks_tree_t *tree, const lks_dtype_t *from,
                                                 lks_dtype_t to, size_t *count);

/** Rewrites device tags as torch.load's map_location does: "FROM=TO", where FROM is a tag ("cuda:1") or a kind of
 *  device ("cuda": with any number), or "TO" alone for every tag. `*count` (may be NULL) is the number of storages
 *  that have another tag now. Errors: INVALID_ARG (no such form). */
LKS_API LKS_NODISCARD lks_status_t lks_tree_map_location(lks_tree_t *tree, const char *rule,
                                                         size_t *count);

LKS_END_DECLS
#endif
