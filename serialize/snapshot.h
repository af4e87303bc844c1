/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - a copy of a tree with all its bytes, which stays as it is while the tree goes on changing.
 * The bytes lie in one block, as long as the storages of the tree are together (each rounded up to 64 bytes). The block
 * is kept for the next snapshot: fresh memory costs a page fault for every page. */
#ifndef LOCKSTEP_SERIALIZE_SNAPSHOT_H
#define LOCKSTEP_SERIALIZE_SNAPSHOT_H

#include <lockstep/value.h>

/** Zeroed is empty. */
typedef struct lks_snapshot {
    lks_tree_t *tree; /* NULL: none taken */
    unsigned char *memory;
    size_t capacity;
} lks_snapshot_t;

/** Takes a snapshot, instead of the one before. Only storages that a value names are copied.
 *  Errors: what making a storage's bytes valid meets (CORRUPT, IO), NO_MEMORY; then there is none. */
LKS_NODISCARD lks_status_t lks_snapshot_take(lks_snapshot_t *snapshot, const lks_tree_t *tree);

/** Forgets the tree, and keeps the memory. */
void lks_snapshot_clear(lks_snapshot_t *snapshot);
void lks_snapshot_fini(lks_snapshot_t *snapshot);

#endif
