/* SPDX-License-Identifier: Apache-2.0 */
/* precision.c - what a job's parameters are stored in and its loss scale: from the settings, and to and from a
 * checkpoint's `grad_scaler`, which is torch.cuda.amp.GradScaler's state_dict. */
#include "runtime/train/job.h"
#include "runtime/train/read.h"

#include <stdlib.h>
#include <string.h>

lks_status_t lks_job_precision(const lks_train_config_t *config, lks_dtype_t *out)
{
    static const lks_dtype_t dtypes[] = {LKS_DTYPE_F32, LKS_DTYPE_BF16, LKS_DTYPE_F16};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(config->precision, lks_dtype_name(dtypes[i])) == 0) {
            *out = dtypes[i];
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_INVALID_ARG,
                    "parameters are stored as float32, bfloat16 or float16, not '%s'",
                    config->precision);
}

/* A number of the job's, which stays. */
static lks_status_t fixed_scale(const char *text, lks_grad_scaler_t *out)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0') {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "the loss scale is 'auto', 'none' or a number, not '%s'", text);
    }
    lks_grad_scaler_t scaler = lks_grad_scaler_default();
    scaler.scale = (float)number;
    scaler.growth_factor = scaler.backoff_factor = 1;
    LKS_TRY(lks_grad_scaler_check(&scaler));
    *out = scaler;
    return LKS_OK;
}

lks_status_t lks_job_scaler(const lks_train_config_t *config, lks_grad_scaler_t *out, bool *scales)
{
    const char *text = config->loss_scale;
    bool automatic = strcmp(text, "auto") == 0, none = strcmp(text, "none") == 0;
    lks_dtype_t dtype = LKS_DTYPE_F32;
    LKS_TRY(lks_job_precision(config, &dtype));
    if (!automatic && !none) {
        LKS_TRY(fixed_scale(text, out));
    } else {
        *out = lks_grad_scaler_default();
    }
    *scales = !none && (!automatic || dtype == LKS_DTYPE_F16);
    return LKS_OK;
}

/* --- in a checkpoint ------------------------------------------------------------------------------ */

lks_value_t *lks_scaler_state_save(lks_tree_t *tree, const lks_grad_scaler_t *scaler)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "scale", lks_value_float(tree, (double)scaler->scale));
    lks_value_set_str(tree, dict, "growth_factor", lks_value_float(tree, scaler->growth_factor));
    lks_value_set_str(tree, dict, "backoff_factor", lks_value_float(tree, scaler->backoff_factor));
    lks_value_set_str(tree, dict, "growth_interval", lks_value_int(tree, scaler->growth_interval));
    lks_value_set_str(tree, dict, "_growth_tracker", lks_value_int(tree, scaler->growth_tracker));
    return dict;
}

lks_status_t lks_scaler_state_load(const lks_value_t *state, lks_grad_scaler_t *scaler)
{
    static const char where[] = "grad_scaler";
    lks_grad_scaler_t next;
    double scale = 0;
    LKS_TRY(lks_read_float(state, where, "scale", &scale));
    LKS_TRY(lks_read_float(state, where, "growth_factor", &next.growth_factor));
    LKS_TRY(lks_read_float(state, where, "backoff_factor", &next.backoff_factor));
    LKS_TRY(lks_read_count(state, where, "growth_interval", &next.growth_interval));
    LKS_TRY(lks_read_count(state, where, "_growth_tracker", &next.growth_tracker));
    next.scale = (float)scale;
    if (lks_grad_scaler_check(&next) != LKS_OK) {
        return lks_error_prefix(LKS_ERR_MISMATCH, "the checkpoint's grad_scaler");
    }
    *scaler = next;
    return LKS_OK;
}
