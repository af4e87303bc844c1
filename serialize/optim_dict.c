/* SPDX-License-Identifier: Apache-2.0 */
/* optim_dict.c - parameters are first listed as the groups have them; the new dict is written from that list. */
#include "serialize/key_table.h"
#include "serialize/name_text.h"
#include "serialize/optim_params.h"

#include <inttypes.h>
#include <lockstep/optim_dict.h>
#include <stdlib.h>

#define SHOWN_BYTES 200

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "an optimizer's state dict: out of memory");
}

static lks_name_t name_of(const lks_value_t *str)
{
    lks_name_t name;
    name.text = lks_value_text(str, &name.length);
    return name;
}

static lks_status_t check_count(const lks_optim_params_t *o, size_t count)
{
    if (count != o->count) {
        return lks_fail(LKS_ERR_MISMATCH,
                        "the optimizer's state dict has %zu parameters, %zu names are given",
                        o->count, count);
    }
    return LKS_OK;
}

/* --- by name ------------------------------------------------------------------------------------ */

static lks_status_t names_from_groups(lks_optim_params_t *o)
{
    for (size_t i = 0, at = 0; i < o->count; i++, at++) {
        at = i > 0 && o->params[i].group != o->params[i - 1].group ? 0 : at;
        const lks_value_t *group = lks_value_at(o->groups, o->params[i].group);
        const lks_value_t *names = lks_optim_list(group, "param_names");
        if (!names || lks_value_count(names) != lks_value_count(lks_value_find(group, "params"))) {
            return lks_fail(LKS_ERR_MISMATCH,
                            "the optimizer's state dict: group %zu has no list 'param_names' with "
                            "a name for each parameter",
                            o->params[i].group);
        }
        const lks_value_t *name = lks_value_at(names, at);
        if (lks_value_kind(name) != LKS_VALUE_STR) {
            return lks_fail(LKS_ERR_MISMATCH,
                            "the optimizer's state dict: 'param_names' of group %zu has a value of "
                            "kind %s",
                            o->params[i].group, lks_value_kind_name(lks_value_kind(name)));
        }
        o->params[i].name = name_of(name);
    }
    return LKS_OK;
}

/* Neither numbers nor names may stand for two parameters. */
static lks_status_t check_unique(const lks_optim_params_t *o)
{
    lks_value_t *numbers = lks_value_dict(o->tree), *names = lks_value_dict(o->tree);
    for (size_t i = 0; i < o->count; i++) {
        lks_value_set(o->tree, numbers, o->params[i].old_key, lks_value_none(o->tree));
        lks_value_set(o->tree, names, o->params[i].key, lks_value_none(o->tree));
        LKS_TRY(lks_tree_status(o->tree));
        if (lks_value_count(names) != i + 1) {
            lks_strbuf_t shown = {0};
            lks_name_append(&shown, o->params[i].name, SHOWN_BYTES);
            lks_status_t status =
                lks_fail(LKS_ERR_INVALID_ARG, "two parameters of the optimizer are called '%s'",
                         lks_strbuf_text(&shown));
            lks_strbuf_fini(&shown);
            return status;
        }
        if (lks_value_count(numbers) != i + 1) {
            int64_t number = 0;
            LKS_TRY(lks_value_get_int(o->params[i].old_key, &number));
            return lks_fail(LKS_ERR_MISMATCH,
                            "the optimizer's state dict has parameter %" PRId64 " twice", number);
        }
    }
    return LKS_OK;
}

static lks_status_t by_name(lks_optim_params_t *o, const char *const *names, size_t count,
                            lks_value_t **out)
{
    if (!names) {
        LKS_TRY(names_from_groups(o));
    } else {
        LKS_TRY(check_count(o, count));
    }
    for (size_t i = 0; i < o->count; i++) {
        lks_optim_param_t *param = &o->params[i];
        param->name = names ? lks_name(names[i]) : param->name;
        param->key = lks_value_str_n(o->tree, param->name.text, param->name.length);
    }
    LKS_TRY(lks_tree_status(o->tree));
    LKS_TRY(check_unique(o));
    return lks_optim_params_write(o, out);
}

