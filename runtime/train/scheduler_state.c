/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler_state.c - a learning-rate scheduler to and from torch's state_dict(): the instance's attributes, the
 * class's own first, then what all of them have. MultiStepLR keeps its milestones in a collections.Counter. */
#include "runtime/train/job.h"
#include "runtime/train/read.h"

#include <stdlib.h>

static lks_value_t *counter(lks_tree_t *tree, const lks_lr_scheduler_t *scheduler)
{
    lks_value_t *counts = lks_value_dict(tree);
    for (size_t i = 0; i < scheduler->milestone_count; i++) {
        int64_t epoch = scheduler->milestones[i], count = 0;
        lks_value_t *before = lks_value_find_int(counts, epoch);
        if (before && lks_value_get_int(before, &count) != LKS_OK) {
            return NULL;
        }
        lks_value_set_int(tree, counts, epoch, lks_value_int(tree, count + 1));
    }
    lks_value_t *arguments = lks_value_tuple(tree);
    lks_value_append(tree, arguments, counts);
    return lks_value_object(tree, LKS_OBJECT_REDUCE,
                            lks_value_global(tree, "collections", "Counter"), arguments);
}

static lks_value_t *one_float(lks_tree_t *tree, double value)
{
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, lks_value_float(tree, value));
    return list;
}

lks_value_t *lks_scheduler_state_save(lks_tree_t *tree, const lks_lr_scheduler_t *scheduler)
{
    if (scheduler->kind == LKS_LR_CONSTANT) {
        return lks_value_none(tree);
    }
    lks_value_t *dict = lks_value_dict(tree);
    if (scheduler->kind == LKS_LR_STEP) {
        lks_value_set_str(tree, dict, "step_size", lks_value_int(tree, scheduler->step_size));
        lks_value_set_str(tree, dict, "gamma", lks_value_float(tree, scheduler->gamma));
    } else if (scheduler->kind == LKS_LR_MULTI_STEP) {
        lks_value_set_str(tree, dict, "milestones", counter(tree, scheduler));
        lks_value_set_str(tree, dict, "gamma", lks_value_float(tree, scheduler->gamma));
    } else {
        lks_value_set_str(tree, dict, "T_max", lks_value_int(tree, scheduler->t_max));
        lks_value_set_str(tree, dict, "eta_min", lks_value_float(tree, scheduler->eta_min));
    }
    lks_value_set_str(tree, dict, "base_lrs", one_float(tree, scheduler->base_lr));
    lks_value_set_str(tree, dict, "last_epoch", lks_value_int(tree, scheduler->last_epoch));
    lks_value_set_str(tree, dict, "verbose", lks_value_bool(tree, false));
    lks_value_set_str(tree, dict, "_step_count", lks_value_int(tree, scheduler->last_epoch + 1));
    lks_value_set_str(tree, dict, "_get_lr_called_within_step", lks_value_bool(tree, false));
    lks_value_set_str(tree, dict, "_last_lr", one_float(tree, scheduler->last_lr));
    return dict;
}

/* --- loading ------------------------------------------------------------------------------------- */

static const char where[] = "lr_scheduler";

static int by_epoch(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Counter({30: 1, 80: 1}), an object whose only argument is the dict, to an ascending list. */
static lks_status_t read_milestones(const lks_value_t *state, lks_lr_scheduler_t *next)
{
    const lks_value_t *value = NULL;
    LKS_TRY(lks_read_value(state, where, "milestones", &value));
    const lks_value_t *counts = lks_value_kind(value) == LKS_VALUE_OBJECT
                                    ? lks_value_at(lks_value_object_arguments(value), 0)
                                    : value;
    next->milestone_count = 0;
    for (size_t i = 0; counts && i < lks_value_count(counts); i++) {
        int64_t epoch, count;
        if (lks_value_get_int(lks_value_key_at(counts, i), &epoch) != LKS_OK ||
            lks_value_get_int(lks_value_at(counts, i), &count) != LKS_OK) {
            return lks_error_prefix(LKS_ERR_MISMATCH, "lr_scheduler['milestones']");
        }
        while (count-- > 0) {
            if (next->milestone_count == LKS_LR_MAX_MILESTONES) {
                return lks_fail(LKS_ERR_UNSUPPORTED, "the lr_scheduler has more than %d milestones",
                                LKS_LR_MAX_MILESTONES);
            }
            next->milestones[next->milestone_count++] = epoch;
        }
    }
    qsort(next->milestones, next->milestone_count, sizeof *next->milestones, by_epoch);
    return LKS_OK;
}

/* The file's own shape parameters win over the job's, as load_state_dict has it. */
static lks_status_t read_shape(const lks_value_t *state, lks_lr_scheduler_t *next)
{
    switch (next->kind) {
    case LKS_LR_STEP:
        LKS_TRY(lks_read_count(state, where, "step_size", &next->step_size));
        return lks_read_first_float(state, where, "gamma", &next->gamma);
    case LKS_LR_MULTI_STEP:
        LKS_TRY(lks_read_first_float(state, where, "gamma", &next->gamma));
        return read_milestones(state, next);
    case LKS_LR_COSINE:
        LKS_TRY(lks_read_count(state, where, "T_max", &next->t_max));
        return lks_read_first_float(state, where, "eta_min", &next->eta_min);
    default: return LKS_OK;
    }
}

lks_status_t lks_scheduler_state_load(const lks_value_t *state, lks_lr_scheduler_t *scheduler)
{
    bool absent = !state || lks_value_kind(state) == LKS_VALUE_NONE;
    if (scheduler->kind == LKS_LR_CONSTANT || absent) {
        if (scheduler->kind == LKS_LR_CONSTANT && absent) {
            return LKS_OK;
        }
        return lks_fail(LKS_ERR_MISMATCH, "the checkpoint %s a scheduler state, the job has %s",
                        absent ? "lacks" : "has",
                        absent ? lks_lr_kind_name(scheduler->kind) : "no scheduler");
    }
    lks_lr_scheduler_t next = *scheduler;
    LKS_TRY(read_shape(state, &next));
    LKS_TRY(lks_read_first_float(state, where, "base_lrs", &next.base_lr));
    LKS_TRY(lks_read_count(state, where, "last_epoch", &next.last_epoch));
    LKS_TRY(lks_read_first_float(state, where, "_last_lr", &next.last_lr));
    if (lks_lr_scheduler_check(&next) != LKS_OK) {
        return lks_error_prefix(LKS_ERR_MISMATCH, "the checkpoint's lr_scheduler");
    }
    *scheduler = next;
    return LKS_OK;
}
