/* SPDX-License-Identifier: Apache-2.0 */
/* adam.c - Adam and AdamW, as torch.optim has them; they differ in where weight decay goes. */
#include "runtime/optim/optim_kind.h"

#include <float.h>
#include <math.h>

static lks_status_t check_beta(const char *owner, int index, double beta)
{
    if (!(beta >= 0 && beta < 1)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%s: betas[%d] is %g; it must be at least 0 and below 1", owner, index,
                        beta);
    }
    return LKS_OK;
}

static lks_status_t check(const lks_optim_config_t *config)
{
    const char *owner = lks_optim_kind_name(config->kind);
    LKS_TRY(lks_optim_check_not_negative(owner, "lr", config->lr));
    LKS_TRY(lks_optim_check_not_negative(owner, "weight_decay", config->weight_decay));
    LKS_TRY(check_beta(owner, 0, config->beta1));
    LKS_TRY(check_beta(owner, 1, config->beta2));
    return lks_optim_check_not_negative(owner, "eps", config->eps);
}

static size_t state_count(const lks_optim_config_t *config)
{
    return config->amsgrad ? 3 : 2;
}

static void prepare(const lks_optim_config_t *config, int64_t step, bool first,
                    lks_optim_update_t *update)
{
    (void)first; /* the averages start at 0, which the bias corrections make up for */
    /* FLT_MIN in place of an eps of 0 is lost beside the root of any float32 square, and keeps
     * elements whose gradients were all 0, as the padding's are, from becoming 0 / 0. */
    bool decoupled = config->kind == LKS_OPTIM_ADAMW;
    double bias1 = 1 - pow(config->beta1, (double)step);
    double bias2 = 1 - pow(config->beta2, (double)step);
    update->args.adam = (lks_adam_args_t){
        .beta1 = (float)config->beta1,
        .beta2 = (float)config->beta2,
        .eps = fmaxf((float)config->eps, FLT_MIN),
        .one_minus_beta1 = (float)(1 - config->beta1),
        .one_minus_beta2 = (float)(1 - config->beta2),
        .step_size = (float)(config->lr / bias1),
        .inv_sqrt_bias2 = (float)(1 / sqrt(bias2)),
        .weight_decay = decoupled ? 0 : (float)config->weight_decay,
        .decay = decoupled ? (float)(1 - config->lr * config->weight_decay) : 1,
        .maximize = config->maximize,
    };
}

static void run(const lks_kernels_t *kernels, const lks_optim_update_t *update, size_t begin,
                size_t end)
{
    float *max_square = update->state[2];
    kernels->adam(update->value + begin, update->grad + begin, update->state[0] + begin,
                  update->state[1] + begin, max_square ? max_square + begin : NULL, end - begin,
                  &update->args.adam);
}

#define ADAM_STATE_NAMES                                                                           \
    {                                                                                              \
        "exp_avg", "exp_avg_sq", "max_exp_avg_sq"                                                  \
    }

const lks_optim_kind_ops_t lks_optim_adam = {
    .name = "Adam",
    .defaults = {.kind = LKS_OPTIM_ADAM, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
    .state_names = ADAM_STATE_NAMES,
    .check = check,
    .state_count = state_count,
    .prepare = prepare,
    .run = run,
};

const lks_optim_kind_ops_t lks_optim_adamw = {
    .name = "AdamW",
    .defaults = {.kind = LKS_OPTIM_ADAMW,
                 .lr = 1e-3,
                 .weight_decay = 1e-2,
                 .beta1 = 0.9,
                 .beta2 = 0.999,
                 .eps = 1e-8},
    .state_names = ADAM_STATE_NAMES,
    .check = check,
    .state_count = state_count,
    .prepare = prepare,
    .run = run,
};
