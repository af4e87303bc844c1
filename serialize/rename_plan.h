/* SPDX-License-Identifier: Apache-2.0 */
/* rename_plan.h - changes to the names in a tree, worked out first and then made at once: making them cannot
 * fail. */
#ifndef LOCKSTEP_SERIALIZE_RENAME_PLAN_H
#define LOCKSTEP_SERIALIZE_RENAME_PLAN_H

#include "serialize/name_sets.h"
#include "serialize/rename_report.h"

typedef struct lks_edit {
    lks_value_t *target; /* a dict or list of the tree */
    lks_value_t *with;   /* what it will hold */
    struct lks_edit *next;
} lks_edit_t;

typedef struct lks_rename_plan {
    lks_tree_t *tree;
    lks_arena_t arena; /* what the plan needs; new values are in the tree */
    lks_name_sets_t sets;
    lks_edit_t *edits;
    lks_rename_report_t *report;
} lks_rename_plan_t;

/** An empty plan for the names that lks_name_sets_collect finds. Fini it also after errors.
 *  Errors: INVALID_ARG (the tree failed or has no root), those of lks_name_sets_collect. */
LKS_NODISCARD lks_status_t lks_rename_plan_init(lks_rename_plan_t *plan, lks_tree_t *tree,
                                                const char *path, bool optimizers);
void lks_rename_plan_fini(lks_rename_plan_t *plan);

/** An array of the plan, zeroed. NULL when memory ran out. */
void *lks_rename_plan_array(lks_rename_plan_t *plan, size_t count, size_t size);

/** `target` will hold what `with` holds; `with` NULL: as it is. Errors: NO_MEMORY, that of the tree. */
LKS_NODISCARD lks_status_t lks_rename_plan_edit(lks_rename_plan_t *plan, lks_value_t *target,
                                                lks_value_t *with);

/** Makes the changes and hands the report out (`report` may be NULL). Errors: NO_MEMORY, before any change. */
LKS_NODISCARD lks_status_t lks_rename_plan_commit(lks_rename_plan_t *plan,
                                                  lks_rename_report_t **report);

lks_status_t lks_rename_no_memory(void);

#endif
