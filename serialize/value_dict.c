/* SPDX-License-Identifier: Apache-2.0 */
/* value_dict.c - dicts: entries in insertion order, and beside them a hash index once there are many.
 * Keys compare as in Python: 1, 1.0 and True are one key; a tuple by its items; a tensor or object by
 * identity. A tuple key is walked with a bound, since a few shared tuples can spell out more parts than there
 * are atoms. */
#include "serialize/value_node.h"

#include <math.h>
#include <string.h>

#define INDEX_FROM 9 /* entries from which on an index pays */
#define KEY_PARTS_MAX 1000
#define KEY_DEPTH_MAX 32

/* --- keys --------------------------------------------------------------------------------------- */

/* The parts of a key in order: a scalar is its one part, a tuple is itself and then its items'. */
typedef struct key_walk {
    struct {
        const lks_sequence_node_t *tuple;
        size_t next;
    } stack[KEY_DEPTH_MAX];
    int depth;
    const lks_value_t *first;
} key_walk_t;

static void key_walk_init(key_walk_t *walk, const lks_value_t *key)
{
    walk->depth = 0;
    walk->first = key;
}

/* The next part; NULL at the end, and where the nesting is over KEY_DEPTH_MAX (`*too_deep`). */
static const lks_value_t *key_walk_next(key_walk_t *walk, bool *too_deep)
{
    const lks_value_t *part = walk->first;
    walk->first = NULL;
    while (!part && walk->depth > 0) {
        const lks_sequence_node_t *tuple = walk->stack[walk->depth - 1].tuple;
        size_t *next = &walk->stack[walk->depth - 1].next;
        if (*next < tuple->count) {
            part = tuple->items[(*next)++];
        } else {
            walk->depth--;
        }
    }
    if (part && part->kind == LKS_VALUE_TUPLE) {
        if (walk->depth == KEY_DEPTH_MAX) {
            *too_deep = true;
            return NULL;
        }
        walk->stack[walk->depth].tuple = (const lks_sequence_node_t *)part;
        walk->stack[walk->depth].next = 0;
        walk->depth++;
    }
    return part;
}

/* bool, int, or a float that is an int. */
static bool as_integer(const lks_value_t *value, int64_t *out)
{
    switch (value->kind) {
    case LKS_VALUE_BOOL: *out = value->flag; return true;
    case LKS_VALUE_INT: *out = ((const lks_int_node_t *)value)->value; return true;
    case LKS_VALUE_FLOAT: {
        double number = ((const lks_float_node_t *)value)->value;
        if (number >= -0x1p63 && number < 0x1p63 && floor(number) == number) {
            *out = (int64_t)number;
            return true;
        }
        return false;
    }
    default: return false;
    }
}

/* False if the part cannot be in a key. */
static bool hash_part(const lks_value_t *part, uint64_t *hash)
{
    int64_t integer;
    if (as_integer(part, &integer)) {
        *hash = lks_mix64(*hash ^ (uint64_t)integer);
        return true;
    }
    switch (part->kind) {
    case LKS_VALUE_NONE: *hash = lks_mix64(*hash + 1); return true;
    case LKS_VALUE_FLOAT: {
        uint64_t bits;
        memcpy(&bits, &((const lks_float_node_t *)part)->value, sizeof bits);
        *hash = lks_mix64(*hash ^ bits);
        return true;
    }
    case LKS_VALUE_STR:
    case LKS_VALUE_BYTES:
    case LKS_VALUE_BIGINT:
    case LKS_VALUE_GLOBAL: {
        const lks_text_node_t *text = (const lks_text_node_t *)part;
        *hash = lks_hash_bytes(*hash + part->kind, text->text, text->nbytes);
        return true;
    }
    case LKS_VALUE_TUPLE:
        *hash = lks_mix64(*hash + ((const lks_sequence_node_t *)part)->count + 2);
        return true;
    case LKS_VALUE_TENSOR:
    case LKS_VALUE_OBJECT: *hash = lks_mix64(*hash ^ (uintptr_t)part); return true;
    default: return false;
    }
}

