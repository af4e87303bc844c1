/* SPDX-License-Identifier: Apache-2.0 */
/* grad_scaler.h - the loss scale of mixed precision: torch.cuda.amp.GradScaler's defaults, rule and state.
 * Small gradients vanish in float16; those of a loss that was multiplied by `scale` do not. Too large a scale makes
 * some infinite: then the step is skipped and the scale reduced; after many good steps it grows again.
 *     multiply the gradient of the loss by scale -> backward -> multiply the gradients by lks_grad_scaler_inverse
 *     -> update the parameters unless a gradient is infinite or NaN -> lks_grad_scaler_update
 * A replica does all of it (lks_replica_options_t.grad_scaler).
 * Arithmetic as torch has it: the scale is a float32, products and quotients are float64, rounded once. */
#ifndef LOCKSTEP_GRAD_SCALER_H
#define LOCKSTEP_GRAD_SCALER_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stdint.h>

LKS_BEGIN_DECLS

/** The whole state, which torch's state_dict has under the names in brackets. Both factors 1: a scale that is fixed. */
typedef struct lks_grad_scaler {
    float scale;             /**< 65536; ["scale"] */
    double growth_factor;    /**< 2, at least 1; ["growth_factor"] */
    double backoff_factor;   /**< 0.5, above 0 and at most 1; ["backoff_factor"] */
    int64_t growth_interval; /**< 2000, at least 1; ["growth_interval"] */
    int64_t growth_tracker;  /**< good steps since the scale last changed; ["_growth_tracker"] */
} lks_grad_scaler_t;

LKS_API lks_grad_scaler_t lks_grad_scaler_default(void);

/** Errors: INVALID_ARG (a number out of its range, or not finite; the sentence names it). */
LKS_API LKS_NODISCARD lks_status_t lks_grad_scaler_check(const lks_grad_scaler_t *scaler);

/** What scaled gradients are multiplied by. */
LKS_API float lks_grad_scaler_inverse(const lks_grad_scaler_t *scaler);

/** After a step. `found_inf` (a gradient was infinite or NaN, and the step skipped): the scale shrinks by
 *  backoff_factor, though not below 2^-126 (torch's reaches 0, and parameters become NaN). Else, when growth_interval steps in a row were good, it grows by growth_factor, if float32 holds
 *  that. */
LKS_API void lks_grad_scaler_update(lks_grad_scaler_t *scaler, bool found_inf);

LKS_END_DECLS
#endif
