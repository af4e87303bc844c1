/* SPDX-License-Identifier: Apache-2.0 */
/* value_node.h - how a value tree lies in memory; for the readers and writers of this folder.
 * Every node starts with a struct lks_value, which says what follows. Nodes, their arrays and texts live in
 * the tree's arena and are never freed one by one: destroying a tree, however deep or cyclic, is freeing a
 * chain of blocks. */
#ifndef LOCKSTEP_SERIALIZE_VALUE_NODE_H
#define LOCKSTEP_SERIALIZE_VALUE_NODE_H

#include "core/arena.h"
#include "serialize/hashmap.h"

#include <lockstep/checkpoint.h>
#include <lockstep/value.h>

#include <string.h>

struct lks_value {
    uint8_t kind;    /* lks_value_kind_t */
    uint8_t flag;    /* of a bool, its value; of a dict, ordered; of an object, lks_object_how_t */
    uint32_t height; /* containers below, as far as known when they were put here */
};

typedef struct lks_int_node {
    lks_value_t head;
    int64_t value;
} lks_int_node_t;

typedef struct lks_float_node {
    lks_value_t head;
    double value;
} lks_float_node_t;

/* str, bytes, bigint, and the beginning of a global */
typedef struct lks_text_node {
    lks_value_t head;
    size_t nbytes;
    const char *text; /* a zero follows */
} lks_text_node_t;

/* "module.name", with `split` at the dot between the two */
typedef struct lks_global_node {
    lks_text_node_t dotted;
    size_t split;
} lks_global_node_t;

/* list, tuple */
typedef struct lks_sequence_node {
    lks_value_t head;
    uint32_t count, capacity;
    lks_value_t **items;
} lks_sequence_node_t;

typedef struct lks_dict_entry {
    lks_value_t *key, *value;
} lks_dict_entry_t;

typedef struct lks_dict_slot {
    uint32_t hash, entry; /* entry: index plus 1; 0 is an empty slot */
} lks_dict_slot_t;

typedef struct lks_dict_node {
    lks_value_t head;
    uint32_t count, capacity;
    lks_dict_entry_t *entries;
    lks_dict_slot_t *slots; /* NULL while the dict is small */
    size_t mask;            /* mask + 1 slots, a power of two */
    lks_value_t *attributes;
} lks_dict_node_t;

typedef struct lks_object_node {
    lks_value_t head;
    lks_value_t *callable, *arguments, *state, *items, *entries;
} lks_object_node_t;

typedef struct lks_tensor_node {
    lks_value_t head;
    lks_value_tensor_t tensor;
    lks_value_t *attributes, *quantizer;
    struct lks_tensor_node *previous; /* the one that the tree made before */
} lks_tensor_node_t;

#define LKS_SMALL_INTS 256

struct lks_tree {
    lks_arena_t arena;
    unsigned char *free,
        *free_end;     /* a piece of the arena that nodes are cut from; none once failed */
    lks_error_t error; /* the first; status OK while there is none */
    lks_value_t *root;
    size_t node_count, max_nodes, max_depth;

    const struct lks_source *source; /* the file that was opened, mapped; NULL: none */
    lks_tree_storage_t *storages;
    size_t storage_count, storage_capacity;
    lks_intmap_t storage_index; /* address of an lks_storage_t -> index */

    /* Makes the bytes of storage `index` valid, e.g. by verifying their checksum; NULL: they always are. */
    lks_status_t (*load)(void *context, size_t index, const char *name);
    /* Gives back memory that loading took, until the next load; NULL: there is never any. */
    void (*unload)(void *context, size_t index);
    const struct lks_checks *checks; /* for many at once (check.h; optional) */
    void *load_context;
    bool unchecked;          /* `load` verifies nothing: the format has no checksums */
    struct lks_loads *loads; /* who looks at which storages (tree_load.c) */

    lks_tensor_node_t *tensors; /* the last that was made */
    struct lks_cast *
        *casts; /* by storage; NULL, as beyond cast_count: its bytes are as they were (cast.h) */
    size_t cast_count;

    lks_value_t *none, *booleans[2], *small_ints[LKS_SMALL_INTS]; /* shared: they never change */
};

/** An empty tree that fails with FORMAT beyond the limits. */
LKS_NODISCARD lks_status_t lks_tree_create_limited(const lks_checkpoint_limits_t *limits,
                                                   lks_tree_t **out);

/** lks_tree_add_storage without looking for the storage among those that are there. */
size_t lks_tree_append_storage(lks_tree_t *tree, lks_storage_t *storage, lks_dtype_t dtype,
                               const char *location);

/** Puts the bytes of a storage in place that were not known where they are when it was appended. */
void lks_tree_replace_storage(lks_tree_t *tree, size_t index, lks_storage_t *storage);

/** A bare storage of that class: `numel` elements of storage `index`, from `*offset` on if that has others too (NULL: it
 *  has not). NULL after failing the tree. */
lks_value_t *lks_value_bare_storage(lks_tree_t *tree, lks_value_t *class, size_t index,
                                    int64_t numel, const int64_t *offset);

typedef struct lks_loads lks_loads_t;