/* NULL, or what is wrong with the key. */
static const char *hash_key(const lks_value_t *key, uint32_t *out)
{
    uint64_t hash = lks_hash_seed();
    key_walk_t walk;
    key_walk_init(&walk, key);
    bool too_deep = false;
    size_t parts = 0;
    for (const lks_value_t *part; (part = key_walk_next(&walk, &too_deep));) {
        if (!hash_part(part, &hash)) {
            return "is not hashable";
        }
        if (++parts > KEY_PARTS_MAX) {
            return "has too many parts for a key";
        }
    }
    *out = (uint32_t)(hash >> 32);
    return too_deep ? "is nested too deep for a key" : NULL;
}

static bool part_equal(const lks_value_t *a, const lks_value_t *b)
{
    int64_t x = 0, y = 0;
    bool a_integer = as_integer(a, &x), b_integer = as_integer(b, &y);
    if (a == b || a_integer || b_integer) {
        return a == b || (a_integer && b_integer && x == y);
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case LKS_VALUE_NONE: return true;
    case LKS_VALUE_FLOAT:
        return ((const lks_float_node_t *)a)->value == ((const lks_float_node_t *)b)->value;
    case LKS_VALUE_STR:
    case LKS_VALUE_BYTES:
    case LKS_VALUE_BIGINT:
    case LKS_VALUE_GLOBAL: {
        const lks_text_node_t *s = (const lks_text_node_t *)a, *t = (const lks_text_node_t *)b;
        return s->nbytes == t->nbytes && memcmp(s->text, t->text, s->nbytes) == 0 &&
               (a->kind != LKS_VALUE_GLOBAL ||
                ((const lks_global_node_t *)a)->split == ((const lks_global_node_t *)b)->split);
    }
    case LKS_VALUE_TUPLE:
        return ((const lks_sequence_node_t *)a)->count == ((const lks_sequence_node_t *)b)->count;
    default: return false; /* tensors and objects: by identity */
    }
}

/* Both were hashed before, so the walks are bounded. */
static bool key_equal(const lks_value_t *a, const lks_value_t *b)
{
    if (a == b || a->kind != LKS_VALUE_TUPLE || b->kind != LKS_VALUE_TUPLE) {
        return part_equal(a, b);
    }
    key_walk_t walk_a, walk_b;
    key_walk_init(&walk_a, a);
    key_walk_init(&walk_b, b);
    bool too_deep = false;
    const lks_value_t *part_a, *part_b;
    do {
        part_a = key_walk_next(&walk_a, &too_deep);
        part_b = key_walk_next(&walk_b, &too_deep);
    } while (part_a && part_b && part_equal(part_a, part_b));
    return !part_a && !part_b;
}

/* --- the index ---------------------------------------------------------------------------------- */

static lks_dict_slot_t *slot_of(const lks_dict_node_t *dict, const lks_value_t *key, uint32_t hash)
{
    size_t i = hash & dict->mask;
    for (;; i = (i + 1) & dict->mask) {
        lks_dict_slot_t *slot = &dict->slots[i];
        if (slot->entry == 0 ||
            (slot->hash == hash && key_equal(dict->entries[slot->entry - 1].key, key))) {
            return slot;
        }
    }
}

/* A slot for a key that is known to be absent. */
static lks_dict_slot_t *free_slot(const lks_dict_node_t *dict, uint32_t hash)
{
    size_t i = hash & dict->mask;
    while (dict->slots[i].entry != 0) {
        i = (i + 1) & dict->mask;
    }
    return &dict->slots[i];
}

