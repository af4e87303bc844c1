/* SPDX-License-Identifier: Apache-2.0 */
/* rename_plan.c - see rename_plan.h. */
#include "serialize/rename_plan.h"
#include "core/checked.h"
#include "serialize/value_node.h"

#include <stddef.h>

lks_status_t lks_rename_no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "changing the keys of a tree: out of memory");
}

lks_status_t lks_rename_plan_init(lks_rename_plan_t *plan, lks_tree_t *tree, const char *path,
                                  bool optimizers)
{
    *plan = (lks_rename_plan_t){.tree = tree};
    lks_arena_init(&plan->arena, 0, 0);
    if (!lks_tree_ok(tree) || !tree->root) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the tree whose keys are to change %s",
                        tree->root ? "has failed" : "has no root");
    }
    LKS_TRY(lks_name_sets_collect(tree, path, optimizers, &plan->arena, &plan->sets));
    return lks_rename_report_create(plan->sets.count, &plan->report);
}

void lks_rename_plan_fini(lks_rename_plan_t *plan)
{
    lks_rename_report_destroy(plan->report);
    lks_arena_fini(&plan->arena);
}

void *lks_rename_plan_array(lks_rename_plan_t *plan, size_t count, size_t size)
{
    size_t nbytes;
    return lks_mul_size(count, size, &nbytes)
               ? lks_arena_zalloc(&plan->arena, nbytes, _Alignof(max_align_t))
               : NULL;
}

lks_status_t lks_rename_plan_edit(lks_rename_plan_t *plan, lks_value_t *target, lks_value_t *with)
{
    LKS_TRY(lks_tree_status(plan->tree));
    if (!with) {
        return LKS_OK;
    }
    lks_edit_t *edit = lks_rename_plan_array(plan, 1, sizeof *edit);
    if (!edit) {
        return lks_rename_no_memory();
    }
    *edit = (lks_edit_t){.target = target, .with = with, .next = plan->edits};
    plan->edits = edit;
    return LKS_OK;
}

lks_status_t lks_rename_plan_commit(lks_rename_plan_t *plan, lks_rename_report_t **report)
{
    LKS_TRY(lks_rename_report_finish(plan->report));
    for (const lks_edit_t *edit = plan->edits; edit; edit = edit->next) {
        lks_value_take(edit->target, edit->with);
    }
    if (report) {
        *report = plan->report;
        plan->report = NULL;
    }
    return LKS_OK;
}
