/* SPDX-License-Identifier: Apache-2.0 */
/* match.c - which rule turns the names of a file into those of a model.
 * A rule is tried by renaming the file's names (they are slices: nothing is copied), putting them in a table
 * and looking up every name of the model. */
#include "serialize/match.h"
#include "core/checked.h"
#include "serialize/key_prefix.h"

#include <stdlib.h>

typedef struct matcher {
    lks_key_match_t *match; /* the best rule so far, and what it finds */
    size_t best_count;      /* how much that is */
    size_t want_count, file_count;
    lks_key_table_t want_table;
    size_t modules[2]; /* how often every name of base[i] has `module.` in front */
    size_t *found;     /* as match->found, under the rule being tried */
} matcher_t;

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "matching the keys of a file and a model: out of memory");
}

/* --- set-up ------------------------------------------------------------------------------------- */

/* base[1], where a wrapper is in any name. */
static lks_status_t unwrap_names(lks_key_match_t *match, size_t count)
{
    size_t nbytes = 0;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        size_t length = lks_name_unwrap(match->base[0][i], NULL);
        if (length < match->base[0][i].length) {
            any = true;
            nbytes += length; /* less than what the names themselves take */
        }
    }
    if (!any) {
        return LKS_OK;
    }
    match->bare_text = malloc(nbytes);
    match->base[1] = calloc(count, sizeof *match->base[1]);
    if (!match->bare_text || !match->base[1]) {
        return no_memory();
    }
    char *at = match->bare_text;
    for (size_t i = 0; i < count; i++) {
        lks_name_t name = match->base[0][i];
        if (lks_name_unwrap(name, NULL) < name.length) {
            name = (lks_name_t){.text = at, .length = lks_name_unwrap(name, at)};
            at += name.length;
        }
        match->base[1][i] = name;
    }
    return LKS_OK;
}

static lks_status_t match_init(lks_key_match_t *match, const lks_key_spec_t *want, size_t count,
                               const lks_state_dict_t *file)
{
    size_t file_count = lks_state_dict_count(file);
    match->found = calloc(count + 1, sizeof *match->found); /* + 1: nothing is a count too */
    match->want = calloc(count + 1, sizeof *match->want);
    match->names = calloc(file_count + 1, sizeof *match->names);
    match->base[0] = calloc(file_count + 1, sizeof *match->base[0]);
    if (!match->found || !match->want || !match->names || !match->base[0]) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        match->want[i] = lks_name(want[i].key);
        match->found[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < file_count; i++) {
        match->base[0][i] = lks_name(lks_state_dict_key(file, i));
    }
    return unwrap_names(match, file_count);
}

static lks_status_t matcher_init(matcher_t *m, lks_key_match_t *match, const lks_key_spec_t *want,
                                 size_t count, size_t file_count)
{
    *m = (matcher_t){.match = match, .want_count = count, .file_count = file_count};
    m->modules[0] = lks_names_modules(match->base[0], file_count);
    m->modules[1] = match->base[1] ? lks_names_modules(match->base[1], file_count) : 0;
    m->found = calloc(count + 1, sizeof *m->found);
    if (!m->found) {
        return no_memory();
    }
    size_t repeated;
    LKS_TRY(lks_key_table_init(&m->want_table, match->want, count, &repeated));
    if (repeated != SIZE_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the model has the key '%s' twice",
                        want[repeated].key);
    }
    return LKS_OK;
}

static void matcher_fini(matcher_t *m)
{
    lks_key_table_fini(&m->want_table);
    free(m->found);
}

/* --- one rule ----------------------------------------------------------------------------------- */

/* match->names = the file's names under the rule; adding a prefix is rename_wanted's part. */
static void rename_file(const matcher_t *m, const lks_key_rule_t *rule)
{
    for (size_t i = 0; i < m->file_count; i++) {
        lks_name_t name = m->match->base[rule->wrappers][i];
        if (rule->modules > 0 && !lks_name_is_counter(name)) {
            name = lks_name_behind(name, rule->modules * LKS_NAME_MODULE_LENGTH);
        }
        if (rule->op == LKS_PREFIX_STRIP && lks_name_has_front(name, rule->prefix)) {
            name = lks_name_behind(name, rule->prefix.length);
        }
        m->match->names[i] = name;
    }
}

/* To add a prefix to the file's names is to take it from the model's: no text has to be made. False where the
 * model's name does not have it, so that nothing in the file can become it. */
