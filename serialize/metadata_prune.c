/* SPDX-License-Identifier: Apache-2.0 */
/* metadata_prune.c - what is left below a module is looked up in the sorted names: it is one run of them. */
#include "serialize/metadata.h"
#include "serialize/value_node.h"

#include <stdlib.h>

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "the _metadata of a state dict: out of memory");
}

static int by_text(const void *a, const void *b)
{
    const lks_name_t *s = a, *t = b;
    size_t length = s->length < t->length ? s->length : t->length;
    int order = length > 0 ? memcmp(s->text, t->text, length) : 0;
    return order != 0 ? order : (s->length > t->length) - (s->length < t->length);
}

static lks_status_t sort_names(lks_arena_t *arena, const lks_name_t *names, size_t count,
                               lks_name_t **out)
{
    lks_name_t *sorted = lks_arena_alloc(arena, (count + 1) * sizeof *sorted, _Alignof(lks_name_t));
    if (!sorted) {
        return no_memory();
    }
    if (count > 0) {
        memcpy(sorted, names, count * sizeof *sorted);
        qsort(sorted, count, sizeof *sorted, by_text);
    }
    *out = sorted;
    return LKS_OK;
}

/* The first name that is not before `front`. */
static size_t lower_bound(const lks_name_t *sorted, size_t count, lks_name_t front)
{
    size_t begin = 0;
    while (begin < count) {
        size_t middle = begin + (count - begin) / 2;
        if (by_text(&sorted[middle], &front) < 0) {
            begin = middle + 1;
        } else {
            count = middle;
        }
    }
    return begin;
}

/* Length of the longest front of whole components, dots included, that `module` shares with the name. */
static size_t shared_front(lks_name_t module, lks_name_t name)
{
    size_t same = 0, front = 0;
    while (same < module.length && same < name.length && module.text[same] == name.text[same]) {
        same++;
        front = module.text[same - 1] == '.' ? same : front;
    }
    return front;
}

/* The innermost module at or above `module` ("fc.1.") that some name is below of; names next to where it would
 * stand in the order share the most with it. */
static lks_name_t module_with_keys(const lks_name_t *sorted, size_t count, lks_name_t module)
{
    size_t at = lower_bound(sorted, count, module);
    size_t before = at > 0 ? shared_front(module, sorted[at - 1]) : 0;
    size_t behind = at < count ? shared_front(module, sorted[at]) : 0;
    module.length = before > behind ? before : behind;
    return module;
}

static bool has_keys(const lks_name_t *sorted, size_t count, lks_name_t module)
{
    size_t at = lower_bound(sorted, count, module);
    return module.length == 0 || (at < count && lks_name_starts_with(sorted[at], module));
}

/* "fc.1" -> "fc.1."; the root is "". */
static lks_status_t with_dot(lks_arena_t *arena, lks_name_t path, lks_name_t *out)
{
    char *text = lks_arena_alloc(arena, path.length + 1, 1);
    if (!text) {
        return no_memory();
    }
    memcpy(text, path.text, path.length);
    text[path.length] = '.';
    *out = (lks_name_t){.text = text, .length = path.length > 0 ? path.length + 1 : 0};
    return LKS_OK;
}

lks_status_t lks_metadata_prune(lks_tree_t *tree, const lks_value_t *metadata,
                                const lks_key_change_t *change, lks_arena_t *arena,
                                lks_value_t **out)
{
    size_t count = lks_value_count(metadata), kept = 0;
    lks_name_t *before, *after;
    LKS_TRY(sort_names(arena, change->before, change->count, &before));
    LKS_TRY(sort_names(arena, change->after, change->after_count, &after));
    lks_dict_entry_t *entries =
        lks_arena_alloc(arena, (count + 1) * sizeof *entries, _Alignof(lks_dict_entry_t));
    if (!entries) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        lks_name_t path, module = {.length = 0};
        if (lks_metadata_path(metadata, i, &path)) {
            LKS_TRY(with_dot(arena, path, &module));
            module = module_with_keys(before, change->count, module);
        }
        if (has_keys(after, change->after_count, module)) {
            entries[kept++] = (lks_dict_entry_t){.key = lks_value_key_at(metadata, i),
                                                 .value = lks_value_at(metadata, i)};
        }
    }
    *out = kept < count ? lks_dict_of(tree, entries, kept) : NULL;
    return lks_tree_status(tree);
}
