/* SPDX-License-Identifier: Apache-2.0 */
/* report_text.c - a load report in words: the rule, one sentence of what differs, and all of it in lines. */
#include "serialize/load_report.h"
#include "serialize/name_text.h"

#define SENTENCE_NAMES 4       /* per kind of difference */
#define SENTENCE_NAME_BYTES 80 /* of one name; a message has LKS_ERROR_MESSAGE_MAX */

/* --- the rule ----------------------------------------------------------------------------------- */

static const char *separator(const lks_strbuf_t *buf)
{
    return buf->length > 0 ? ", " : "";
}

static void write_rule(lks_strbuf_t *buf, const lks_key_rule_t *rule)
{
    if (rule->wrappers) {
        lks_strbuf_append_str(buf, "strip wrappers");
    }
    if (rule->modules > 0) {
        lks_strbuf_appendf(buf, "%sstrip module.", separator(buf));
    }
    if (rule->modules > 1) {
        lks_strbuf_appendf(buf, " x%zu", rule->modules);
    }
    if (rule->op != LKS_PREFIX_KEEP) {
        lks_strbuf_appendf(buf, "%s%s prefix \"", separator(buf),
                           rule->op == LKS_PREFIX_STRIP ? "strip" : "add");
        lks_name_append(buf, rule->prefix, LKS_LINE_NAME_BYTES);
        lks_strbuf_append_str(buf, "\"");
    }
    if (buf->length == 0) {
        lks_strbuf_append_str(buf, "exact");
    }
}

/* --- one entry ---------------------------------------------------------------------------------- */

/* "fc.0.weight: file (8, 4), model (16, 4)" */
static void write_entry(lks_strbuf_t *buf, const lks_load_report_t *report,
                        const lks_load_entry_t *entry, size_t most)
{
    lks_name_append(buf, lks_name(lks_entry_key(report, entry)), most);
    if (entry->suggest) {
        lks_strbuf_append_str(buf, "; did you mean ");
        lks_name_append(buf, lks_name(entry->suggest), most);
        lks_strbuf_append_str(buf, "?");
    }
    if (entry->want == SIZE_MAX || entry->found == SIZE_MAX) {
        return;
    }
    const lks_key_spec_t *want = &report->want[entry->want];
    const lks_value_tensor_t *tensor =
        lks_value_tensor(lks_state_dict_value(report->found, entry->found));
    if (entry->match == LKS_MATCH_SHAPE) {
        char found_text[96], want_text[96];
        lks_strbuf_appendf(
            buf, ": file %s, model %s",
            lks_shape_format(found_text, sizeof found_text, tensor->ndim, tensor->shape),
            lks_shape_format(want_text, sizeof want_text, want->ndim, want->shape));
    } else {
        lks_strbuf_appendf(buf, ": file %s, model %s", lks_dtype_name(tensor->dtype),
                           lks_dtype_name(want->dtype));
    }
}

/* --- the sentence ------------------------------------------------------------------------------- */

static const struct {
    lks_match_t match;
    const char *words;
} differences[] = {
    {LKS_MATCH_MISSING, "missing"},
    {LKS_MATCH_UNEXPECTED, "unexpected"},
    {LKS_MATCH_SHAPE, "of another shape"},
    {LKS_MATCH_COMPLEX, "of a dtype that is not converted"},
};

/* "2 missing (fc.2.weight, fc.2.bias)" */
static void write_difference(lks_strbuf_t *buf, const lks_load_report_t *report, lks_match_t match,
                             const char *words)
{
    size_t count = report->counts[match], listed = 0;
    lks_strbuf_appendf(buf, "%s%zu %s (", separator(buf), count, words);
    for (size_t i = 0; i < report->count && listed < SENTENCE_NAMES && listed < count; i++) {
        if (report->entries[i].match == match) {
            lks_strbuf_append_str(buf, listed++ > 0 ? ", " : "");
            write_entry(buf, report, &report->entries[i], SENTENCE_NAME_BYTES);
        }
    }
    if (listed < count) {
        lks_strbuf_appendf(buf, " and %zu more", count - listed);
    }
    lks_strbuf_append_str(buf, ")");
}

