/* SPDX-License-Identifier: Apache-2.0 */
/* sharded_index.h - which file each tensor of a sharded checkpoint is in. */
#ifndef LOCKSTEP_SERIALIZE_SHARDED_INDEX_H
#define LOCKSTEP_SERIALIZE_SHARDED_INDEX_H

#include "serialize/source.h"
#include "serialize/value_node.h"

typedef struct lks_shard {
    const char *file;        /* its plain name; in the tree */
    const lks_value_t *dict; /* what is in it, once it was opened; of the tree */
} lks_shard_t;

typedef struct lks_shard_entry {
    lks_value_t *name; /* a str of the tree */
    size_t shard;
} lks_shard_entry_t;

typedef struct lks_sharded_index {
    lks_shard_entry_t *entries; /* in the order of the index */
    lks_shard_t *shards;        /* as they are met */
    size_t entry_count, entry_capacity, shard_count, shard_capacity;
    lks_strmap_t files; /* of the shards */
} lks_sharded_index_t;

/** True if the file begins as an index does: an object that has a "weight_map" early on. */
bool lks_sharded_index_probe(const lks_source_t *source);

/** Adds the weight_map of an index to `*index`, zeroed at first; names are put into the tree. A name that is there
 *  twice is left to see for who makes a dict of them.
 *  Errors: FORMAT (no such JSON, a shard that is no plain name of a file, a limit), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_sharded_index_read(const lks_source_t *source,
                                                  const lks_checkpoint_limits_t *limits,
                                                  lks_tree_t *tree, lks_sharded_index_t *index);

/** The number of the shard of that name, which is added if it is new. Errors: as above. */
LKS_NODISCARD lks_status_t lks_sharded_index_shard(lks_sharded_index_t *index, lks_tree_t *tree,
                                                   const char *file, size_t nbytes, size_t *number);
void lks_sharded_index_fini(lks_sharded_index_t *index);

#endif
