/* SPDX-License-Identifier: Apache-2.0 */
/* tree_walk.h - every leaf of a value tree with its dotted path, in order.
 * Containers, tensors and texts of more than 1 KiB that stand in several places are visited where they occur first, and
 * a path ends after 4 KiB (behind 64 MiB of them after 256 bytes), so that a walk ends whatever a file does: shared lists have more paths than there are atoms, and some trees are cycles. */
#ifndef LOCKSTEP_CLI_TREE_WALK_H
#define LOCKSTEP_CLI_TREE_WALK_H

#include <lockstep/value.h>

/** What is visited besides. */
enum {
    WALK_ATTRIBUTES = 1, /* attributes of dicts */
    WALK_REPEATED =
        2 /* tensors and containers that stand in several places, in all of them, as far as that ends:
                            not inside themselves, not deeper than 64 levels, and 100,000 times in all */
};

/** `path` and its length are valid during the call; the walk stops at the first error. */
typedef lks_status_t (*leaf_fn_t)(void *context, const char *path, size_t nbytes,
                                  const lks_value_t *leaf);

/** Leaves are scalars, tensors, globals, empty containers, and objects: their class first, then what is inside:
 *  arguments as "path.<arg0>", state, items and entries directly below. Behind a tensor come its attributes as
 *  "path.__dict__.name" and its quantizer as "path.<quantizer>.0"; with WALK_ATTRIBUTES, behind a dict its attributes as
 *  "path.<attrs>.name" (module versions of state dicts, mostly). Dict keys that are no str or int are shown as
 *  <kind N>. Errors: those of `leaf`, NO_MEMORY. */
LKS_NODISCARD lks_status_t tree_walk(const lks_value_t *root, unsigned flags, leaf_fn_t leaf,
                                     void *context);

#endif