lks_status_t lks_optim_dict_by_name(lks_tree_t *tree, const lks_value_t *optimizer,
                                    const char *const *names, size_t count, lks_value_t **out)
{
    lks_optim_params_t o;
    lks_status_t status = lks_optim_params_init(&o, tree, optimizer, LKS_VALUE_INT);
    if (status == LKS_OK) {
        status = by_name(&o, names, count, out);
    }
    free(o.params);
    return status;
}

/* --- by index ----------------------------------------------------------------------------------- */

static int by_group_and_order(const void *a, const void *b)
{
    const lks_optim_param_t *s = a, *t = b;
    return s->group != t->group ? (s->group > t->group) - (s->group < t->group)
                                : (s->order > t->order) - (s->order < t->order);
}

static lks_status_t find_orders(lks_optim_params_t *o, const lks_key_table_t *table)
{
    for (size_t i = 0; i < o->count; i++) {
        o->params[i].order = lks_key_table_find(table, o->params[i].name);
        if (o->params[i].order == SIZE_MAX) {
            return lks_optim_mismatch("its parameter", o->params[i].name,
                                      "is not one of the model's");
        }
    }
    return LKS_OK;
}

/* As many names as parameters, no name twice on either side, and each found: they are the same. */
static lks_status_t sort_params(lks_optim_params_t *o, const char *const *names, size_t count)
{
    LKS_TRY(check_count(o, count));
    lks_name_t *list = calloc(count + 1, sizeof *list);
    if (!list) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        list[i] = lks_name(names[i]);
    }
    lks_key_table_t table;
    size_t repeated;
    lks_status_t status = lks_key_table_init(&table, list, count, &repeated);
    if (status == LKS_OK) {
        status = repeated == SIZE_MAX ? find_orders(o, &table) : LKS_ERR_INVALID_ARG;
        lks_key_table_fini(&table);
    }
    free(list);
    if (status == LKS_ERR_INVALID_ARG) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the model has the parameter '%.200s' twice",
                        names[repeated]);
    }
    if (status == LKS_OK && count > 0) {
        qsort(o->params, count, sizeof *o->params, by_group_and_order);
    }
    return status;
}

static lks_status_t check_names_unique(const lks_optim_params_t *o)
{
    lks_value_t *names = lks_value_dict(o->tree);
    for (size_t i = 0; i < o->count; i++) {
        lks_value_set(o->tree, names, o->params[i].old_key, lks_value_none(o->tree));
        LKS_TRY(lks_tree_status(o->tree));
        if (lks_value_count(names) != i + 1) {
            return lks_optim_mismatch("it has the parameter", o->params[i].name, "twice");
        }
    }
    return LKS_OK;
}

static lks_status_t by_index(lks_optim_params_t *o, const char *const *names, size_t count,
                             lks_value_t **out)
{
    for (size_t i = 0; i < o->count; i++) {
        o->params[i].name = name_of(o->params[i].old_key);
    }
    LKS_TRY(check_names_unique(o));
    if (names) {
        LKS_TRY(sort_params(o, names, count));
    }
    for (size_t i = 0; i < o->count; i++) {
        o->params[i].key = lks_value_int(o->tree, (int64_t)i);
    }
    return lks_optim_params_write(o, out);
}

lks_status_t lks_optim_dict_by_index(lks_tree_t *tree, const lks_value_t *optimizer,
                                     const char *const *names, size_t count, lks_value_t **out)
{
    lks_optim_params_t o;
    lks_status_t status = lks_optim_params_init(&o, tree, optimizer, LKS_VALUE_STR);
    if (status == LKS_OK) {
        status = by_index(&o, names, count, out);
    }
    free(o.params);
    return status;
}
