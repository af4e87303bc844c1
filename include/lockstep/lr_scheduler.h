/* SPDX-License-Identifier: Apache-2.0 */
/* lr_scheduler.h - learning rates over epochs, by PyTorch's recursive formulas, so that a resumed run continues
 * with the same bits.
 * Sources: torch.optim.lr_scheduler.StepLR, MultiStepLR, CosineAnnealingLR.
 * Threads: plain data, the caller's to order. */
#ifndef LOCKSTEP_LR_SCHEDULER_H
#define LOCKSTEP_LR_SCHEDULER_H

#include <lockstep/status.h>
#include <stddef.h>
#include <stdint.h>

LKS_BEGIN_DECLS

typedef enum {
    LKS_LR_CONSTANT, /**< no scheduler */
    LKS_LR_STEP,
    LKS_LR_MULTI_STEP,
    LKS_LR_COSINE,
    LKS_LR_KIND_COUNT
} lks_lr_kind_t;

#define LKS_LR_MAX_MILESTONES 64

/** A public struct: everything a checkpoint needs is visible. */
typedef struct lks_lr_scheduler {
    lks_lr_kind_t kind;
    int64_t step_size;                         /**< StepLR: epochs */
    double gamma;                              /**< StepLR, MultiStepLR: 0.1 */
    int64_t milestones[LKS_LR_MAX_MILESTONES]; /**< MultiStepLR: epochs, ascending, repeats count */
    size_t milestone_count;
    int64_t t_max;  /**< CosineAnnealingLR: epochs */
    double eta_min; /**< CosineAnnealingLR: 0 */
    double base_lr;
    double last_lr;
    int64_t last_epoch; /**< 0 at the start */
} lks_lr_scheduler_t;

/** From a description: "none", "step:30", "step:30,0.5" (step_size, gamma), "multistep:30,80" or
 *  "multistep:30,80,gamma=0.5", "cosine:50" or "cosine:50,0.001" (T_max, eta_min).
 *  Errors: INVALID_ARG (the sentence says what was expected). */
LKS_API LKS_NODISCARD lks_status_t lks_lr_scheduler_parse(const char *description, double base_lr,
                                                          lks_lr_scheduler_t *out);

/** What parse checks: call it after the fields came from elsewhere, such as a checkpoint, and before a step.
 *  Errors: INVALID_ARG (the sentence names the field). */
LKS_API LKS_NODISCARD lks_status_t lks_lr_scheduler_check(const lks_lr_scheduler_t *scheduler);

/** PyTorch's class name, "StepLR"; "" for LKS_LR_CONSTANT. */
LKS_API const char *lks_lr_kind_name(lks_lr_kind_t kind);

/** Advances one epoch and returns the new rate (which is also in last_lr). */
LKS_API double lks_lr_scheduler_step(lks_lr_scheduler_t *scheduler);

LKS_END_DECLS
#endif
