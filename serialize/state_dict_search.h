/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict_search.h - the dict that a state dict is a view of: by its path, or where none is given. */
#ifndef LOCKSTEP_SERIALIZE_STATE_DICT_SEARCH_H
#define LOCKSTEP_SERIALIZE_STATE_DICT_SEARCH_H

#include <lockstep/value.h>

/** Bytes of a path that was found, zero included; a longer one loses its front ("..."). */
#define LKS_PATH_MAX 4096

/** True if entry `index` of the dict is a tensor under a str key; and how many of those there are. */
bool lks_dict_has_tensor_at(const lks_value_t *dict, size_t index);
size_t lks_dict_count_tensors(const lks_value_t *dict);

/** The dict with the most of them among the dicts reachable through dicts, lists and tuples; breadth-first,
 *  the first on a tie. Optimizer states are not entered. Errors: NOT_FOUND, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_state_dict_search(const lks_value_t *root, const lks_value_t **out,
                                                 char path[LKS_PATH_MAX]);

/** The value at a dotted path: str and int keys of dicts, positions in lists and tuples. A key may contain
 *  dots itself; the longest one that the path goes on with is taken. "" is the root. Errors: NOT_FOUND. */
LKS_NODISCARD lks_status_t lks_value_at_path(const lks_value_t *root, const char *path,
                                             const lks_value_t **out);

#endif
