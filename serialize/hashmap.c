/* SPDX-License-Identifier: Apache-2.0 */
/* hashmap.c - open addressing, linear probing, at most half full. */
#include "serialize/hashmap.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

uint64_t lks_mix64(uint64_t x)
{
    /* The finalizer of MurmurHash3. */
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    x ^= x >> 33;
    return x;
}

uint64_t lks_hash_seed(void)
{
    static _Atomic uint64_t seed; /* 0: not drawn yet */
    uint64_t current = atomic_load_explicit(&seed, memory_order_relaxed);
    if (current != 0) {
        return current;
    }
    uint64_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != (ssize_t)sizeof drawn) {
        drawn = (uint64_t)(uintptr_t)&current; /* at least the address space is randomized */
    }
    drawn |= 1;
    uint64_t expected = 0;
    return atomic_compare_exchange_strong(&seed, &expected, drawn) ? drawn : expected;
}

uint64_t lks_hash_bytes(uint64_t hash, const void *data, size_t nbytes)
{
    const unsigned char *bytes = data;
    size_t left = nbytes;
    for (; left >= 8; bytes += 8, left -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = lks_mix64(hash ^ word);
    }
    uint64_t tail = 0;
    if (left > 0) {
        memcpy(&tail, bytes, left);
    }
    return lks_mix64(hash ^ tail ^ (uint64_t)nbytes << 56);
}

/* --- numbers ------------------------------------------------------------------------------------ */

void lks_intmap_fini(lks_intmap_t *map)
{
    free(map->slots);
    *map = (lks_intmap_t){0};
}

/* The slot that holds the key, or the empty one where it belongs. */
static lks_intmap_slot_t *int_slot(const lks_intmap_t *map, uint64_t key)
{
    size_t i = (size_t)lks_mix64(key ^ lks_hash_seed()) & map->mask;
    while (map->slots[i].value != 0 && map->slots[i].key != key) {
        i = (i + 1) & map->mask;
    }
    return &map->slots[i];
}

static bool int_grow(lks_intmap_t *map)
{
    size_t size = map->slots ? (map->mask + 1) * 2 : 64;
    lks_intmap_t bigger = {.slots = calloc(size, sizeof *bigger.slots), .mask = size - 1};
    if (!bigger.slots) {
        return false;
    }
    for (size_t i = 0; map->slots && i <= map->mask; i++) {
        if (map->slots[i].value != 0) {
            *int_slot(&bigger, map->slots[i].key) = map->slots[i];
        }
    }
    bigger.count = map->count;
    free(map->slots);
    *map = bigger;
    return true;
}

bool lks_intmap_set(lks_intmap_t *map, uint64_t key, size_t value)
{
    if ((!map->slots || map->count * 2 > map->mask) && !int_grow(map)) {
        return false;
    }
    lks_intmap_slot_t *slot = int_slot(map, key);
    map->count += slot->value == 0;
    *slot = (lks_intmap_slot_t){.key = key, .value = value + 1};
    return true;
}

size_t lks_intmap_get(const lks_intmap_t *map, uint64_t key)
{
    return map->slots ? int_slot(map, key)->value - 1 : SIZE_MAX;
}

/* --- texts -------------------------------------------------------------------------------------- */

void lks_strmap_fini(lks_strmap_t *map)
{
    free(map->entries);
    free(map->slots);
    *map = (lks_strmap_t){0};
}

static uint32_t hash_text(const char *text, size_t nbytes)
{
    return (uint32_t)lks_hash_bytes(lks_hash_seed(), text, nbytes);
}

static lks_strmap_slot_t *str_slot(const lks_strmap_t *map, const char *text, size_t nbytes,
                                   uint32_t hash)
{
    for (size_t i = hash & map->mask;; i = (i + 1) & map->mask) {
        lks_strmap_slot_t *slot = &map->slots[i];
        if (slot->entry == 0) {
            return slot;
        }
        const lks_strmap_entry_t *entry = &map->entries[slot->entry - 1];
        if (slot->hash == hash && entry->nbytes == nbytes &&
            memcmp(entry->text, text, nbytes) == 0) {
            return slot;
        }
    }
}

/* `size` slots, a power of two. */
static bool str_resize(lks_strmap_t *map, size_t size)
{
    lks_strmap_entry_t *entries = realloc(map->entries, size / 2 * sizeof *entries);
    lks_strmap_slot_t *slots = calloc(size, sizeof *slots);
    map->entries = entries ? entries : map->entries;
    if (!entries || !slots || size > UINT32_MAX) {
        free(slots);
        return false;
    }
    for (size_t i = 0; map->slots && i <= map->mask; i++) {
        size_t at = map->slots[i].hash & (size - 1);
        while (map->slots[i].entry != 0 && slots[at].entry != 0) {
            at = (at + 1) & (size - 1);
        }
        if (map->slots[i].entry != 0) {
            slots[at] = map->slots[i];
        }
    }
    free(map->slots);
    map->slots = slots;
    map->mask = size - 1;
    return true;
}

bool lks_strmap_reserve(lks_strmap_t *map, size_t count)
{
    size_t size = 64;
    while (size / 2 < count && size <= UINT32_MAX) {
        size *= 2;
    }
    return str_resize(map, size);
}

size_t lks_strmap_add(lks_strmap_t *map, const char *text, size_t nbytes, size_t value)
{
    bool full = !map->slots || map->count == (map->mask + 1) / 2;
    if (full && !str_resize(map, map->slots ? (map->mask + 1) * 2 : 64)) {
        return SIZE_MAX;
    }
    uint32_t hash = hash_text(text, nbytes);
    lks_strmap_slot_t *slot = str_slot(map, text, nbytes, hash);
    if (slot->entry == 0) {
        map->entries[map->count++] =
            (lks_strmap_entry_t){.text = text, .nbytes = nbytes, .value = value};
        *slot = (lks_strmap_slot_t){.hash = hash, .entry = (uint32_t)map->count};
    }
    return map->entries[slot->entry - 1].value;
}

size_t lks_strmap_get(const lks_strmap_t *map, const char *text, size_t nbytes)
{
    const lks_strmap_slot_t *slot =
        map->slots ? str_slot(map, text, nbytes, hash_text(text, nbytes)) : NULL;
    return slot && slot->entry != 0 ? map->entries[slot->entry - 1].value : SIZE_MAX;
}
