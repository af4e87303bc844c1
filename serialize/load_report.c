/* SPDX-License-Identifier: Apache-2.0 */
/* load_report.c - what became of every key, once the rule is known. */
#include "serialize/load_report.h"
#include "core/checked.h"

#include <stdlib.h>

#define MATCH_NAME(id, name) [id] = name,
static const char *const match_names[] = {LKS_MATCH_LIST(MATCH_NAME)};
#undef MATCH_NAME

const char *lks_match_name(lks_match_t match)
{
    return (unsigned)match < LKS_MATCH_COUNT ? match_names[match] : "unknown match";
}

/* Of two that found each other. */
static lks_match_t compare(const lks_key_spec_t *want, const char *key, const lks_value_t *value)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    bool same_shape = tensor->ndim == want->ndim;
    for (int i = 0; i < want->ndim && same_shape; i++) {
        same_shape = tensor->shape[i] == want->shape[i];
    }
    if (!same_shape) {
        return LKS_MATCH_SHAPE;
    }
    if (tensor->is_conj || tensor->is_neg) {
        return LKS_MATCH_COMPLEX; /* the stored elements are not the tensor's */
    }
    if (tensor->dtype != want->dtype) {
        bool real =
            lks_dtype_is_convertible(tensor->dtype) && lks_dtype_is_convertible(want->dtype);
        return real ? LKS_MATCH_DTYPE : LKS_MATCH_COMPLEX;
    }
    return strcmp(want->key, key) == 0 ? LKS_MATCH_EXACT : LKS_MATCH_RENAMED;
}

static void add_entry(lks_load_report_t *report, lks_match_t match, size_t want, size_t found)
{
    report->entries[report->count++] =
        (lks_load_entry_t){.match = match, .want = want, .found = found};
    report->counts[match]++;
}

static void add_wanted(lks_load_report_t *report, const size_t *found, bool *used)
{
    for (size_t i = 0; i < report->want_count; i++) {
        lks_match_t match = LKS_MATCH_MISSING;
        if (found[i] != SIZE_MAX) {
            used[found[i]] = true;
            match = compare(&report->want[i], lks_state_dict_key(report->found, found[i]),
                            lks_state_dict_value(report->found, found[i]));
        }
        add_entry(report, match, i, found[i]);
    }
}

static lks_status_t add_entries(lks_load_report_t *report, const size_t *found)
{
    size_t file_count = lks_state_dict_count(report->found), capacity;
    if (!lks_add_size(report->want_count, file_count, &capacity)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "too many keys for a load report");
    }
    bool *used = calloc(file_count, sizeof *used);
    report->entries = calloc(capacity, sizeof *report->entries);
    if (!used || !report->entries) {
        free(used);
        return lks_fail(LKS_ERR_NO_MEMORY, "a load report of %zu keys: out of memory", capacity);
    }
    add_wanted(report, found, used);
    for (size_t i = 0; i < file_count; i++) {
        if (!used[i]) {
            add_entry(report, LKS_MATCH_UNEXPECTED, SIZE_MAX, i);
        }
    }
    free(used);
    return LKS_OK;
}

static lks_status_t fill(lks_load_report_t *report, const lks_key_match_t *match)
{
    LKS_TRY(add_entries(report, match->found));
    LKS_TRY(lks_report_suggest(report, match));
    return lks_report_write(report, &match->rule);
}

lks_status_t lks_load_report_create(const lks_key_spec_t *want, size_t count,
                                    const lks_state_dict_t *found, lks_load_report_t **out)
{
    lks_key_match_t match;
    LKS_TRY(lks_key_match_init(&match, want, count, found));
    lks_load_report_t *report = calloc(1, sizeof *report);
    lks_status_t status = LKS_OK;
    if (!report) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "a load report: out of memory");
    } else {
        *report = (lks_load_report_t){.want = want, .want_count = count, .found = found};
        status = fill(report, &match);
    }
    lks_key_match_fini(&match);
    if (status != LKS_OK) {
        lks_load_report_destroy(report);
        return status;
    }
    *out = report;
    return LKS_OK;
}

void lks_load_report_destroy(lks_load_report_t *report)
{
    if (report) {
        free(report->entries);
        lks_strbuf_fini(&report->rule);
        lks_strbuf_fini(&report->differences);
        lks_strbuf_fini(&report->text);
        free(report);
    }
}

const char *lks_load_report_rule(const lks_load_report_t *report)
{
    return lks_strbuf_text(&report->rule);
}

size_t lks_load_report_count(const lks_load_report_t *report)
{
    return report->count;
}

const lks_load_entry_t *lks_load_report_entry(const lks_load_report_t *report, size_t index)
{
    return index < report->count ? &report->entries[index] : NULL;
}

size_t lks_load_report_count_of(const lks_load_report_t *report, lks_match_t match)
{
    return (unsigned)match < LKS_MATCH_COUNT ? report->counts[match] : 0;
}

bool lks_load_report_is_complete(const lks_load_report_t *report)
{
    const size_t *counts = report->counts;
    return counts[LKS_MATCH_EXACT] + counts[LKS_MATCH_RENAMED] + counts[LKS_MATCH_DTYPE] ==
           report->count;
}

lks_status_t lks_load_report_require(const lks_load_report_t *report, const char *file)
{
    if (lks_load_report_is_complete(report)) {
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_MISMATCH, "'%s' does not fit the model: %s", file,
                    lks_strbuf_text(&report->differences));
}

const char *lks_load_report_text(const lks_load_report_t *report)
{
    return lks_strbuf_text(&report->text);
}