/* A new index of twice the capacity; the hashes of the old one are reused where there is one. */
static bool rebuild_index(lks_tree_t *tree, lks_dict_node_t *dict, size_t capacity)
{
    size_t size = 16;
    while (size < capacity * 2) {
        size *= 2;
    }
    lks_dict_slot_t *slots = lks_tree_alloc(tree, size * sizeof *slots);
    if (!slots) {
        return false;
    }
    memset(slots, 0, size * sizeof *slots);
    lks_dict_slot_t *old = dict->slots;
    size_t old_mask = dict->mask;
    dict->slots = slots;
    dict->mask = size - 1;
    if (!old) {
        for (size_t i = 0; i < dict->count; i++) {
            uint32_t hash = 0;
            (void)hash_key(dict->entries[i].key, &hash);
            *free_slot(dict, hash) = (lks_dict_slot_t){.hash = hash, .entry = (uint32_t)i + 1};
        }
        return true;
    }
    for (size_t i = 0; i <= old_mask; i++) {
        if (old[i].entry != 0) {
            *free_slot(dict, old[i].hash) = old[i];
        }
    }
    return true;
}

static bool reserve_entry(lks_tree_t *tree, lks_dict_node_t *dict)
{
    if (dict->count < dict->capacity) {
        return true;
    }
    if (dict->count >= UINT32_MAX / 2) {
        lks_tree_fail(tree, LKS_ERR_UNSUPPORTED, "a dict has more than 2^31 entries");
        return false;
    }
    uint32_t capacity = dict->capacity ? dict->capacity * 2 : 4;
    lks_dict_entry_t *entries = lks_tree_alloc(tree, capacity * sizeof *entries);
    if (!entries) {
        return false;
    }
    if (dict->count > 0) {
        memcpy(entries, dict->entries, dict->count * sizeof *entries);
    }
    dict->entries = entries;
    dict->capacity = capacity;
    return capacity < INDEX_FROM || rebuild_index(tree, dict, capacity);
}

static lks_dict_entry_t *find_entry(const lks_dict_node_t *dict, const lks_value_t *key,
                                    uint32_t hash)
{
    if (dict->slots) {
        const lks_dict_slot_t *slot = slot_of(dict, key, hash);
        return slot->entry ? &dict->entries[slot->entry - 1] : NULL;
    }
    for (size_t i = 0; i < dict->count; i++) {
        if (key_equal(dict->entries[i].key, key)) {
            return &dict->entries[i];
        }
    }
    return NULL;
}

/* --- reading ------------------------------------------------------------------------------------ */

static const lks_dict_node_t *as_dict(const lks_value_t *value)
{
    return value && value->kind == LKS_VALUE_DICT ? (const lks_dict_node_t *)value : NULL;
}

lks_value_t *lks_dict_find(const lks_value_t *value, const lks_value_t *key)
{
    const lks_dict_node_t *dict = as_dict(value);
    uint32_t hash;
    if (!dict || hash_key(key, &hash)) {
        return NULL;
    }
    const lks_dict_entry_t *entry = find_entry(dict, key, hash);
    return entry ? entry->value : NULL;
}

lks_value_t *lks_value_find(const lks_value_t *dict, const char *key)
{
    const lks_text_node_t probe = {.head.kind = LKS_VALUE_STR, .text = key, .nbytes = strlen(key)};
    return lks_dict_find(dict, &probe.head);
}

lks_value_t *lks_value_find_int(const lks_value_t *dict, int64_t key)
{
    const lks_int_node_t probe = {.head.kind = LKS_VALUE_INT, .value = key};
    return lks_dict_find(dict, &probe.head);
}

lks_value_t *lks_value_key_at(const lks_value_t *value, size_t index)
{
    const lks_dict_node_t *dict = as_dict(value);
    return dict && index < dict->count ? dict->entries[index].key : NULL;
}

bool lks_value_dict_is_ordered(const lks_value_t *dict)
{
    return as_dict(dict) && dict->flag;
}

lks_value_t *lks_value_dict_attributes(const lks_value_t *dict)
{
    return as_dict(dict) ? as_dict(dict)->attributes : NULL;
}

/* --- building ----------------------------------------------------------------------------------- */

lks_value_t *lks_value_dict(lks_tree_t *tree)
{
    return lks_node_create(tree, LKS_VALUE_DICT, sizeof(lks_dict_node_t));
}

lks_value_t *lks_value_ordered_dict(lks_tree_t *tree)
{
    lks_value_t *dict = lks_value_dict(tree);
    if (dict) {
        dict->flag = true;
    }
    return dict;
}

