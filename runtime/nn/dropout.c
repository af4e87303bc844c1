/* SPDX-License-Identifier: Apache-2.0 */
/* dropout.c - zeroes random elements. The mask is a function of (seed, step, layer, sample, element), so
 * nothing is stored: backward computes it once more. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"

#include <math.h>

typedef struct dropout {
    lks_module_t base;
    double p;
    lks_dropout_args_t args; /* of the last forward in training mode */
} dropout_t;

lks_status_t lks_dropout_create(double p, lks_module_t **out)
{
    if (!(p >= 0 && p <= 1)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "Dropout: the probability is %g; it must be in [0, 1]",
                        p);
    }
    lks_module_t *module;
    LKS_TRY(lks_module_create(&lks_dropout_ops, sizeof(dropout_t), &module));
    ((dropout_t *)module)->p = p;
    *out = module;
    return LKS_OK;
}

static lks_dropout_args_t args_of(const dropout_t *dropout, const lks_exec_position_t *position)
{
    return (lks_dropout_args_t){
        .seed = position->seed,
        .step = (uint32_t)position->step,
        .layer = (uint32_t)dropout->base.layer,
        .sample = (uint32_t)position->first_sample,
        .threshold = (uint32_t)ceil(dropout->p * 0x1p24),
        .scale = dropout->p < 1 ? (float)(1 / (1 - dropout->p)) : 0,
    };
}

typedef struct dropout_job {
    const lks_kernels_t *kernels;
    const lks_dropout_args_t *args;
    size_t rows, cols;
    const float *x;
    float *y;
} dropout_job_t;

static void dropout_part(void *context, size_t index, size_t threads)
{
    const dropout_job_t *job = context;
    lks_part_t part = lks_exec_part(job->rows, 1, index, threads);
    lks_dropout_args_t args = *job->args;
    args.sample += (uint32_t)part.begin;
    size_t at = part.begin * job->cols;
    job->kernels->dropout(part.end - part.begin, job->cols, job->x + at, &args, job->y + at);
}

static lks_status_t apply(const dropout_t *dropout, lks_exec_t *exec, const lks_tensor_t *x,
                          lks_tensor_t *out)
{
    lks_tensor_t y;
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, x->shape, &y));
    dropout_job_t job = {.kernels = lks_exec_kernels(exec),
                         .args = &dropout->args,
                         .rows = (size_t)x->shape[0],
                         .cols = (size_t)x->shape[1],
                         .x = lks_tensor_data(x),
                         .y = lks_tensor_data(&y)};
    /* some 10 operations for each random word */
    lks_exec_run(exec, 10 * (size_t)lks_tensor_numel(x), dropout_part, &job);
    *out = y;
    return LKS_OK;
}

static lks_status_t forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                            bool relu, lks_tensor_t *output)
{
    (void)relu;
    dropout_t *dropout = (dropout_t *)module;
    if (!lks_exec_is_training(exec)) {
        *output = *input;
        return LKS_OK;
    }
    dropout->args = args_of(dropout, lks_exec_position(exec));
    return apply(dropout, exec, input, output);
}

static lks_status_t backward(lks_module_t *module, lks_exec_t *exec,
                             const lks_tensor_t *grad_output, bool input_is_relu,
                             lks_tensor_t *grad_input)
{
    (void)input_is_relu;
    return grad_input ? apply((const dropout_t *)module, exec, grad_output, grad_input) : LKS_OK;
}

const lks_module_ops_t lks_dropout_ops = {
    .kind = "Dropout",
    .forward = forward,
    .backward = backward,
};
