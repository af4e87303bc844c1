/* SPDX-License-Identifier: Apache-2.0 */
/* private_load.h - a tree's storages, moved from a mapped file to memory of their own. */
#ifndef LOCKSTEP_SERIALIZE_PRIVATE_LOAD_H
#define LOCKSTEP_SERIALIZE_PRIVATE_LOAD_H

#include "serialize/source.h"

#include <lockstep/checkpoint.h>

/** Reads those storages that lie in the source, verifies all that are asked for, and puts the copies in the
 *  tree. On failure the tree is as it was. Errors: as lks_checkpoint_load_private. */
LKS_NODISCARD lks_status_t lks_private_load(lks_tree_t *tree, const lks_source_t *source,
                                            const lks_load_options_t *options);

#endif