static void dict_set(lks_tree_t *tree, lks_value_t *value, lks_value_t *key, lks_value_t *item)
{
    lks_dict_node_t *dict = (lks_dict_node_t *)value;
    uint32_t hash;
    const char *complaint = hash_key(key, &hash);
    if (complaint) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a dict key of kind %s %s",
                      lks_value_kind_name(lks_value_kind(key)), complaint);
        return;
    }
    if (!lks_node_adopt(tree, value, key) || !lks_node_adopt(tree, value, item)) {
        return;
    }
    lks_dict_entry_t *entry = find_entry(dict, key, hash);
    if (entry) {
        entry->value = item;
        return;
    }
    if (!reserve_entry(tree, dict)) {
        return;
    }
    dict->entries[dict->count++] = (lks_dict_entry_t){.key = key, .value = item};
    if (dict->slots) {
        *free_slot(dict, hash) = (lks_dict_slot_t){.hash = hash, .entry = (uint32_t)dict->count};
    }
}

void lks_value_set(lks_tree_t *tree, lks_value_t *dict, lks_value_t *key, lks_value_t *value)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!dict || !key || !value) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "nothing is set, or in nothing");
    } else if (dict->kind == LKS_VALUE_DICT) {
        dict_set(tree, dict, key, value);
    } else if (dict->kind == LKS_VALUE_OBJECT) {
        lks_object_node_t *object = (lks_object_node_t *)dict;
        if (!object->entries) {
            object->entries = lks_value_dict(tree);
        }
        if (object->entries) {
            dict_set(tree, object->entries, key, value);
            (void)(lks_tree_ok(tree) && lks_node_adopt(tree, dict, object->entries));
        }
    } else {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "a %s has no entries to set",
                      lks_value_kind_name(lks_value_kind(dict)));
    }
}

void lks_value_set_str(lks_tree_t *tree, lks_value_t *dict, const char *key, lks_value_t *value)
{
    lks_value_set(tree, dict, lks_value_str(tree, key), value);
}

void lks_value_set_int(lks_tree_t *tree, lks_value_t *dict, int64_t key, lks_value_t *value)
{
    lks_value_set(tree, dict, lks_value_int(tree, key), value);
}

void lks_value_dict_set_attributes(lks_tree_t *tree, lks_value_t *dict, lks_value_t *attributes)
{
    if (!lks_tree_ok(tree)) {
        return;
    }
    if (!as_dict(dict) || !attributes) {
        lks_tree_fail(tree, LKS_ERR_INVALID_ARG, "attributes are set on a dict");
    } else if (lks_node_adopt(tree, dict, attributes)) {
        ((lks_dict_node_t *)dict)->attributes = attributes;
    }
}

lks_value_t *lks_dict_of(lks_tree_t *tree, const lks_dict_entry_t *entries, size_t count)
{
    lks_dict_node_t *dict = lks_node_create(tree, LKS_VALUE_DICT, sizeof *dict);
    if (!dict || count == 0) {
        return dict ? &dict->head : NULL;
    }
    dict->entries = lks_tree_alloc(tree, count * sizeof *entries);
    if (!dict->entries) {
        return NULL;
    }
    memcpy(dict->entries, entries, count * sizeof *entries);
    dict->count = dict->capacity = (uint32_t)count;
    return count < INDEX_FROM || rebuild_index(tree, dict, count) ? &dict->head : NULL;
}

void lks_value_take(lks_value_t *target, const lks_value_t *from)
{
    if (target->kind == LKS_VALUE_DICT) {
        lks_dict_node_t *dict = (lks_dict_node_t *)target;
        const lks_dict_node_t *other = (const lks_dict_node_t *)from;
        dict->entries = other->entries;
        dict->slots = other->slots;
        dict->mask = other->mask;
        dict->count = other->count;
        dict->capacity = other->capacity;
    } else {
        lks_sequence_node_t *list = (lks_sequence_node_t *)target;
        const lks_sequence_node_t *other = (const lks_sequence_node_t *)from;
        list->items = other->items;
        list->count = other->count;
        list->capacity = other->capacity;
    }
}
