/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict_search.c - trees from files may be deep, shared and cyclic: the search keeps its own queue and
 * visits every container once. */
#include "serialize/state_dict_search.h"
#include "core/checked.h"
#include "serialize/hashmap.h"
#include "serialize/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool lks_dict_has_tensor_at(const lks_value_t *dict, size_t index)
{
    const lks_value_t *key = lks_value_key_at(dict, index);
    return key && lks_value_kind(key) == LKS_VALUE_STR &&
           lks_value_kind(lks_value_at(dict, index)) == LKS_VALUE_TENSOR;
}

size_t lks_dict_count_tensors(const lks_value_t *dict)
{
    size_t count = 0;
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        count += lks_dict_has_tensor_at(dict, i);
    }
    return count;
}

/* --- names of steps ----------------------------------------------------------------------------- */

#define STEP_MAX 24 /* digits of an int64, sign and zero */

/* What step `index` of a container is called in a path; `digits` is room for a number. False for keys that
 * cannot be said in a path. */
static bool step_name(const lks_value_t *container, size_t index, char digits[STEP_MAX],
                      lks_name_t *out)
{
    const lks_value_t *key = lks_value_key_at(container, index);
    int64_t number;
    if (key && lks_value_kind(key) == LKS_VALUE_STR) {
        out->text = lks_value_text(key, &out->length);
        return strlen(out->text) == out->length;
    }
    if (!key) {
        (void)snprintf(digits, STEP_MAX, "%zu", index);
    } else if (lks_value_kind(key) == LKS_VALUE_INT && lks_value_get_int(key, &number) == LKS_OK) {
        (void)snprintf(digits, STEP_MAX, "%" PRId64, number);
    } else {
        return false;
    }
    *out = lks_name(digits);
    return true;
}

/* --- by path ------------------------------------------------------------------------------------ */

/* The position that the path goes on with; SIZE_MAX if it is none. */
static size_t find_position(const lks_value_t *sequence, lks_name_t path, size_t *length)
{
    size_t position = 0, digits = 0;
    for (; digits < path.length && path.text[digits] != '.'; digits++) {
        if (path.text[digits] < '0' || path.text[digits] > '9' ||
            !lks_mul_size(position, 10, &position) ||
            !lks_add_size(position, (size_t)(path.text[digits] - '0'), &position)) {
            return SIZE_MAX;
        }
    }
    *length = digits;
    return digits > 0 && position < lks_value_count(sequence) ? position : SIZE_MAX;
}

/* The step that the path goes on with; SIZE_MAX if there is none. */
static size_t find_step(const lks_value_t *container, lks_name_t path, size_t *length)
{
    if (lks_value_kind(container) != LKS_VALUE_DICT) {
        return find_position(container, path, length);
    }
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < lks_value_count(container); i++) {
        char digits[STEP_MAX];
        lks_name_t step;
        if (!step_name(container, i, digits, &step) || !lks_name_starts_with(path, step)) {
            continue;
        }
        bool ends = step.length == path.length || path.text[step.length] == '.';
        if (ends && (found == SIZE_MAX || step.length > *length)) {
            found = i;
            *length = step.length;
        }
    }
    return found;
}

static lks_status_t no_step(const char *path, lks_name_t rest, const lks_value_t *value)
{
    const char *kind = lks_value_kind_name(lks_value_kind(value));
    if (rest.text == path) {
        return lks_fail(LKS_ERR_NOT_FOUND, "there is nothing at '%s': the root is a %s without it",
                        path, kind);
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "there is nothing at '%s': '%.*s' is a %s without '%s'",
                    path, (int)(rest.text - path - 1), path, kind, rest.text);
}

lks_status_t lks_value_at_path(const lks_value_t *root, const char *path, const lks_value_t **out)
{
    const lks_value_t *value = root;
    lks_name_t rest = lks_name(path);
    bool more = rest.length > 0;
    while (more) {
        size_t length = 0;
        size_t step = find_step(value, rest, &length);
        if (step == SIZE_MAX) {
            return no_step(path, rest, value);
        }
        value = lks_value_at(value, step);
        more = length < rest.length;
        rest = lks_name_behind(rest, more ? length + 1 : length);
    }
    *out = value;
    return LKS_OK;
}