static void write_differences(lks_strbuf_t *buf, const lks_load_report_t *report)
{
    for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++) {
        if (report->counts[differences[i].match] > 0) {
            write_difference(buf, report, differences[i].match, differences[i].words);
        }
    }
}

/* --- the lines ---------------------------------------------------------------------------------- */

static void write_summary(lks_strbuf_t *buf, const lks_load_report_t *report)
{
    const size_t *counts = report->counts;
    size_t count = lks_state_dict_count(report->found);
    size_t fit = counts[LKS_MATCH_EXACT] + counts[LKS_MATCH_RENAMED] + counts[LKS_MATCH_DTYPE];
    lks_strbuf_append_str(buf, "state dict");
    if (*lks_state_dict_path(report->found)) {
        lks_strbuf_append_str(buf, " '");
        lks_name_append(buf, lks_name(lks_state_dict_path(report->found)), LKS_LINE_NAME_BYTES);
        lks_strbuf_append_str(buf, "'");
    }
    lks_strbuf_appendf(buf, " (%zu tensor%s): %zu of the model's %zu keys fit, rule: %s\n", count,
                       count == 1 ? "" : "s", fit, report->want_count,
                       lks_strbuf_text(&report->rule));
}

/* "renamed 4 keys: strip module. (module.fc.0.weight -> fc.0.weight)"; those that do not fit count too. */
static void write_renamed(lks_strbuf_t *buf, const lks_load_report_t *report)
{
    size_t count = 0;
    const char *from = NULL, *to = NULL;
    for (size_t i = 0; i < report->want_count; i++) {
        const lks_load_entry_t *entry = &report->entries[i];
        if (entry->found == SIZE_MAX) {
            continue;
        }
        const char *key = lks_state_dict_key(report->found, entry->found);
        if (strcmp(key, report->want[i].key) != 0 && count++ == 0) {
            from = key;
            to = report->want[i].key;
        }
    }
    if (count > 0) {
        lks_strbuf_appendf(buf, "renamed %zu key%s: %s (", count, count == 1 ? "" : "s",
                           lks_strbuf_text(&report->rule));
        lks_name_append(buf, lks_name(from), LKS_LINE_NAME_BYTES);
        lks_strbuf_append_str(buf, " -> ");
        lks_name_append(buf, lks_name(to), LKS_LINE_NAME_BYTES);
        lks_strbuf_append_str(buf, ")\n");
    }
}

static void write_lines(lks_strbuf_t *buf, const lks_load_report_t *report, lks_match_t match,
                        const char *behind)
{
    for (size_t i = 0; i < report->count && report->counts[match] > 0; i++) {
        if (report->entries[i].match == match) {
            lks_strbuf_appendf(buf, "%s ", lks_match_name(match));
            write_entry(buf, report, &report->entries[i], LKS_LINE_NAME_BYTES);
            lks_strbuf_appendf(buf, "%s\n", behind);
        }
    }
}

lks_status_t lks_report_write(lks_load_report_t *report, const lks_key_rule_t *rule)
{
    lks_strbuf_t *text = &report->text;
    write_rule(&report->rule, rule);
    write_differences(&report->differences, report);
    write_summary(text, report);
    write_renamed(text, report);
    write_lines(text, report, LKS_MATCH_MISSING, "");
    write_lines(text, report, LKS_MATCH_UNEXPECTED, "");
    write_lines(text, report, LKS_MATCH_SHAPE, "");
    write_lines(text, report, LKS_MATCH_COMPLEX, ", no conversion");
    write_lines(text, report, LKS_MATCH_DTYPE, ", converted");
    if (!lks_report_write_aliases(text, report->found) || !lks_strbuf_ok(&report->rule) ||
        !lks_strbuf_ok(&report->differences) || !lks_strbuf_ok(text)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing a load report of %zu keys: out of memory",
                        report->count);
    }
    return LKS_OK;
}
