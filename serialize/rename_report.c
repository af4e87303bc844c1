/* SPDX-License-Identifier: Apache-2.0 */
/* rename_report.c - see rename_report.h. */
#include "serialize/rename_report.h"
#include "core/checked.h"
#include "serialize/load_report.h"
#include "serialize/name_text.h"

#include <stdlib.h>

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "reporting changed keys: out of memory");
}

lks_status_t lks_rename_report_create(size_t most, lks_rename_report_t **out)
{
    lks_rename_report_t *report = NULL;
    size_t nbytes;
    if (lks_mul_size(most, sizeof *report->entries, &nbytes) &&
        lks_add_size(nbytes, sizeof *report, &nbytes)) {
        report = calloc(1, nbytes);
    }
    if (!report) {
        return no_memory();
    }
    lks_arena_init(&report->arena, 0, 0);
    *out = report;
    return LKS_OK;
}

void lks_rename_report_destroy(lks_rename_report_t *report)
{
    if (report) {
        lks_arena_fini(&report->arena);
        lks_strbuf_fini(&report->text);
    }
    free(report);
}

lks_status_t lks_rename_report_add(lks_rename_report_t *report, const lks_name_set_t *set,
                                   size_t changed, const lks_name_t *from, const lks_name_t *to)
{
    lks_arena_t *arena = &report->arena;
    lks_rename_entry_t entry = {
        .path = lks_arena_copy_text(arena, set->path, strlen(set->path)),
        .is_optimizer = set->is_optimizer,
        .keys = set->count,
        .changed = changed,
        .from = from ? lks_arena_copy_text(arena, from->text, from->length) : NULL,
        .to = to ? lks_arena_copy_text(arena, to->text, to->length) : NULL,
    };
    if (!entry.path || (from && !entry.from) || (to && !entry.to)) {
        return no_memory();
    }
    report->entries[report->count++] = entry;
    return LKS_OK;
}

/* "'model': renamed 4 of 4 keys (module.fc.0.weight -> fc.0.weight)" */
static void write_entry(lks_strbuf_t *text, const lks_rename_entry_t *entry)
{
    lks_strbuf_append_str(text, "'");
    lks_name_append(text, lks_name(*entry->path ? entry->path : "(root)"), LKS_LINE_NAME_BYTES);
    lks_strbuf_appendf(text, "': %s %zu of %zu %s%s",
                       entry->from && !entry->to ? "dropped" : "renamed", entry->changed,
                       entry->keys, entry->is_optimizer ? "names in the optimizer" : "key",
                       entry->is_optimizer || entry->keys == 1 ? "" : "s");
    if (entry->from) {
        lks_strbuf_append_str(text, " (");
        lks_name_append(text, lks_name(entry->from), LKS_LINE_NAME_BYTES);
        if (entry->to) {
            lks_strbuf_append_str(text, " -> ");
            lks_name_append(text, lks_name(entry->to), LKS_LINE_NAME_BYTES);
        }
        lks_strbuf_append_str(text, ")");
    }
    lks_strbuf_append_str(text, "\n");
}

lks_status_t lks_rename_report_finish(lks_rename_report_t *report)
{
    for (size_t i = 0; i < report->count; i++) {
        write_entry(&report->text, &report->entries[i]);
    }
    return lks_strbuf_ok(&report->text) ? LKS_OK : no_memory();
}

size_t lks_rename_report_count(const lks_rename_report_t *report)
{
    return report->count;
}

const lks_rename_entry_t *lks_rename_report_entry(const lks_rename_report_t *report, size_t index)
{
    return index < report->count ? &report->entries[index] : NULL;
}

size_t lks_rename_report_changed(const lks_rename_report_t *report)
{
    size_t changed = 0;
    for (size_t i = 0; i < report->count; i++) {
        changed += report->entries[i].is_optimizer ? 0 : report->entries[i].changed;
    }
    return changed;
}

const char *lks_rename_report_text(const lks_rename_report_t *report)
{
    return lks_strbuf_text(&report->text);
}
