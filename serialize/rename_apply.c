/* SPDX-License-Identifier: Apache-2.0 */
/* rename_apply.c - a rename program over a tree. */
#include "serialize/key_table.h"
#include "serialize/metadata.h"
#include "serialize/name_text.h"
#include "serialize/rename_plan.h"
#include "serialize/value_node.h"

#define SHOWN_BYTES 200

typedef struct renaming {
    lks_rename_plan_t plan;
    const lks_rename_t *rename;
    lks_step_choice_t **choices; /* by set, NULL: the set stays as it is; by step */
    lks_strmap_t owners;         /* key before -> the first state dict that has it */
} renaming_t;

/* --- what must not happen ----------------------------------------------------------------------- */

static lks_status_t complain(const char *format, lks_name_t a, lks_name_t b, lks_name_t c)
{
    lks_strbuf_t shown[3] = {{0}, {0}, {0}};
    const lks_name_t names[3] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        lks_name_append(&shown[i], names[i], SHOWN_BYTES);
    }
    lks_status_t status = lks_fail(LKS_ERR_MISMATCH, format, lks_strbuf_text(&shown[0]),
                                   lks_strbuf_text(&shown[1]), lks_strbuf_text(&shown[2]));
    for (int i = 0; i < 3; i++) {
        lks_strbuf_fini(&shown[i]);
    }
    return status;
}

static lks_status_t collision(lks_name_t before, lks_name_t other, lks_name_t after)
{
    if (lks_name_equal(other, after)) {
        return complain("the key '%s' would become '%s', which is there already", before, after,
                        after);
    }
    return complain("the keys '%s' and '%s' would both become '%s'", other, before, after);
}

/* No name of a section becomes nothing, and no two become one. */
static lks_status_t check_section(const lks_name_t *before, const lks_name_t *after, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (after[i].length == 0 && before[i].length > 0) {
            return complain("nothing would be left of the key '%s'", before[i], before[i],
                            before[i]);
        }
    }
    lks_key_table_t table;
    size_t repeated;
    LKS_TRY(lks_key_table_init(&table, after, count, &repeated));
    size_t other = repeated == SIZE_MAX ? 0 : lks_key_table_find(&table, after[repeated]);
    lks_key_table_fini(&table);
    if (repeated == SIZE_MAX || lks_name_equal(before[repeated], before[other])) {
        return LKS_OK; /* a list may have had a name twice before */
    }
    return lks_name_equal(before[repeated], after[repeated])
               ? collision(before[other], before[repeated], after[repeated])
               : collision(before[repeated], before[other], after[repeated]);
}

/* --- one set ------------------------------------------------------------------------------------ */

/* The str of a name: the one there was if it stays. */
static lks_value_t *str_of(lks_tree_t *tree, lks_value_t *old, lks_name_t before, lks_name_t after)
{
    return lks_name_equal(before, after) ? old : lks_value_str_n(tree, after.text, after.length);
}

static lks_status_t edit_dict(renaming_t *r, lks_value_t *dict, const lks_name_t *before,
                              const lks_name_t *after)
{
    size_t count = lks_value_count(dict);
    lks_dict_entry_t *entries = lks_rename_plan_array(&r->plan, count, sizeof *entries);
    if (!entries) {
        return lks_rename_no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        lks_value_t *key = lks_value_key_at(dict, i);
        if (lks_value_kind(key) == LKS_VALUE_STR) {
            key = str_of(r->plan.tree, key, *before++, *after++);
        }
        entries[i] = (lks_dict_entry_t){.key = key, .value = lks_value_at(dict, i)};
    }
    LKS_TRY(lks_tree_status(r->plan.tree));
    return lks_rename_plan_edit(&r->plan, dict, lks_dict_of(r->plan.tree, entries, count));
}

static lks_status_t edit_list(renaming_t *r, lks_value_t *list, const lks_name_t *before,
                              const lks_name_t *after)
{
    size_t count = lks_value_count(list);
    lks_value_t **items = lks_rename_plan_array(&r->plan, count, sizeof *items);
    if (!items) {
        return lks_rename_no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        items[i] = lks_value_at(list, i);
        if (lks_value_kind(items[i]) == LKS_VALUE_STR) {
            items[i] = str_of(r->plan.tree, items[i], *before++, *after++);
        }
    }
    LKS_TRY(lks_tree_status(r->plan.tree));
    lks_value_t *with = lks_value_list(r->plan.tree);
    if (with) {
        (void)lks_sequence_fill(r->plan.tree, with, items, count);
    }
    return lks_rename_plan_edit(&r->plan, list, with);
}

static lks_status_t edit_section(renaming_t *r, const lks_name_set_t *set, size_t section,
                                 const lks_name_t *after)
{
    const lks_name_section_t *s = &set->sections[section];
    const lks_name_t *before = set->names + s->first;
    after += s->first;
    size_t same = 0;
    while (same < s->count && lks_name_equal(before[same], after[same])) {
        same++;
    }
    if (same == s->count) {
        return LKS_OK;
    }
    LKS_TRY(check_section(before, after, s->count));
    return lks_value_kind(s->container) == LKS_VALUE_DICT
               ? edit_dict(r, s->container, before, after)
               : edit_list(r, s->container, before, after);
}

