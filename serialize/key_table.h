/* SPDX-License-Identifier: Apache-2.0 */
/* key_table.h - looks names up among many, whole or by what is left behind a front.
 * Names are hashed from their last byte to their first: one pass over a name meets the hashes of all its
 * suffixes, so "which prefix is missing here?" costs no more than a look-up. */
#ifndef LOCKSTEP_SERIALIZE_KEY_TABLE_H
#define LOCKSTEP_SERIALIZE_KEY_TABLE_H

#include "serialize/keys.h"

#include <lockstep/status.h>
#include <stdint.h>

typedef struct lks_key_slot {
    uint64_t hash;
    size_t index; /* plus 1; 0 is an empty slot */
} lks_key_slot_t;

typedef struct lks_key_table {
    const lks_name_t *names; /* borrowed */
    lks_key_slot_t *slots;
    size_t mask; /* mask + 1 slots, a power of two */
} lks_key_table_t;

/** A table of names[0..count), which must outlive it. Of equal names the first is in it; `*repeated` is the
 *  first index whose name stood before, or SIZE_MAX. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_key_table_init(lks_key_table_t *table, const lks_name_t *names,
                                              size_t count, size_t *repeated);
void lks_key_table_fini(lks_key_table_t *table);

/** Index of the name, or SIZE_MAX. */
size_t lks_key_table_find(const lks_key_table_t *table, lks_name_t name);

/** Fronts of more components than this are not looked for: a hostile name has a million. */
#define LKS_FRONT_COMPONENTS_MAX 8

/** The places where components of a name begin, from its last to its second, and the table has the rest. */
typedef struct lks_suffix_walk {
    const lks_key_table_t *table;
    lks_name_t name;
    size_t at;    /* bytes in front of what was hashed */
    size_t limit; /* longest front that counts */
    uint64_t hash;
} lks_suffix_walk_t;

void lks_suffix_walk_init(lks_suffix_walk_t *walk, const lks_key_table_t *table, lks_name_t name);

/** The next shorter front: `*front` is its length, dot included, `*index` the name that is left behind it.
 *  False at the end. */
bool lks_suffix_walk_next(lks_suffix_walk_t *walk, size_t *front, size_t *index);

#endif
