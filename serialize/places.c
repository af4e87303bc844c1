/* SPDX-License-Identifier: Apache-2.0 */
/* places.c - a queue instead of recursion: the list of places is the queue. */
#include "serialize/places.h"
#include "core/grow.h"
#include "serialize/module_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool lks_step_name(const lks_value_t *container, size_t index, char digits[LKS_STEP_MAX],
                   lks_name_t *out)
{
    const lks_value_t *key = lks_value_key_at(container, index);
    int64_t number;
    if (key && lks_value_kind(key) == LKS_VALUE_STR) {
        out->text = lks_value_text(key, &out->length);
        return strlen(out->text) == out->length;
    }
    if (!key) {
        (void)snprintf(digits, LKS_STEP_MAX, "%zu", index);
    } else if (lks_value_kind(key) == LKS_VALUE_INT && lks_value_get_int(key, &number) == LKS_OK) {
        (void)snprintf(digits, LKS_STEP_MAX, "%" PRId64, number);
    } else {
        return false;
    }
    *out = lks_name(digits);
    return true;
}

bool lks_value_is_optimizer(const lks_value_t *value)
{
    const lks_value_t *state = lks_value_find(value, "state");
    const lks_value_t *groups = lks_value_find(value, "param_groups");
    return state && groups && lks_value_kind(state) == LKS_VALUE_DICT &&
           lks_value_kind(groups) == LKS_VALUE_LIST;
}

static bool has_place(const lks_value_t *value)
{
    lks_value_kind_t kind = lks_value_kind(value);
    return kind == LKS_VALUE_DICT || kind == LKS_VALUE_LIST || kind == LKS_VALUE_TUPLE ||
           lks_value_is_module(value);
}

static lks_status_t no_memory(const lks_places_t *places)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "looking through %zu containers: out of memory",
                    places->count);
}

lks_status_t lks_places_add(lks_places_t *places, const lks_value_t *value, size_t parent,
                            size_t step)
{
    if (lks_intmap_get(&places->seen, (uintptr_t)value) != SIZE_MAX) {
        return LKS_OK;
    }
    lks_place_t *items =
        lks_grow(places->items, &places->capacity, places->count + 1, sizeof *items);
    if (!items) {
        return no_memory(places);
    }
    places->items = items;
    if (!lks_intmap_set(&places->seen, (uintptr_t)value, places->count)) {
        return no_memory(places);
    }
    places->items[places->count++] = (lks_place_t){.value = value, .parent = parent, .step = step};
    return LKS_OK;
}

static lks_status_t collect(lks_places_t *places, const lks_value_t *root)
{
    if (has_place(root)) {
        LKS_TRY(lks_places_add(places, root, 0, 0));
    }
    for (size_t i = 0; i < places->count; i++) {
        const lks_value_t *value = places->items[i].value;
        size_t steps = lks_value_is_optimizer(value) ? 0 : lks_value_count(value);
        for (size_t step = 0; step < steps; step++) {
            const lks_value_t *child = lks_value_at(value, step);
            if (has_place(child)) {
                LKS_TRY(lks_places_add(places, child, i, step));
            }
        }
    }
    return LKS_OK;
}

lks_status_t lks_places_collect(const lks_value_t *root, lks_places_t *out)
{
    lks_places_t places = {0};
    lks_status_t status = collect(&places, root);
    if (status != LKS_OK) {
        lks_places_fini(&places);
        return status;
    }
    *out = places;
    return LKS_OK;
}

void lks_places_fini(lks_places_t *places)
{
    free(places->items);
    lks_intmap_fini(&places->seen);
    *places = (lks_places_t){0};
}

/* Written from its end, because a place knows where it came from and not where it leads. */
void lks_places_path(const lks_places_t *places, size_t at, char path[LKS_PATH_MAX])
{
    static const char cut[] = "...";
    size_t begin = LKS_PATH_MAX - 1;
    path[begin] = '\0';
    while (at != 0) {
        const lks_place_t *place = &places->items[at];
        char digits[LKS_STEP_MAX];
        lks_name_t name;
        if (!lks_step_name(places->items[place->parent].value, place->step, digits, &name)) {
            name = lks_name("?");
        }
        size_t dot = begin < LKS_PATH_MAX - 1;
        if (name.length + dot + sizeof cut > begin) {
            begin -= sizeof cut - 1;
            memcpy(path + begin, cut, sizeof cut - 1);
            break;
        }
        if (dot) {
            path[--begin] = '.';
        }
        begin -= name.length;
        memcpy(path + begin, name.text, name.length);
        at = place->parent;
    }
    memmove(path, path + begin, LKS_PATH_MAX - begin);
}