static lks_status_t edit_metadata(renaming_t *r, const lks_name_set_t *set, const lks_name_t *after,
                                  lks_step_choice_t *choices)
{
    lks_value_t *metadata = lks_metadata_of(set->value), *with;
    if (!metadata) {
        return LKS_OK;
    }
    const lks_key_change_t change = {
        .before = set->names, .count = set->count, .after = after, .after_count = set->count};
    LKS_TRY(lks_metadata_rename(r->plan.tree, metadata, &change, r->rename, choices, &r->plan.arena,
                                &with));
    return lks_rename_plan_edit(&r->plan, metadata, with);
}

static lks_status_t report_set(renaming_t *r, const lks_name_set_t *set, const lks_name_t *after)
{
    size_t changed = 0, first = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (!lks_name_equal(set->names[i], after[i]) && changed++ == 0) {
            first = i;
        }
    }
    return lks_rename_report_add(r->plan.report, set, changed,
                                 changed > 0 ? &set->names[first] : NULL,
                                 changed > 0 ? &after[first] : NULL);
}

/* The choices of the first state dict that has a name of the optimizer; NULL if there is none. */
static lks_step_choice_t *choices_to_follow(const renaming_t *r, const lks_name_set_t *set)
{
    size_t owner = SIZE_MAX;
    for (size_t i = 0; set->is_optimizer && i < set->count; i++) {
        size_t found = lks_strmap_get(&r->owners, set->names[i].text, set->names[i].length);
        owner = found < owner ? found : owner;
    }
    return owner == SIZE_MAX ? NULL : r->choices[owner];
}

static lks_status_t rename_set(renaming_t *r, size_t index, bool alone)
{
    const lks_name_set_t *set = &r->plan.sets.items[index];
    lks_step_choice_t *choices = choices_to_follow(r, set);
    bool follow = choices != NULL;
    if (!follow && set->is_optimizer && !alone) {
        return LKS_OK;
    }
    if (!follow) {
        choices = lks_rename_plan_array(&r->plan, r->rename->count, sizeof *choices);
        r->choices[index] = choices;
    }
    lks_name_t *after = lks_rename_plan_array(&r->plan, set->count, sizeof *after);
    if (!choices || !after) {
        return lks_rename_no_memory();
    }
    memcpy(after, set->names, set->count * sizeof *after);
    LKS_TRY(lks_names_rename(r->rename, &r->plan.arena, after, set->count, choices, follow));
    for (size_t i = 0; i < set->section_count; i++) {
        LKS_TRY(edit_section(r, set, i, after));
    }
    if (!set->is_optimizer) {
        LKS_TRY(edit_metadata(r, set, after, choices));
    }
    return report_set(r, set, after);
}

/* --- all sets ----------------------------------------------------------------------------------- */

static lks_status_t index_owners(renaming_t *r)
{
    const lks_name_sets_t *sets = &r->plan.sets;
    for (size_t i = 0; i < sets->dict_count && sets->dict_count < sets->count; i++) {
        const lks_name_set_t *set = &sets->items[i];
        for (size_t k = 0; k < set->count; k++) {
            if (lks_strmap_add(&r->owners, set->names[k].text, set->names[k].length, i) ==
                SIZE_MAX) {
                return lks_rename_no_memory();
            }
        }
    }
    return LKS_OK;
}

/* A prefix that no key has was not the one that was meant. */
static lks_status_t check_hits(const renaming_t *r)
{
    for (size_t step = 0; step < r->rename->count; step++) {
        size_t hits = 0;
        for (size_t i = 0; i < r->plan.sets.count; i++) {
            hits += r->choices[i] ? r->choices[i][step].hits : 0;
        }
        if (r->rename->steps[step].kind == LKS_STEP_STRIP_PREFIX && hits == 0) {
            return lks_fail(LKS_ERR_NOT_FOUND, "no key begins with '%.200s'",
                            r->rename->steps[step].text);
        }
    }
    return LKS_OK;
}

static lks_status_t rename_all(renaming_t *r, const char *path, lks_rename_report_t **report)
{
    r->choices = lks_rename_plan_array(&r->plan, r->plan.sets.count, sizeof *r->choices);
    if (!r->choices) {
        return lks_rename_no_memory();
    }
    LKS_TRY(index_owners(r));
    for (size_t i = 0; i < r->plan.sets.count; i++) {
        LKS_TRY(rename_set(r, i, path == NULL));
    }
    LKS_TRY(check_hits(r));
    return lks_rename_plan_commit(&r->plan, report);
}

lks_status_t lks_rename_apply(const lks_rename_t *rename, lks_tree_t *tree, const char *path,
                              lks_rename_report_t **report)
{
    renaming_t r = {.rename = rename};
    lks_status_t status = lks_rename_plan_init(&r.plan, tree, path, true);
    if (status == LKS_OK) {
        status = rename_all(&r, path, report);
    }
    lks_strmap_fini(&r.owners);
    lks_rename_plan_fini(&r.plan);
    return status;
}
