/* SPDX-License-Identifier: Apache-2.0 */
/* name_sets.c - see name_sets.h. */
#include "serialize/name_sets.h"
#include "core/checked.h"
#include "serialize/module_tree.h"
#include "serialize/state_dict_search.h"

#include <lockstep/state_dict.h>
#include <stdlib.h>

typedef struct collector {
    lks_arena_t *arena;
    lks_places_t places;
    size_t *own, *below; /* by place: tensors of its own, and the most of a place below it */
    bool *chosen;        /* by place: a state dict, or within one */
    lks_name_sets_t *out;
} collector_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "collecting the names in a tree: out of memory");
}

static lks_status_t allocate(lks_arena_t *arena, size_t count, size_t size, void *out)
{
    size_t nbytes;
    void *data = lks_mul_size(count, size, &nbytes)
                     ? lks_arena_zalloc(arena, nbytes, _Alignof(max_align_t))
                     : NULL;
    if (!data) {
        return no_memory();
    }
    memcpy(out, &data, sizeof data);
    return LKS_OK;
}

/* --- one set ------------------------------------------------------------------------------------ */

/* The str at a position of a dict's keys or a list; NULL if it is none. */
static const lks_value_t *str_at(const lks_value_t *container, size_t index)
{
    const lks_value_t *value = lks_value_kind(container) == LKS_VALUE_DICT
                                   ? lks_value_key_at(container, index)
                                   : lks_value_at(container, index);
    return lks_value_kind(value) == LKS_VALUE_STR ? value : NULL;
}

static void add_section(lks_name_set_t *set, lks_value_t *container)
{
    size_t count = 0;
    for (size_t i = 0; i < lks_value_count(container); i++) {
        count += str_at(container, i) != NULL;
    }
    if (count > 0) {
        set->sections[set->section_count++] =
            (lks_name_section_t){.container = container, .first = set->count, .count = count};
        set->count += count;
    }
}

static lks_status_t read_names(lks_arena_t *arena, lks_name_set_t *set)
{
    LKS_TRY(allocate(arena, set->count, sizeof *set->names, &set->names));
    for (size_t s = 0; s < set->section_count; s++) {
        const lks_value_t *container = set->sections[s].container;
        lks_name_t *name = set->names + set->sections[s].first;
        for (size_t i = 0; i < lks_value_count(container); i++) {
            const lks_value_t *str = str_at(container, i);
            if (str) {
                name->text = lks_value_text(str, &name->length);
                name++;
            }
        }
    }
    return LKS_OK;
}

static lks_status_t fill_dict(lks_arena_t *arena, lks_name_set_t *set)
{
    LKS_TRY(allocate(arena, 1, sizeof *set->sections, &set->sections));
    add_section(set, (lks_value_t *)set->value);
    return read_names(arena, set);
}

static void add_list(lks_name_set_t *set, const lks_value_t *group, const char *key)
{
    lks_value_t *list = lks_value_find(group, key);
    if (list && lks_value_kind(list) == LKS_VALUE_LIST) {
        add_section(set, list);
    }
}

static lks_status_t fill_optimizer(lks_arena_t *arena, lks_name_set_t *set)
{
    const lks_value_t *groups = lks_value_find(set->value, "param_groups");
    size_t sections;
    if (!lks_mul_size(lks_value_count(groups), 2, &sections)) {
        return no_memory();
    }
    LKS_TRY(allocate(arena, sections + 1, sizeof *set->sections, &set->sections));
    for (size_t i = 0; i < lks_value_count(groups); i++) {
        add_list(set, lks_value_at(groups, i), "param_names");
        add_list(set, lks_value_at(groups, i), "params");
    }
    add_section(set, lks_value_find(set->value, "state"));
    return read_names(arena, set);
}

/* --- which sets --------------------------------------------------------------------------------- */

/* A dict around an optimizer is a checkpoint, whatever tensors stand beside it. */
static lks_status_t count_all(collector_t *c)
{
    const lks_places_t *places = &c->places;
    size_t budget = LKS_MODULE_BUDGET;
    for (size_t i = places->count; i-- > 0;) {
        const lks_place_t *place = &places->items[i];
        size_t most = SIZE_MAX;
        if (!lks_value_is_optimizer(place->value)) {
            LKS_TRY(lks_value_count_tensors(place->value, &budget, &c->own[i]));
            most = c->own[i] > c->below[i] ? c->own[i] : c->below[i];
        }
        if (i > 0 && most > c->below[place->parent]) {
            c->below[place->parent] = most;
        }
    }
    return LKS_OK;
}

