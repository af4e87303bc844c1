/* SPDX-License-Identifier: Apache-2.0 */
/* load_report.h - a load report from inside. */
#ifndef LOCKSTEP_SERIALIZE_LOAD_REPORT_H
#define LOCKSTEP_SERIALIZE_LOAD_REPORT_H

#include "core/strbuf.h"
#include "serialize/match.h"

struct lks_load_report {
    const lks_key_spec_t *want;
    size_t want_count;
    const lks_state_dict_t *found;
    lks_load_entry_t *entries; /* the model's keys, then the unexpected ones */
    size_t count;
    size_t counts[LKS_MATCH_COUNT];
    lks_strbuf_t rule, differences, text;
};

/** The name that an entry is about: the model's, or where it is unexpected, the file's. */
static inline const char *lks_entry_key(const lks_load_report_t *report,
                                        const lks_load_entry_t *entry)
{
    return entry->want != SIZE_MAX ? report->want[entry->want].key
                                   : lks_state_dict_key(report->found, entry->found);
}

/** Sets `suggest` in the missing and the unexpected entries. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_report_suggest(lks_load_report_t *report,
                                              const lks_key_match_t *match);

/** Bytes that a line shows of a name. */
#define LKS_LINE_NAME_BYTES 1024

/** Appends a line "aliases a, b" for every set of keys that name the same elements: storage, offset, dtype,
 *  shape and stride are equal, and there are elements. 16 names at most, then "and N more".
 *  False when memory ran out. */
bool lks_report_write_aliases(lks_strbuf_t *buf, const lks_state_dict_t *dict);

/** Writes the texts from the entries. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_report_write(lks_load_report_t *report, const lks_key_rule_t *rule);

#endif
