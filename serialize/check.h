/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - checking the bytes of many storages at once.
 * A tree's `load` hook (value_node.h) makes one storage valid, in the thread that asks. A format whose
 * checksums are CRC-32 over bytes as they lie in the file fills an lks_checks_t as well: then many storages are
 * checksummed by all threads together, in blocks, and their `load` finds the work done. */
#ifndef LOCKSTEP_SERIALIZE_CHECK_H
#define LOCKSTEP_SERIALIZE_CHECK_H

#include "serialize/storage_names.h"

/** A part of a file that has a checksum: a storage, or a record that no tensor lies in. */
typedef struct lks_check {
    uint64_t place;            /* where it is in the file */
    uint64_t nbytes;           /* that are checked */
    const unsigned char *data; /* they lie there, mapped; NULL: they must be loaded to be checked */
    bool known;                /* it was checked before */
} lks_check_t;

/** What a format tells of its checks, by number. `context` is that of the tree's `load`. */
typedef struct lks_checks {
    /* How many there are. The first `*storages` are the storages that the tree was read with, by index. */
    size_t (*count)(void *context, size_t *storages);
    void (*get)(void *context, size_t index, lks_check_t *out);
    /* `crc` was found over the bytes. From one thread at a time, as all but `verdict`. */
    void (*settle)(void *context, size_t index, uint32_t crc);
    /* Whether it is good, finding that out if need be; `name` as for `load`. */
    lks_status_t (*verdict)(void *context, size_t index, const char *name);
} lks_checks_t;

/** How many checks there are, storages first; without an lks_checks_t, as many as the tree has storages, or none if
 *  there is no `load` either. `storages` may be NULL. */
size_t lks_check_count(const lks_tree_t *tree, size_t *storages);
lks_check_t lks_check_get(const lks_tree_t *tree, size_t index);

/** Checks indices[0..count) on up to `threads` threads (0: one for each core). Verdicts are quick then, and `load`
 *  is. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_checks_run(const lks_tree_t *tree, const size_t *indices,
                                          size_t count, size_t threads);

/** The same for storages, of which some may have no check. */
LKS_NODISCARD lks_status_t lks_checks_run_storages(const lks_tree_t *tree, const size_t *storages,
                                                   size_t count, size_t threads);

/** Whether the bytes of a storage are in memory only as long as it is loaded. */
bool lks_storage_takes_memory(const lks_tree_t *tree, size_t index);

/** Checks those storages that lie in a map as they are checked, and take no memory. */
LKS_NODISCARD lks_status_t lks_checks_run_mapped(const lks_tree_t *tree, const size_t *storages,
                                                 size_t count, size_t threads);

/** Whether a check is good; where not, the sentence names a tensor in it. `*names`, NULL at first, is made when it is
 *  needed; the caller destroys it. Errors: those of `load`. */
LKS_NODISCARD lks_status_t lks_check_verdict(const lks_tree_t *tree, size_t index,
                                             lks_storage_names_t **names);

#endif