/** Makes the bytes of a storage valid (see lks_tree::load) until they are unloaded as often as they were loaded.
 *  Nothing is to be unloaded after an error. Threads: any. */
LKS_NODISCARD lks_status_t lks_tree_load_storage(const lks_tree_t *tree, size_t index,
                                                 const char *name);

/** The last of those who loaded a storage gives back what that took; the next load brings the bytes back. For those who
 *  go through a checkpoint that is larger than the memory. */
void lks_tree_unload_storage(const lks_tree_t *tree, size_t index);

/** The same for bytes that are handed out: they stay valid, whatever others unload, until they are hidden once. */
LKS_NODISCARD lks_status_t lks_tree_show_storage(const lks_tree_t *tree, size_t index,
                                                 const char *name);
void lks_tree_hide_storage(const lks_tree_t *tree, size_t index);

/** Of the tree itself. */
LKS_NODISCARD lks_status_t lks_tree_init_loads(lks_tree_t *tree);
void lks_tree_fini_loads(lks_tree_t *tree);

/** Room for that many storages. False after failing the tree. */
bool lks_tree_reserve_loads(lks_tree_t *tree, size_t capacity);

/** Records the tree's first error; later ones are dropped. */
void lks_tree_fail(lks_tree_t *tree, lks_status_t status, const char *format, ...) LKS_PRINTF(3, 4);

/** False once the tree has failed. */
static inline bool lks_tree_ok(const lks_tree_t *tree)
{
    return tree->error.status == LKS_OK;
}

/** lks_tree_alloc where the current piece is used up. */
void *lks_tree_alloc_slow(lks_tree_t *tree, size_t nbytes);

/** Undefined memory of the tree, aligned for nodes; NULL after failing the tree. */
static inline void *lks_tree_alloc(lks_tree_t *tree, size_t nbytes)
{
    nbytes += nbytes == 0; /* a place of its own */
    size_t rounded = (nbytes + 7) & ~(size_t)7;
    if (rounded < nbytes || rounded > (size_t)(tree->free_end - tree->free)) {
        return lks_tree_alloc_slow(tree, nbytes);
    }
    void *data = tree->free;
    tree->free += rounded;
    return data;
}

/** A copy with a zero behind it; NULL after failing the tree. */
char *lks_tree_copy_text(lks_tree_t *tree, const void *text, size_t nbytes);

/** Fails the tree for having too many nodes. */
void lks_tree_fail_count(lks_tree_t *tree);

/** A zeroed node of `nbytes` bytes and that kind; NULL after failing the tree. */
static inline void *lks_node_create(lks_tree_t *tree, lks_value_kind_t kind, size_t nbytes)
{
    if (tree->node_count >= tree->max_nodes) {
        lks_tree_fail_count(tree);
        return NULL;
    }
    lks_value_t *node = lks_tree_alloc(tree, nbytes);
    if (node) {
        memset(node, 0, nbytes);
        node->kind = (uint8_t)kind;
        tree->node_count++;
    }
    return node;
}

/** A global of names that are not terminated. */
lks_value_t *lks_global_create(lks_tree_t *tree, const char *module, size_t module_length,
                               const char *name, size_t name_length);

/** True for a global of that dotted name; false for NULL. */
static inline bool lks_value_is_global(const lks_value_t *value, const char *name)
{
    return value && value->kind == LKS_VALUE_GLOBAL &&
           strcmp(((const lks_text_node_t *)value)->text, name) == 0;
}

/** lks_value_tensor_new with a shape and stride that already lie in the tree. */
lks_value_t *lks_tensor_node_create(lks_tree_t *tree, const lks_value_tensor_t *tensor);

/** A second view of the same bytes; NULL after failing the tree. */
lks_tensor_node_t *lks_tensor_node_clone(lks_tree_t *tree, const lks_value_t *tensor);

/** lks_node_adopt where the parent's height changes. */
bool lks_node_adopt_higher(lks_tree_t *tree, lks_value_t *parent, const lks_value_t *child);

/** Notes that `child` now stands in `parent`. False after failing the tree (nested too deep). */
static inline bool lks_node_adopt(lks_tree_t *tree, lks_value_t *parent, const lks_value_t *child)
{
    return child->height < parent->height || lks_node_adopt_higher(tree, parent, child);
}

/** Fills an empty list or tuple. False after failing the tree. */
bool lks_sequence_fill(lks_tree_t *tree, lks_value_t *sequence, lks_value_t *const *items,
                       size_t count);

/** Room for `extra` more items of a list or tuple. False after failing the tree. */
bool lks_sequence_reserve(lks_tree_t *tree, lks_value_t *sequence, size_t extra);

/** A dict of entries whose keys are hashable and differ; NULL after failing the tree. */
lks_value_t *lks_dict_of(lks_tree_t *tree, const lks_dict_entry_t *entries, size_t count);

/** Gives a dict the entries, or a list the items, of another one. */
void lks_value_take(lks_value_t *target, const lks_value_t *from);

/** The value under any hashable key; NULL if absent or not a dict. */
lks_value_t *lks_dict_find(const lks_value_t *dict, const lks_value_t *key);

#endif
