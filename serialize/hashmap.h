/* SPDX-License-Identifier: Apache-2.0 */
/* hashmap.h - two hash tables: from 64-bit numbers (memo indices, addresses) and from texts (record names,
 * strings already written) to sizes. Nothing is ever removed. */
#ifndef LOCKSTEP_SERIALIZE_HASHMAP_H
#define LOCKSTEP_SERIALIZE_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Spreads every bit of `x` over the result. */
uint64_t lks_mix64(uint64_t x);

/** The same number throughout the process, and another in the next: with it in a hash, no file can be
 *  prepared whose keys collide. */
uint64_t lks_hash_seed(void);

/** Continues `hash` over `nbytes` bytes. */
uint64_t lks_hash_bytes(uint64_t hash, const void *data, size_t nbytes);

typedef struct lks_intmap_slot {
    uint64_t key;
    size_t value; /* plus 1; 0 is an empty slot */
} lks_intmap_slot_t;

/** Zeroed is empty. */
typedef struct lks_intmap {
    lks_intmap_slot_t *slots;
    size_t mask, count; /* mask + 1 slots, a power of two */
} lks_intmap_t;

void lks_intmap_fini(lks_intmap_t *map);

/** map[key] = value (value < SIZE_MAX). False when memory ran out. */
bool lks_intmap_set(lks_intmap_t *map, uint64_t key, size_t value);

/** map[key], or SIZE_MAX. */
size_t lks_intmap_get(const lks_intmap_t *map, uint64_t key);

typedef struct lks_strmap_entry {
    const char *text;
    size_t nbytes, value;
} lks_strmap_entry_t;

typedef struct lks_strmap_slot {
    uint32_t hash, entry; /* entry: index plus 1; 0 is an empty slot */
} lks_strmap_slot_t;

/** Zeroed is empty. Keys are borrowed; there are fewer than 2^31. */
typedef struct lks_strmap {
    lks_strmap_entry_t *entries; /* as they were added */
    lks_strmap_slot_t *slots;
    size_t mask, count; /* mask + 1 slots, a power of two; half as many entries */
} lks_strmap_t;

void lks_strmap_fini(lks_strmap_t *map);

/** Makes room for `count` keys in an empty map. False when memory ran out. */
bool lks_strmap_reserve(lks_strmap_t *map, size_t count);

/** The value of `text`, set to `value` (< SIZE_MAX) first if it had none. SIZE_MAX when memory ran out. */
size_t lks_strmap_add(lks_strmap_t *map, const char *text, size_t nbytes, size_t value);

/** map[text], or SIZE_MAX. */
size_t lks_strmap_get(const lks_strmap_t *map, const char *text, size_t nbytes);

#endif
