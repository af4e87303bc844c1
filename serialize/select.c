/* SPDX-License-Identifier: Apache-2.0 */
/* select.c - choosing the keys of the state dicts in a tree by patterns. */
#include "serialize/metadata.h"
#include "serialize/pattern.h"
#include "serialize/rename_plan.h"
#include "serialize/value_node.h"

#include <fnmatch.h>
#include <stdlib.h>

typedef struct filter {
    const lks_key_filter_t *filter;
    regex_t regex;
    size_t hits;
} filter_t;

typedef struct selection {
    lks_rename_plan_t plan;
    filter_t *filters;
    size_t count;
    bool keeps; /* some filter keeps */
} selection_t;

static bool matches(const filter_t *filter, const char *key)
{
    return filter->filter->is_regex ? regexec(&filter->regex, key, 0, NULL, 0) == 0
                                    : fnmatch(filter->filter->pattern, key, 0) == 0;
}

static lks_status_t stays(selection_t *s, lks_name_t key, bool *out)
{
    bool kept = !s->keeps, dropped = false;
    LKS_TRY(lks_pattern_check_name(key));
    for (size_t i = 0; i < s->count; i++) {
        if (matches(&s->filters[i], key.text)) {
            s->filters[i].hits++;
            kept |= !s->filters[i].filter->drop;
            dropped |= s->filters[i].filter->drop;
        }
    }
    *out = kept && !dropped;
    return LKS_OK;
}

/* --- one state dict ----------------------------------------------------------------------------- */

/* Entries that stay in a dict, and their names. */
typedef struct rest {
    lks_dict_entry_t *entries;
    size_t count;
    lks_name_t *names;
    size_t name_count;
    lks_name_t first_dropped;
} rest_t;

static lks_status_t filter_entries(selection_t *s, const lks_name_set_t *set, rest_t *rest)
{
    const lks_name_t *name = set->names;
    for (size_t i = 0; i < lks_value_count(set->value); i++) {
        lks_value_t *key = lks_value_key_at(set->value, i);
        bool is_name = lks_value_kind(key) == LKS_VALUE_STR, stay = true;
        if (is_name) {
            LKS_TRY(stays(s, *name, &stay));
        }
        if (stay) {
            rest->entries[rest->count++] =
                (lks_dict_entry_t){.key = key, .value = lks_value_at(set->value, i)};
        } else if (!rest->first_dropped.text) {
            rest->first_dropped = *name;
        }
        if (is_name && stay) {
            rest->names[rest->name_count++] = *name;
        }
        name += is_name;
    }
    return LKS_OK;
}

static lks_status_t edit(selection_t *s, const lks_name_set_t *set, const rest_t *rest)
{
    lks_rename_plan_t *plan = &s->plan;
    lks_value_t *metadata = lks_metadata_of(set->value), *with = NULL;
    LKS_TRY(lks_rename_plan_edit(plan, set->sections[0].container,
                                 lks_dict_of(plan->tree, rest->entries, rest->count)));
    if (metadata) {
        const lks_key_change_t change = {.before = set->names,
                                         .count = set->count,
                                         .after = rest->names,
                                         .after_count = rest->name_count};
        LKS_TRY(lks_metadata_prune(plan->tree, metadata, &change, &plan->arena, &with));
    }
    return lks_rename_plan_edit(plan, metadata, with);
}

static lks_status_t select_in(selection_t *s, const lks_name_set_t *set)
{
    rest_t rest = {
        .entries =
            lks_rename_plan_array(&s->plan, lks_value_count(set->value), sizeof *rest.entries),
        .names = lks_rename_plan_array(&s->plan, set->count, sizeof *rest.names),
    };
    if (!rest.entries || !rest.names) {
        return lks_rename_no_memory();
    }
    LKS_TRY(filter_entries(s, set, &rest));
    size_t dropped = set->count - rest.name_count;
    if (dropped > 0) {
        LKS_TRY(edit(s, set, &rest));
    }
    return lks_rename_report_add(s->plan.report, set, dropped,
                                 dropped > 0 ? &rest.first_dropped : NULL, NULL);
}

/* --- all of them -------------------------------------------------------------------------------- */

static lks_status_t compile(selection_t *s, const lks_key_filter_t *filters, size_t count)
{
    s->filters = calloc(count + 1, sizeof *s->filters);
    if (!s->filters) {
        return lks_rename_no_memory();
    }
    for (; s->count < count; s->count++) {
        const lks_key_filter_t *filter = &filters[s->count];
        s->filters[s->count].filter = filter;
        s->keeps |= !filter->drop;
        if (filter->is_regex) {
            LKS_TRY(lks_pattern_compile(&s->filters[s->count].regex, filter->pattern));
        }
    }
    return LKS_OK;
}

static void selection_fini(selection_t *s)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->filters[i].filter->is_regex) {
            regfree(&s->filters[i].regex);
        }
    }
    free(s->filters);
    lks_rename_plan_fini(&s->plan);
}

static lks_status_t select_all(selection_t *s, lks_rename_report_t **report)
{
    for (size_t i = 0; i < s->plan.sets.count; i++) {
        LKS_TRY(select_in(s, &s->plan.sets.items[i]));
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->filters[i].hits == 0) {
            return lks_fail(LKS_ERR_NOT_FOUND, "no key matches '%.200s'",
                            s->filters[i].filter->pattern);
        }
    }
    return lks_rename_plan_commit(&s->plan, report);
}

lks_status_t lks_tree_select(lks_tree_t *tree, const char *path, const lks_key_filter_t *filters,
                             size_t count, lks_rename_report_t **report)
{
    selection_t s = {0};
    lks_status_t status = lks_rename_plan_init(&s.plan, tree, path, false);
    if (status == LKS_OK) {
        status = compile(&s, filters, count);
    }
    if (status == LKS_OK) {
        status = select_all(&s, report);
    }
    selection_fini(&s);
    return status;
}
