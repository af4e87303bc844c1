/* SPDX-License-Identifier: Apache-2.0 */
/* parts.h - a checkpoint made of several others: shards, or the archives inside a distributed checkpoint. Values of a
 * part are copied into the tree of the whole, where loading a storage means loading it in its part. */
#ifndef LOCKSTEP_SERIALIZE_PARTS_H
#define LOCKSTEP_SERIALIZE_PARTS_H

#include "serialize/value_node.h"

typedef struct lks_part {
    lks_checkpoint_t *checkpoint;
    size_t *map;  /* storage of the part -> storage of the whole, SIZE_MAX while it is not used */
    size_t count; /* storages of the part */
} lks_part_t;

typedef struct lks_parts {
    lks_tree_t *tree; /* of the whole */
    lks_part_t *items;
    size_t count, capacity;
    struct lks_part_storage {
        size_t part, index;
    } * origin; /* by storage of the whole; part SIZE_MAX: none of a part */
    size_t origin_count, origin_capacity;
} lks_parts_t;

/** No parts yet; sets the tree's load and unload hooks, whose context is `out`. */
void lks_parts_init(lks_tree_t *tree, lks_parts_t *out);

/** Closes all parts; the tree must be destroyed before. */
void lks_parts_fini(lks_parts_t *parts);

/** Takes over an open checkpoint, also on failure. `*index` is its number. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_parts_add(lks_parts_t *parts, lks_checkpoint_t *checkpoint,
                                         size_t *index);

/** Copies a value of part `index` into the tree of the whole. Costs a look at every storage of the part, so take its
 *  root rather than one value after the other. Errors: the tree's. */
LKS_NODISCARD lks_status_t lks_parts_graft(lks_parts_t *parts, size_t index,
                                           const lks_value_t *value, lks_value_t **out);

/** Loads a storage of the whole; OK for those of no part. The hooks of the tree, for formats with hooks of their
 *  own. */
LKS_NODISCARD lks_status_t lks_parts_load(void *parts, size_t storage, const char *name);
void lks_parts_unload(void *parts, size_t storage);

#endif
