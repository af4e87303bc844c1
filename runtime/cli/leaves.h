/* SPDX-License-Identifier: Apache-2.0 */
/* leaves.h - every leaf of a value tree, sorted by its path, to be looked up or put beside those of another tree. */
#ifndef LOCKSTEP_CLI_LEAVES_H
#define LOCKSTEP_CLI_LEAVES_H

#include <lockstep/value.h>

typedef struct leaf {
    char *path;              /* a zero follows; it may hold others */
    size_t nbytes, position; /* position in the tree */
    const lks_value_t *value;
} leaf_t;

typedef struct leaves {
    leaf_t *items;
    size_t count, capacity;
} leaves_t;

/** Collects them; `flags` as in tree_walk. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t leaves_collect(const lks_value_t *root, unsigned flags, leaves_t *out);
void leaves_fini(leaves_t *leaves);

/** Orders two leaves by path; 0 for equal paths. */
int leaf_compare_paths(const leaf_t *a, const leaf_t *b);

#endif
