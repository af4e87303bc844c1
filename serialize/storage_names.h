/* SPDX-License-Identifier: Apache-2.0 */
/* storage_names.h - what storages are called in error messages: each by the path of a tensor in it, the first one
 * that is met breadth-first through dicts, lists and tuples. */
#ifndef LOCKSTEP_SERIALIZE_STORAGE_NAMES_H
#define LOCKSTEP_SERIALIZE_STORAGE_NAMES_H

#include "serialize/places.h"

typedef struct lks_storage_names lks_storage_names_t;

/** Goes through the whole tree. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_storage_names_create(const lks_tree_t *tree,
                                                    lks_storage_names_t **out);
void lks_storage_names_destroy(lks_storage_names_t *names); /* NULL does nothing */

/** The path of storage `index`, in `path`; NULL if no tensor lies in it, or the tree is that tensor. */
const char *lks_storage_name(const lks_storage_names_t *names, size_t index,
                             char path[LKS_PATH_MAX]);

#endif
