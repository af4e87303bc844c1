/* SPDX-License-Identifier: Apache-2.0 */
/* optim_params.c - see optim_params.h. */
#include "serialize/optim_params.h"
#include "core/checked.h"
#include "serialize/name_text.h"
#include "serialize/places.h"
#include "serialize/value_node.h"

#include <stdlib.h>

#define SHOWN_BYTES 200

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "an optimizer's state dict: out of memory");
}

/* MISMATCH with a name from a file in it. */
lks_status_t lks_optim_mismatch(const char *before, lks_name_t name, const char *behind)
{
    lks_strbuf_t shown = {0};
    lks_name_append(&shown, name, SHOWN_BYTES);
    lks_status_t status = lks_fail(LKS_ERR_MISMATCH, "the optimizer's state dict: %s '%s' %s",
                                   before, lks_strbuf_text(&shown), behind);
    lks_strbuf_fini(&shown);
    return status;
}

/* --- reading ------------------------------------------------------------------------------------ */

const lks_value_t *lks_optim_list(const lks_value_t *group, const char *key)
{
    const lks_value_t *list = lks_value_find(group, key);
    return list && lks_value_kind(list) == LKS_VALUE_LIST ? list : NULL;
}

static lks_status_t count_params(lks_optim_params_t *o)
{
    size_t count = 0;
    for (size_t g = 0; g < lks_value_count(o->groups); g++) {
        const lks_value_t *params = lks_optim_list(lks_value_at(o->groups, g), "params");
        if (!params) {
            return lks_fail(LKS_ERR_MISMATCH,
                            "the optimizer's state dict: group %zu has no list 'params'", g);
        }
        if (!lks_add_size(count, lks_value_count(params), &count)) {
            return no_memory();
        }
    }
    o->params = calloc(count + 1, sizeof *o->params);
    if (!o->params) {
        return no_memory();
    }
    o->count = count;
    return LKS_OK;
}

static lks_status_t list_params(lks_optim_params_t *o, lks_value_kind_t kind)
{
    lks_optim_param_t *param = o->params;
    for (size_t g = 0; g < lks_value_count(o->groups); g++) {
        const lks_value_t *params = lks_optim_list(lks_value_at(o->groups, g), "params");
        for (size_t i = 0; i < lks_value_count(params); i++, param++) {
            lks_value_t *key = lks_value_at(params, i);
            if (lks_value_kind(key) != kind) {
                return lks_fail(LKS_ERR_MISMATCH,
                                "the optimizer's state dict: 'params' of group %zu has a value of "
                                "kind %s where %s is wanted",
                                g, lks_value_kind_name(lks_value_kind(key)),
                                lks_value_kind_name(kind));
            }
            *param = (lks_optim_param_t){
                .old_key = key, .group = g, .order = (size_t)(param - o->params)};
        }
    }
    return LKS_OK;
}

lks_status_t lks_optim_params_init(lks_optim_params_t *o, lks_tree_t *tree,
                                   const lks_value_t *optimizer, lks_value_kind_t kind)
{
    *o = (lks_optim_params_t){.tree = tree};
    LKS_TRY(lks_tree_status(tree));
    if (!lks_value_is_optimizer(optimizer)) {
        return lks_fail(LKS_ERR_MISMATCH,
                        "what has no dict 'state' and list 'param_groups' is no optimizer's state "
                        "dict");
    }
    o->states = lks_value_find(optimizer, "state");
    o->groups = lks_value_find(optimizer, "param_groups");
    LKS_TRY(count_params(o));
    return list_params(o, kind);
}

/* --- writing ------------------------------------------------------------------------------------ */

/* The group with its parameters' new keys, and its names in their order. */
static lks_value_t *write_group(const lks_optim_params_t *o, const lks_value_t *group,
                                const lks_optim_param_t *params, size_t count)
{
    lks_value_t *keys = lks_value_list(o->tree), *names = NULL, *written = lks_value_dict(o->tree);
    if (lks_optim_list(group, "param_names")) {
        names = lks_value_list(o->tree);
    }
    for (size_t i = 0; i < count; i++) {
        lks_value_append(o->tree, keys, params[i].key);
        if (names) {
            lks_value_append(o->tree, names,
                             lks_value_str_n(o->tree, params[i].name.text, params[i].name.length));
        }
    }
    for (size_t i = 0; i < lks_value_count(group); i++) {
        lks_value_set(o->tree, written, lks_value_key_at(group, i), lks_value_at(group, i));
    }
    lks_value_set_str(o->tree, written, "params", keys);
    if (names) {
        lks_value_set_str(o->tree, written, "param_names", names);
    }
    return written;
}

static void write_groups(lks_optim_params_t *o)
{
    lks_value_t *groups = lks_value_list(o->tree);
    size_t first = 0;
    for (size_t g = 0; g < lks_value_count(o->groups); g++) {
        size_t count = 0;
        while (first + count < o->count && o->params[first + count].group == g) {
            count++;
        }
        lks_value_append(o->tree, groups,
                         write_group(o, lks_value_at(o->groups, g), o->params + first, count));
        first += count;
    }
    lks_value_set_str(o->tree, o->result, "param_groups", groups);
}

/* States in the order of the parameters, each under its new key; then none may be left. */
static void write_states(lks_optim_params_t *o)
{
    lks_value_t *states = lks_value_dict(o->tree);
    for (size_t i = 0; i < o->count; i++) {
        lks_value_t *state = lks_dict_find(o->states, o->params[i].old_key);
        if (state) {
            lks_value_set(o->tree, states, o->params[i].key, state);
        }
    }
    lks_value_set_str(o->tree, o->result, "state", states);
}

static lks_status_t stray_state(const lks_optim_params_t *o)
{
    lks_value_t *params = lks_value_dict(o->tree);
    for (size_t i = 0; i < o->count; i++) {
        lks_value_set(o->tree, params, o->params[i].old_key, lks_value_none(o->tree));
    }
    LKS_TRY(lks_tree_status(o->tree));
    for (size_t i = 0; i < lks_value_count(o->states); i++) {
        const lks_value_t *key = lks_value_key_at(o->states, i);
        if (lks_dict_find(params, key)) {
            continue;
        }
        char digits[LKS_STEP_MAX];
        lks_name_t name;
        if (!lks_step_name(o->states, i, digits, &name)) {
            name = lks_name(lks_value_kind_name(lks_value_kind(key)));
        }
        return lks_optim_mismatch("it has a state of", name, "and no group has that parameter");
    }
    return LKS_OK;
}

lks_status_t lks_optim_params_write(lks_optim_params_t *o, lks_value_t **out)
{
    o->result = lks_value_dict(o->tree);
    write_states(o);
    write_groups(o);
    LKS_TRY(lks_tree_status(o->tree));
    size_t written = lks_value_count(lks_value_find(o->result, "state"));
    if (written != lks_value_count(o->states)) {
        return stray_state(o);
    }
    *out = o->result;
    return LKS_OK;
}
