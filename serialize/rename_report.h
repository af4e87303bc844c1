/* SPDX-License-Identifier: Apache-2.0 */
/* rename_report.h - filling the report of rename.h. */
#ifndef LOCKSTEP_SERIALIZE_RENAME_REPORT_H
#define LOCKSTEP_SERIALIZE_RENAME_REPORT_H

#include "core/arena.h"
#include "core/strbuf.h"
#include "serialize/name_sets.h"

#include <lockstep/rename.h>

struct lks_rename_report {
    lks_arena_t arena; /* the entries' texts */
    lks_strbuf_t text;
    size_t count;
    lks_rename_entry_t entries[];
};

/** Room for `most` entries. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_rename_report_create(size_t most, lks_rename_report_t **out);

/** Notes that `changed` names of the set changed, the first of them `from` to `to` (NULL: it was dropped).
 *  Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_rename_report_add(lks_rename_report_t *report,
                                                 const lks_name_set_t *set, size_t changed,
                                                 const lks_name_t *from, const lks_name_t *to);

/** Writes the text. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_rename_report_finish(lks_rename_report_t *report);

#endif
