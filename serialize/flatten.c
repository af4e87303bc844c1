/* SPDX-License-Identifier: Apache-2.0 */
/* flatten.c - nested containers as one dict with dotted names; see transform.h. A stack of containers stands for the
 * recursion; one that is already on it contains itself. */
#include "core/grow.h"
#include "core/strbuf.h"
#include "serialize/value_node.h"

#include <inttypes.h>
#include <lockstep/transform.h>
#include <stdlib.h>

typedef struct level {
    const lks_value_t *container;
    size_t next, path_length; /* of the path up to here, without a dot behind it */
} level_t;

typedef struct flattener {
    lks_tree_t *tree;
    lks_value_t *out;
    lks_strbuf_t path;
    lks_intmap_t seen; /* address of a container -> how often it is on the stack */
    level_t *levels;
    size_t depth, capacity;
} flattener_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "flattening a tree: out of memory");
}

static bool is_container(const lks_value_t *value)
{
    return lks_value_count(value) > 0;
}

static lks_status_t enter(flattener_t *flat, const lks_value_t *container)
{
    size_t on_stack = lks_intmap_get(&flat->seen, (uintptr_t)container);
    if (on_stack == 1) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "value '%.200s' contains itself",
                        lks_strbuf_text(&flat->path));
    }
    level_t *levels = lks_grow(flat->levels, &flat->capacity, flat->depth + 1, sizeof *levels);
    if (!levels) {
        return no_memory();
    }
    flat->levels = levels;
    if (!lks_intmap_set(&flat->seen, (uintptr_t)container, 1)) {
        return no_memory();
    }
    flat->levels[flat->depth++] =
        (level_t){.container = container, .path_length = flat->path.length};
    return LKS_OK;
}

static lks_status_t leave(flattener_t *flat)
{
    const level_t *level = &flat->levels[--flat->depth];
    return lks_intmap_set(&flat->seen, (uintptr_t)level->container, 0) ? LKS_OK : no_memory();
}

/* Appends the name of entry `index` to the path. */
static lks_status_t append_name(flattener_t *flat, const lks_value_t *container, size_t index)
{
    int64_t number = (int64_t)index;
    size_t nbytes = 0;
    const char *text = NULL;
    if (lks_value_kind(container) == LKS_VALUE_DICT) {
        const lks_value_t *key = lks_value_key_at(container, index);
        text = lks_value_kind(key) == LKS_VALUE_STR ? lks_value_text(key, &nbytes) : NULL;
        if (!text &&
            (lks_value_kind(key) != LKS_VALUE_INT || lks_value_get_int(key, &number) != LKS_OK)) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "a key of '%.200s' is a %s: it makes no name",
                            lks_strbuf_text(&flat->path), lks_value_kind_name(lks_value_kind(key)));
        }
    }
    if (flat->path.length > 0) {
        lks_strbuf_append(&flat->path, ".", 1);
    }
    if (text) {
        lks_strbuf_append(&flat->path, text, nbytes);
    } else {
        lks_strbuf_appendf(&flat->path, "%" PRId64, number);
    }
    return lks_strbuf_ok(&flat->path) ? LKS_OK : no_memory();
}

static lks_status_t add(flattener_t *flat, lks_value_t *value)
{
    lks_value_t *key = lks_value_str_n(flat->tree, lks_strbuf_text(&flat->path), flat->path.length);
    LKS_TRY(lks_tree_status(flat->tree));
    if (lks_dict_find(flat->out, key)) {
        return lks_fail(LKS_ERR_MISMATCH, "two values would be called '%.200s'",
                        lks_strbuf_text(&flat->path));
    }
    lks_value_set(flat->tree, flat->out, key, value);
    return lks_tree_status(flat->tree);
}

static lks_status_t step(flattener_t *flat)
{
    level_t *level = &flat->levels[flat->depth - 1];
    lks_strbuf_truncate(&flat->path, level->path_length);
    if (level->next == lks_value_count(level->container)) {
        return leave(flat);
    }
    size_t index = level->next++;
    LKS_TRY(append_name(flat, level->container, index));
    lks_value_t *value = lks_value_at(level->container, index);
    return is_container(value) ? enter(flat, value) : add(flat, value);
}

static lks_status_t flatten(flattener_t *flat, const lks_value_t *root)
{
    LKS_TRY(enter(flat, root));
    while (flat->depth > 0) {
        LKS_TRY(step(flat));
    }
    return LKS_OK;
}

lks_status_t lks_tree_flatten(lks_tree_t *tree)
{
    LKS_TRY(lks_tree_status(tree));
    const lks_value_t *root = lks_tree_root(tree);
    if (!root || !is_container(root)) {
        return LKS_OK;
    }
    flattener_t flat = {.tree = tree, .out = lks_value_ordered_dict(tree)};
    lks_status_t status = flatten(&flat, root);
    lks_strbuf_fini(&flat.path);
    lks_intmap_fini(&flat.seen);
    free(flat.levels);
    LKS_TRY(status);
    lks_tree_set_root(tree, flat.out);
    return LKS_OK;
}
