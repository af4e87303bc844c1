/* SPDX-License-Identifier: Apache-2.0 */
/* suggest.c - "did you mean": pairs a missing name with a near one among the unexpected.
 * Near is first a name that is the other one behind some front (a prefix that no rule covers), then one that
 * takes a few edits. Comparing all with all is left out where that would take long; the texts then have
 * thousands of lines anyway. */
#include "serialize/key_table.h"
#include "serialize/load_report.h"

#include <stdlib.h>

#define PAIRS_MAX 65536
#define LENGTH_MAX 256 /* of names that edits are counted in */
#define EDITS_MAX 2

/* Missing or unexpected entries, and their names under the rule. */
typedef struct side {
    lks_load_entry_t **entries;
    lks_name_t *names;
    size_t count;
} side_t;

static void side_fini(side_t *side)
{
    free(side->entries);
    free(side->names);
}

static lks_status_t side_init(side_t *side, lks_load_report_t *report, lks_match_t match,
                              const lks_key_match_t *rule)
{
    size_t count = report->counts[match];
    *side = (side_t){
        .entries = calloc(count, sizeof(lks_load_entry_t *)),
        .names = calloc(count, sizeof(lks_name_t)),
    };
    if (!side->entries || !side->names) {
        side_fini(side);
        return lks_fail(LKS_ERR_NO_MEMORY, "looking for %zu near names: out of memory", count);
    }
    for (size_t i = 0; i < report->count; i++) {
        lks_load_entry_t *entry = &report->entries[i];
        if (entry->match == match) {
            side->entries[side->count] = entry;
            side->names[side->count++] =
                match == LKS_MATCH_MISSING ? rule->want[entry->want] : rule->names[entry->found];
        }
    }
    return LKS_OK;
}

static void suggest(const lks_load_report_t *report, lks_load_entry_t *to,
                    const lks_load_entry_t *other)
{
    if (!to->suggest) {
        to->suggest = lks_entry_key(report, other);
    }
}

/* Pairs each of `longer` with the longest of its suffixes that `shorter` has. */
static lks_status_t pair_suffixes(const lks_load_report_t *report, const side_t *longer,
                                  const side_t *shorter)
{
    lks_key_table_t table;
    size_t repeated; /* no matter: the first is as near as the second */
    LKS_TRY(lks_key_table_init(&table, shorter->names, shorter->count, &repeated));
    for (size_t i = 0; i < longer->count; i++) {
        lks_suffix_walk_t walk;
        lks_suffix_walk_init(&walk, &table, longer->names[i]);
        size_t front, index, longest = SIZE_MAX;
        while (lks_suffix_walk_next(&walk, &front, &index)) {
            longest = index;
        }
        if (longest != SIZE_MAX) {
            suggest(report, longer->entries[i], shorter->entries[longest]);
            suggest(report, shorter->entries[longest], longer->entries[i]);
        }
    }
    lks_key_table_fini(&table);
    return LKS_OK;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits that still count as near: two letters swapped, but no more than a quarter of the name. */
static size_t edits_allowed(lks_name_t a, lks_name_t b)
{
    return min_size(min_size(a.length, b.length) / 4, EDITS_MAX);
}

/* Edits (Levenshtein) that make a into b, or `most` + 1 if there are more. Only cells within `most` of the
 * diagonal can matter. Both are LENGTH_MAX bytes at most. */
static size_t count_edits(lks_name_t a, lks_name_t b, size_t most)
{
    size_t too_many = most + 1;
    if (a.length > b.length + most || b.length > a.length + most) {
        return too_many;
    }
    size_t row[LENGTH_MAX + 1]; /* edits from a[0..i) to b[0..j) */
    for (size_t j = 0; j <= b.length; j++) {
        row[j] = min_size(j, too_many);
    }
    for (size_t i = 1; i <= a.length; i++) {
        size_t from = i > most ? i - most : 1;
        size_t to = min_size(i + most, b.length);
        size_t diagonal = row[from - 1], best = too_many;
        row[from - 1] = from == 1 ? min_size(i, too_many) : too_many;
        for (size_t j = from; j <= to; j++) {
            size_t above = i + most == j ? too_many : row[j];
            size_t edits = diagonal + (a.text[i - 1] != b.text[j - 1]);
            edits = min_size(edits, min_size(above, row[j - 1]) + 1);
            diagonal = row[j];
            row[j] = min_size(edits, too_many);
            best = min_size(best, row[j]);
        }
        if (best == too_many && row[from - 1] == too_many) {
            return too_many;
        }
    }
    return row[b.length];
}

/* The entry of `among` that is nearest to the name, the first on a tie; NULL if none is near. */
static const lks_load_entry_t *nearest(lks_name_t name, const side_t *among)
{
    const lks_load_entry_t *found = NULL;
    size_t fewest = SIZE_MAX;
    for (size_t i = 0; i < among->count; i++) {
        lks_name_t other = among->names[i];
        if (name.length > LENGTH_MAX || other.length > LENGTH_MAX) {
            continue;
        }
        size_t allowed = edits_allowed(name, other);
        size_t edits = count_edits(name, other, allowed);
        if (edits <= allowed && edits < fewest) {
            fewest = edits;
            found = among->entries[i];
        }
    }
    return found;
}

static void pair_nearest(const lks_load_report_t *report, const side_t *side, const side_t *among)
{
    for (size_t i = 0; i < side->count; i++) {
        if (!side->entries[i]->suggest) {
            const lks_load_entry_t *near = nearest(side->names[i], among);
            if (near) {
                suggest(report, side->entries[i], near);
            }
        }
    }
}

static lks_status_t pair_sides(const lks_load_report_t *report, const side_t *missing,
                               const side_t *unexpected)
{
    LKS_TRY(pair_suffixes(report, unexpected, missing));
    LKS_TRY(pair_suffixes(report, missing, unexpected));
    if (missing->count <= PAIRS_MAX / unexpected->count) {
        pair_nearest(report, missing, unexpected);
        pair_nearest(report, unexpected, missing);
    }
    return LKS_OK;
}

lks_status_t lks_report_suggest(lks_load_report_t *report, const lks_key_match_t *match)
{
    if (report->counts[LKS_MATCH_MISSING] == 0 || report->counts[LKS_MATCH_UNEXPECTED] == 0) {
        return LKS_OK;
    }
    side_t missing, unexpected;
    LKS_TRY(side_init(&missing, report, LKS_MATCH_MISSING, match));
    lks_status_t status = side_init(&unexpected, report, LKS_MATCH_UNEXPECTED, match);
    if (status == LKS_OK) {
        status = pair_sides(report, &missing, &unexpected);
        side_fini(&unexpected);
    }
    side_fini(&missing);
    return status;
}
