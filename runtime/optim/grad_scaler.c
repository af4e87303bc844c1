/* SPDX-License-Identifier: Apache-2.0 */
/* grad_scaler.c - the rule of torch.cuda.amp.GradScaler, in numbers alone. */
#include <lockstep/grad_scaler.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>

lks_grad_scaler_t lks_grad_scaler_default(void)
{
    return (lks_grad_scaler_t){
        .scale = 65536, .growth_factor = 2, .backoff_factor = 0.5, .growth_interval = 2000};
}

lks_status_t lks_grad_scaler_check(const lks_grad_scaler_t *scaler)
{
    if (!(scaler->scale > 0) || isinf(scaler->scale)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the loss scale is %g; it must be finite and above 0",
                        (double)scaler->scale);
    }
    if (!(scaler->growth_factor >= 1) || isinf(scaler->growth_factor)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "the loss scale's growth_factor is %g; it must be finite and at least 1",
                        scaler->growth_factor);
    }
    if (!(scaler->backoff_factor > 0 && scaler->backoff_factor <= 1)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "the loss scale's backoff_factor is %g; it must be above 0 and at most 1",
                        scaler->backoff_factor);
    }
    if (scaler->growth_interval < 1 || scaler->growth_tracker < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "the loss scale grows after %" PRId64 " steps, of which %" PRId64
                        " are done; the first must be at least 1, the second at least 0",
                        scaler->growth_interval, scaler->growth_tracker);
    }
    return LKS_OK;
}

float lks_grad_scaler_inverse(const lks_grad_scaler_t *scaler)
{
    return (float)(1 / (double)scaler->scale);
}

void lks_grad_scaler_update(lks_grad_scaler_t *scaler, bool found_inf)
{
    if (found_inf) {
        scaler->scale = fmaxf((float)((double)scaler->scale * scaler->backoff_factor), FLT_MIN);
        scaler->growth_tracker = 0;
        return;
    }
    if (++scaler->growth_tracker < scaler->growth_interval) {
        return;
    }
    float grown = (float)((double)scaler->scale * scaler->growth_factor);
    scaler->scale = isfinite(grown) ? grown : scaler->scale;
    scaler->growth_tracker = 0;
}
