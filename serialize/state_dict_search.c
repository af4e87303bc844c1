/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict_search.c - see state_dict_search.h. */
#include "serialize/state_dict_search.h"
#include "core/checked.h"
#include "serialize/module_tree.h"

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

/* What steps lead to: of a module, its submodules. */
static const lks_value_t *steps_of(const lks_value_t *value)
{
    const lks_value_t *children = lks_module_children(value);
    return children ? children : value;
}

/* The step that the path goes on with; SIZE_MAX if there is none. */
static size_t find_step(const lks_value_t *container, lks_name_t path, size_t *length)
{
    if (lks_value_kind(container) != LKS_VALUE_DICT) {
        return find_position(container, path, length);
    }
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < lks_value_count(container); i++) {
        char digits[LKS_STEP_MAX];
        lks_name_t step;
        if (!lks_step_name(container, i, digits, &step) || !lks_name_starts_with(path, step)) {
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
        size_t step = find_step(steps_of(value), rest, &length);
        if (step == SIZE_MAX) {
            return no_step(path, rest, value);
        }
        value = lks_value_at(steps_of(value), step);
        more = length < rest.length;
        rest = lks_name_behind(rest, more ? length + 1 : length);
    }
    *out = value;
    return LKS_OK;
}

lks_status_t lks_state_dict_at_path(const lks_value_t *root, const char *path, bool modules,
                                    const lks_value_t **out)
{
    const lks_value_t *value;
    LKS_TRY(lks_value_at_path(root, path, &value));
    if (lks_value_kind(value) != LKS_VALUE_DICT && !(modules && lks_value_is_module(value))) {
        return lks_fail(LKS_ERR_MISMATCH, "'%s' is of kind %s where a dict of tensors is wanted",
                        *path ? path : "(root)", lks_value_kind_name(lks_value_kind(value)));
    }
    *out = value;
    return LKS_OK;
}

lks_status_t lks_fail_no_tensors(const char *path)
{
    return lks_fail(LKS_ERR_NOT_FOUND, "the dict '%s' has no tensor under a str key",
                    *path ? path : "(root)");
}

/* --- by search ---------------------------------------------------------------------------------- */

lks_status_t lks_value_count_tensors(const lks_value_t *value, size_t *budget, size_t *count)
{
    if (lks_value_kind(value) != LKS_VALUE_OBJECT) {
        *count = lks_dict_count_tensors(value);
        return LKS_OK;
    }
    lks_module_tensors_t tensors;
    lks_status_t status = lks_module_tensors_init(&tensors, value, budget);
    if (status == LKS_OK) {
        *count = tensors.count;
        lks_module_tensors_fini(&tensors);
    } else if (status == LKS_ERR_FORMAT) {
        *count = 0;
        status = LKS_OK;
    }
    return status;
}

/* Place of the dict or module with the most tensors; SIZE_MAX where none has any. */
static lks_status_t find_most(const lks_places_t *places, size_t *best)
{
    size_t most = 0, budget = LKS_MODULE_BUDGET;
    *best = SIZE_MAX;
    for (size_t i = 0; i < places->count; i++) {
        size_t count = 0;
        if (!lks_value_is_optimizer(places->items[i].value)) {
            LKS_TRY(lks_value_count_tensors(places->items[i].value, &budget, &count));
        }
        if (count > most) {
            most = count;
            *best = i;
        }
    }
    return LKS_OK;
}

static lks_status_t nothing_found(const lks_value_t *root)
{
    static const char script[] = "__torch__.";
    const char *class = lks_value_kind(root) == LKS_VALUE_OBJECT ? lks_value_class_name(root) : "";
    if (class && strncmp(class, script, sizeof script - 1) == 0) {
        return lks_fail(LKS_ERR_NOT_FOUND, "the TorchScript module has no parameters: a frozen one "
                                           "keeps its weights as constants of its code");
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "no dict has a tensor under a str key");
}

lks_status_t lks_state_dict_search(const lks_value_t *root, const lks_value_t **out,
                                   char path[LKS_PATH_MAX])
{
    lks_places_t places;
    LKS_TRY(lks_places_collect(root, &places));
    size_t best;
    lks_status_t status = find_most(&places, &best);
    if (status == LKS_OK && best == SIZE_MAX) {
        status = nothing_found(root);
    }
    if (status == LKS_OK) {
        *out = places.items[best].value;
        lks_places_path(&places, best, path);
    }
    lks_places_fini(&places);
    return status;
}
