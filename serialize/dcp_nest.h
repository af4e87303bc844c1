/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_nest.h - flattened state dicts and nested ones. torch.distributed.checkpoint flattens {'a': {'b': [t, u]}} into
 * 'a.b.0' and 'a.b.1', and keeps the paths ('a', 'b', 0) and ('a', 'b', 1): a str is a key, an int a place in a list.
 * What kind of dict it was, and that a key was no str, is lost. */
#ifndef LOCKSTEP_SERIALIZE_DCP_NEST_H
#define LOCKSTEP_SERIALIZE_DCP_NEST_H

#include "serialize/dcp_metadata.h"

/** Puts values (by item) where the items' paths say, those without a path under their names, and empty dicts at paths
 *  that belong to no item, as lockstep writes them. `*root` is a dict. Errors: FORMAT, NO_MEMORY, the tree's. */
LKS_NODISCARD lks_status_t lks_dcp_nest(lks_tree_t *tree, const lks_dcp_metadata_t *metadata,
                                        lks_value_t *const *values, lks_value_t **root);

#endif