static bool is_state_dict(const collector_t *c, size_t i)
{
    return lks_value_kind(c->places.items[i].value) == LKS_VALUE_DICT && c->own[i] > 0 &&
           c->own[i] >= c->below[i];
}

static lks_status_t begin_set(collector_t *c, const lks_value_t *value, const char *path,
                              lks_name_set_t **out)
{
    const char *copy = lks_arena_copy_text(c->arena, path, strlen(path));
    if (!copy) {
        return no_memory();
    }
    *out = &c->out->items[c->out->count];
    **out = (lks_name_set_t){.value = value, .path = copy};
    return LKS_OK;
}

static lks_status_t add_dict(collector_t *c, const lks_value_t *dict, const char *path)
{
    lks_name_set_t *set;
    LKS_TRY(begin_set(c, dict, path, &set));
    LKS_TRY(fill_dict(c->arena, set));
    c->out->dict_count = ++c->out->count;
    return LKS_OK;
}

static lks_status_t add_dicts(collector_t *c)
{
    LKS_TRY(count_all(c));
    for (size_t i = 0; i < c->places.count; i++) {
        bool within = i > 0 && c->chosen[c->places.items[i].parent];
        c->chosen[i] = within || is_state_dict(c, i);
        if (c->chosen[i] && !within) {
            char path[LKS_PATH_MAX];
            lks_places_path(&c->places, i, path);
            LKS_TRY(add_dict(c, c->places.items[i].value, path));
        }
    }
    return LKS_OK;
}

static lks_status_t add_dict_at(collector_t *c, const char *path)
{
    const lks_value_t *value;
    LKS_TRY(lks_state_dict_at_path(c->places.items[0].value, path, false, &value));
    if (lks_dict_count_tensors(value) == 0) {
        return lks_fail_no_tensors(path);
    }
    return add_dict(c, value, path);
}

static lks_status_t add_optimizers(collector_t *c)
{
    for (size_t i = 0; i < c->places.count; i++) {
        const lks_value_t *value = c->places.items[i].value;
        if (!lks_value_is_optimizer(value)) {
            continue;
        }
        char path[LKS_PATH_MAX];
        lks_places_path(&c->places, i, path);
        lks_name_set_t *set;
        LKS_TRY(begin_set(c, value, path, &set));
        set->is_optimizer = true;
        LKS_TRY(fill_optimizer(c->arena, set));
        c->out->count += set->count > 0;
    }
    return LKS_OK;
}

static lks_status_t nothing_found(const collector_t *c)
{
    for (size_t i = 0; i < c->places.count; i++) {
        if (lks_value_is_module(c->places.items[i].value)) {
            return lks_fail(LKS_ERR_NOT_FOUND, "there are whole models but no state dict: the "
                                               "names of a whole model are its structure");
        }
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "no dict has a tensor under a str key");
}

static lks_status_t collect(collector_t *c, const char *path, bool optimizers)
{
    size_t places = c->places.count;
    LKS_TRY(allocate(c->arena, places + 1, sizeof *c->out->items, &c->out->items));
    LKS_TRY(allocate(c->arena, places, sizeof *c->own, &c->own));
    LKS_TRY(allocate(c->arena, places, sizeof *c->below, &c->below));
    LKS_TRY(allocate(c->arena, places, sizeof *c->chosen, &c->chosen));
    LKS_TRY(path ? add_dict_at(c, path) : add_dicts(c));
    if (optimizers) {
        LKS_TRY(add_optimizers(c));
    }
    return c->out->count > 0 ? LKS_OK : nothing_found(c);
}

lks_status_t lks_name_sets_collect(const lks_tree_t *tree, const char *path, bool optimizers,
                                   lks_arena_t *arena, lks_name_sets_t *out)
{
    *out = (lks_name_sets_t){0};
    collector_t c = {.arena = arena, .out = out};
    LKS_TRY(lks_places_collect(lks_tree_root(tree), &c.places));
    lks_status_t status = c.places.count > 0 ? collect(&c, path, optimizers) : nothing_found(&c);
    lks_places_fini(&c.places);
    return status;
}
