/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict_search.h - the dict or module that a state dict is a view of: by its path, or
 * where none is given. */
#ifndef LOCKSTEP_SERIALIZE_STATE_DICT_SEARCH_H
#define LOCKSTEP_SERIALIZE_STATE_DICT_SEARCH_H

#include "serialize/places.h"

/** True if entry `index` of the dict is a tensor under a str key; and how many of those there are. */
bool lks_dict_has_tensor_at(const lks_value_t *dict, size_t index);
size_t lks_dict_count_tensors(const lks_value_t *dict);

/** The same of any value: of a module, those its state_dict() would have. A module that cannot be listed has
 *  none: it must not keep others from being found. `*budget` as in module_tree.h. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_value_count_tensors(const lks_value_t *value, size_t *budget,
                                                   size_t *count);

/** The dict or module with the most of them (a module: of those its state_dict() would have) among those
 *  reachable through dicts, lists and tuples; breadth-first, the first on a tie. Optimizer states are not
 *  entered. Errors: NOT_FOUND, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_state_dict_search(const lks_value_t *root, const lks_value_t **out,
                                                 char path[LKS_PATH_MAX]);

/** The value at a dotted path: str and int keys of dicts, positions in lists and tuples, submodules. A key may contain
 *  dots itself; the longest one that the path goes on with is taken. "" is the root. Errors: NOT_FOUND. */
LKS_NODISCARD lks_status_t lks_value_at_path(const lks_value_t *root, const char *path,
                                             const lks_value_t **out);

/** The same where only a dict, or with `modules` a module, is wanted. Errors: NOT_FOUND, MISMATCH. */
LKS_NODISCARD lks_status_t lks_state_dict_at_path(const lks_value_t *root, const char *path,
                                                  bool modules, const lks_value_t **out);

/** NOT_FOUND: what is at the path has no tensors. */
lks_status_t lks_fail_no_tensors(const char *path);

#endif