static bool rename_wanted(const lks_key_rule_t *rule, lks_name_t *name)
{
    if (rule->op == LKS_PREFIX_ADD) {
        if (!lks_name_has_front(*name, rule->prefix)) {
            return false;
        }
        *name = lks_name_behind(*name, rule->prefix.length);
    }
    return true;
}

static lks_status_t try_rule(matcher_t *m, const lks_key_rule_t *rule)
{
    lks_key_match_t *match = m->match;
    rename_file(m, rule);
    lks_key_table_t table;
    size_t repeated;
    LKS_TRY(lks_key_table_init(&table, match->names, m->file_count, &repeated));
    size_t count = 0;
    for (size_t i = 0; i < m->want_count && repeated == SIZE_MAX; i++) {
        lks_name_t name = match->want[i];
        m->found[i] = rename_wanted(rule, &name) ? lks_key_table_find(&table, name) : SIZE_MAX;
        count += m->found[i] != SIZE_MAX;
    }
    lks_key_table_fini(&table);
    if (count > m->best_count) {
        size_t *best = m->found;
        m->found = match->found;
        match->found = best;
        match->rule = *rule;
        m->best_count = count;
    }
    return LKS_OK;
}

/* --- all rules ---------------------------------------------------------------------------------- */

static lks_status_t find_prefixes(const matcher_t *m, lks_prefix_op_t op, lks_prefixes_t *out)
{
    const lks_key_match_t *match = m->match;
    if (op == LKS_PREFIX_STRIP) {
        /* Wrappers are another rule's business: from all names or from none. */
        return lks_prefixes_find(match->names, m->file_count, &m->want_table, m->want_count, true,
                                 out);
    }
    lks_key_table_t table;
    size_t repeated;
    LKS_TRY(lks_key_table_init(&table, match->names, m->file_count, &repeated));
    lks_status_t status =
        lks_prefixes_find(match->want, m->want_count, &table, m->file_count, false, out);
    lks_key_table_fini(&table);
    return status;
}

/* The rule, with each prefix that suits it. */
static lks_status_t try_prefixes(matcher_t *m, lks_key_rule_t rule, lks_prefix_op_t op)
{
    rename_file(m, &rule);
    lks_prefixes_t prefixes;
    LKS_TRY(find_prefixes(m, op, &prefixes));
    rule.op = op;
    const lks_name_t candidates[] = {prefixes.shared, prefixes.sole};
    for (size_t i = 0; i < 2 && m->best_count < m->want_count; i++) {
        if (candidates[i].length > 0) {
            rule.prefix = candidates[i];
            LKS_TRY(try_rule(m, &rule));
        }
    }
    return LKS_OK;
}

/* In the order of state_dict.h, until one finds everything. */
static lks_status_t try_rules(matcher_t *m)
{
    for (int op = LKS_PREFIX_KEEP; op <= LKS_PREFIX_ADD; op++) {
        for (int wrappers = 0; wrappers < 2 && m->match->base[wrappers]; wrappers++) {
            for (size_t modules = 0; modules <= m->modules[wrappers]; modules++) {
                lks_key_rule_t rule = {.wrappers = wrappers, .modules = modules};
                LKS_TRY(op == LKS_PREFIX_KEEP ? try_rule(m, &rule)
                                              : try_prefixes(m, rule, (lks_prefix_op_t)op));
                if (m->best_count == m->want_count) {
                    return LKS_OK;
                }
            }
        }
    }
    return LKS_OK;
}

static lks_status_t match_keys(matcher_t *m)
{
    LKS_TRY(try_rules(m));
    rename_file(m, &m->match->rule);
    for (size_t i = 0; i < m->want_count; i++) {
        (void)rename_wanted(&m->match->rule, &m->match->want[i]);
    }
    return LKS_OK;
}

lks_status_t lks_key_match_init(lks_key_match_t *match, const lks_key_spec_t *want, size_t count,
                                const lks_state_dict_t *file)
{
    *match = (lks_key_match_t){0};
    lks_status_t status = match_init(match, want, count, file);
    if (status == LKS_OK) {
        matcher_t m;
        status = matcher_init(&m, match, want, count, lks_state_dict_count(file));
        if (status == LKS_OK) {
            status = match_keys(&m);
        }
        matcher_fini(&m);
    }
    if (status != LKS_OK) {
        lks_key_match_fini(match);
    }
    return status;
}

void lks_key_match_fini(lks_key_match_t *match)
{
    free(match->found);
    free(match->want);
    free(match->names);
    free(match->base[0]);
    free(match->base[1]);
    free(match->bare_text);
    *match = (lks_key_match_t){0};
}
