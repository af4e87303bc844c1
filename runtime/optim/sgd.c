/* SPDX-License-Identifier: Apache-2.0 */
/* sgd.c - stochastic gradient descent with momentum, as torch.optim.SGD. */
#include "runtime/optim/optim_kind.h"

#include <math.h>

static lks_status_t check(const lks_optim_config_t *config)
{
    LKS_TRY(lks_optim_check_not_negative("SGD", "lr", config->lr));
    LKS_TRY(lks_optim_check_not_negative("SGD", "momentum", config->momentum));
    LKS_TRY(lks_optim_check_not_negative("SGD", "weight_decay", config->weight_decay));
    if (!isfinite(config->dampening)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "SGD: dampening is %g; it must be finite",
                        config->dampening);
    }
    if (config->nesterov && (config->momentum <= 0 || config->dampening != 0)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "SGD: nesterov needs momentum above 0 and dampening 0, found %g and %g",
                        config->momentum, config->dampening);
    }
    return LKS_OK;
}

static size_t state_count(const lks_optim_config_t *config)
{
    return config->momentum != 0;
}

static void prepare(const lks_optim_config_t *config, int64_t step, bool first,
                    lks_optim_update_t *update)
{
    (void)step;
    update->args.sgd = (lks_sgd_args_t){
        .lr = (float)config->lr,
        .momentum = (float)config->momentum,
        .weight_decay = (float)config->weight_decay,
        .one_minus_dampening = (float)(1 - config->dampening),
        .nesterov = config->nesterov,
        .maximize = config->maximize,
        .first = first,
    };
}

static void run(const lks_kernels_t *kernels, const lks_optim_update_t *update, size_t begin,
                size_t end)
{
    float *buffer = update->state[0];
    kernels->sgd(update->value + begin, update->grad + begin, buffer ? buffer + begin : NULL,
                 end - begin, &update->args.sgd);
}

const lks_optim_kind_ops_t lks_optim_sgd = {
    .name = "SGD",
    .defaults = {.kind = LKS_OPTIM_SGD, .lr = 1e-2},
    .state_names = {"momentum_buffer"},
    .check = check,
    .state_count = state_count,
    .prepare = prepare,
    .run = run,
};
