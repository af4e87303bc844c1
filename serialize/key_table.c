/* SPDX-License-Identifier: Apache-2.0 */
/* key_table.c - open addressing, linear probing, at most half full. The hash is seeded per process, so no
 * file can be prepared whose keys collide. */
#include "serialize/key_table.h"
#include "core/fnv.h"
#include "serialize/hashmap.h"

#include <stdlib.h>

static uint64_t hash_name(lks_name_t name)
{
    uint64_t hash = lks_hash_seed();
    for (size_t at = name.length; at > 0; at--) {
        hash = lks_fnv_byte(hash, (unsigned char)name.text[at - 1]);
    }
    return lks_mix64(hash);
}

/* The slot that holds the name, or the empty one where it belongs. */
static lks_key_slot_t *slot_of(const lks_key_table_t *table, lks_name_t name, uint64_t hash)
{
    for (size_t i = (size_t)hash & table->mask;; i = (i + 1) & table->mask) {
        lks_key_slot_t *slot = &table->slots[i];
        if (slot->index == 0 ||
            (slot->hash == hash && lks_name_equal(table->names[slot->index - 1], name))) {
            return slot;
        }
    }
}

lks_status_t lks_key_table_init(lks_key_table_t *table, const lks_name_t *names, size_t count,
                                size_t *repeated)
{
    size_t size = 16;
    while (size / 2 < count) {
        size *= 2;
    }
    lks_key_slot_t *slots = calloc(size, sizeof *slots);
    if (!slots) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a table of %zu names does not fit in memory", count);
    }
    *table = (lks_key_table_t){.names = names, .slots = slots, .mask = size - 1};
    *repeated = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_name(names[i]);
        lks_key_slot_t *slot = slot_of(table, names[i], hash);
        if (slot->index == 0) {
            *slot = (lks_key_slot_t){.hash = hash, .index = i + 1};
        } else if (*repeated == SIZE_MAX) {
            *repeated = i;
        }
    }
    return LKS_OK;
}

void lks_key_table_fini(lks_key_table_t *table)
{
    free(table->slots);
    *table = (lks_key_table_t){0};
}

size_t lks_key_table_find(const lks_key_table_t *table, lks_name_t name)
{
    return slot_of(table, name, hash_name(name))->index - 1; /* an empty slot: SIZE_MAX */
}

/* Where the longest front that counts ends. */
static size_t front_limit(lks_name_t name)
{
    size_t limit = 0;
    for (int i = 0; i < LKS_FRONT_COMPONENTS_MAX; i++) {
        lks_name_t rest = lks_name_behind(name, limit);
        const char *dot = rest.length > 0 ? memchr(rest.text, '.', rest.length) : NULL;
        if (!dot) {
            break;
        }
        limit = (size_t)(dot - name.text) + 1;
    }
    return limit;
}

void lks_suffix_walk_init(lks_suffix_walk_t *walk, const lks_key_table_t *table, lks_name_t name)
{
    *walk = (lks_suffix_walk_t){
        .table = table,
        .name = name,
        .at = name.length,
        .limit = front_limit(name),
        .hash = lks_hash_seed(),
    };
}

bool lks_suffix_walk_next(lks_suffix_walk_t *walk, size_t *front, size_t *index)
{
    if (walk->limit == 0) {
        return false;
    }
    while (walk->at > 0) {
        size_t at = walk->at--;
        uint64_t hash = walk->hash;
        walk->hash = lks_fnv_byte(hash, (unsigned char)walk->name.text[at - 1]);
        if (walk->name.text[at - 1] != '.' || at > walk->limit || at == walk->name.length) {
            continue;
        }
        const lks_key_slot_t *slot =
            slot_of(walk->table, lks_name_behind(walk->name, at), lks_mix64(hash));
        if (slot->index != 0) {
            *front = at;
            *index = slot->index - 1;
            return true;
        }
    }
    return false;
}