/* --- by search ---------------------------------------------------------------------------------- */

typedef struct place {
    const lks_value_t *container;
    size_t parent; /* index of its place in the queue; the root's is its own */
    size_t step;   /* index in the parent */
} place_t;

typedef struct search {
    place_t *queue;
    size_t count, capacity;
    lks_intmap_t seen; /* address of a container -> its place */
} search_t;

static bool is_container(const lks_value_t *value)
{
    lks_value_kind_t kind = lks_value_kind(value);
    return kind == LKS_VALUE_DICT || kind == LKS_VALUE_LIST || kind == LKS_VALUE_TUPLE;
}

static lks_status_t no_memory(const search_t *search)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "looking for a state dict in %zu containers: out of memory",
                    search->count);
}

static lks_status_t enqueue(search_t *search, const lks_value_t *container, size_t parent,
                            size_t step)
{
    if (lks_intmap_get(&search->seen, (uintptr_t)container) != SIZE_MAX) {
        return LKS_OK;
    }
    if (search->count == search->capacity) {
        size_t capacity = search->capacity ? search->capacity : 32, nbytes;
        if (!lks_mul_size(capacity, 2, &capacity) ||
            !lks_mul_size(capacity, sizeof *search->queue, &nbytes)) {
            return no_memory(search);
        }
        place_t *queue = realloc(search->queue, nbytes);
        if (!queue) {
            return no_memory(search);
        }
        search->queue = queue;
        search->capacity = capacity;
    }
    if (!lks_intmap_set(&search->seen, (uintptr_t)container, search->count)) {
        return no_memory(search);
    }
    search->queue[search->count++] =
        (place_t){.container = container, .parent = parent, .step = step};
    return LKS_OK;
}

/* The state dict of an optimizer: what it keeps for one parameter, under str keys too, can be more tensors
 * than a small model has. */
static bool is_optimizer_state(const lks_value_t *value)
{
    const lks_value_t *state = lks_value_find(value, "state");
    const lks_value_t *groups = lks_value_find(value, "param_groups");
    return state && groups && lks_value_kind(state) == LKS_VALUE_DICT &&
           lks_value_kind(groups) == LKS_VALUE_LIST;
}

/* Place of the dict with the most tensors; SIZE_MAX where no dict has any. */
static lks_status_t search_from(search_t *search, const lks_value_t *root, size_t *best)
{
    size_t most = 0;
    *best = SIZE_MAX;
    if (is_container(root)) {
        LKS_TRY(enqueue(search, root, 0, 0));
    }
    for (size_t i = 0; i < search->count; i++) {
        const lks_value_t *container = search->queue[i].container;
        if (is_optimizer_state(container)) {
            continue;
        }
        size_t count = lks_dict_count_tensors(container);
        if (count > most) {
            most = count;
            *best = i;
        }
        for (size_t step = 0; step < lks_value_count(container); step++) {
            const lks_value_t *child = lks_value_at(container, step);
            if (is_container(child)) {
                LKS_TRY(enqueue(search, child, i, step));
            }
        }
    }
    return LKS_OK;
}

/* Written from its end, because a place knows where it came from and not where it leads. */
static void write_path(const search_t *search, size_t at, char path[LKS_PATH_MAX])
{
    static const char cut[] = "...";
    size_t begin = LKS_PATH_MAX - 1;
    path[begin] = '\0';
    while (at != 0) {
        const place_t *place = &search->queue[at];
        char digits[STEP_MAX];
        lks_name_t name;
        if (!step_name(search->queue[place->parent].container, place->step, digits, &name)) {
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

lks_status_t lks_state_dict_search(const lks_value_t *root, const lks_value_t **out,
                                   char path[LKS_PATH_MAX])
{
    search_t search = {0};
    size_t best;
    lks_status_t status = search_from(&search, root, &best);
    if (status == LKS_OK && best == SIZE_MAX) {
        status = lks_fail(LKS_ERR_NOT_FOUND, "no dict has a tensor under a str key");
    }
    if (status == LKS_OK) {
        *out = search.queue[best].container;
        write_path(&search, best, path);
    }
    free(search.queue);
    lks_intmap_fini(&search.seen);
    return status;
}
