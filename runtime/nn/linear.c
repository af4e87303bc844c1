/* SPDX-License-Identifier: Apache-2.0 */
/* linear.c - y = x W^T + b. Forward: one product that adds the bias and applies a following ReLU as it stores.
 * Backward: W's gradient dy^T x, b's the column sums of dy, and x's dy W, which also applies the gradient of
 * a ReLU before this layer. */
#include "runtime/kernels/gemm.h"
#include "runtime/nn/module_ops.h"

#include <inttypes.h>
#include <math.h>

enum { WEIGHT, BIAS }; /* slots */

lks_status_t lks_linear_create(int64_t in_features, int64_t out_features, bool bias,
                               lks_module_t **out)
{
    if (in_features < 1 || out_features < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "Linear: %" PRId64 " features in and %" PRId64
                        " out; both must be at least 1",
                        in_features, out_features);
    }
    lks_module_t *module;
    LKS_TRY(lks_module_create(&lks_linear_ops, sizeof *module, &module));
    const int64_t shape[] = {out_features, in_features};
    lks_module_declare(module, "weight", LKS_PARAM_WEIGHT, 2, shape);
    if (bias) {
        lks_module_declare(module, "bias", LKS_PARAM_WEIGHT, 1, shape);
    }
    *out = module;
    return LKS_OK;
}

static int64_t in_features(const lks_module_t *module)
{
    return module->slots[WEIGHT].shape[1];
}

static int64_t out_features(const lks_module_t *module)
{
    return module->slots[WEIGHT].shape[0];
}

static bool has_bias(const lks_module_t *module)
{
    return module->slot_count > BIAS;
}

/* PyTorch's kaiming_uniform_(a = sqrt(5)) is the same bound as its bias has: 1 / sqrt(in_features). */
static void init(lks_module_t *module, lks_rng_t *rng)
{
    float bound = (float)(1 / sqrt((double)in_features(module)));
    for (size_t s = 0; s < module->slot_count; s++) {
        const lks_slot_t *slot = &module->slots[s];
        int64_t numel = slot->shape[0] * (s == WEIGHT ? slot->shape[1] : 1);
        for (int64_t i = 0; i < numel; i++) {
            slot->value[i] = (2 * lks_uniform_f32(lks_rng_u32(rng)) - 1) * bound;
        }
    }
}

static lks_status_t forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                            bool relu, lks_tensor_t *output)
{
    if (input->shape[1] != in_features(module)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "Linear: the input has %" PRId64 " features, wanted %" PRId64,
                        input->shape[1], in_features(module));
    }
    const int64_t shape[] = {input->shape[0], out_features(module)};
    lks_tensor_t y;
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, shape, &y));
    size_t m = (size_t)shape[0], n = (size_t)shape[1], k = (size_t)input->shape[1];
    lks_gemm_t product = {
        .m = m,
        .n = n,
        .k = k,
        .a = {lks_tensor_data(input), k, 1},
        .b = {module->slots[WEIGHT].value, 1, k},
        .out = {.c = lks_tensor_data(&y),
                .c_row = n,
                .bias = has_bias(module) ? module->slots[BIAS].value : NULL,
                .relu = relu},
    };
    LKS_TRY(lks_gemm(exec, &product));
    if (lks_exec_is_training(exec)) {
        module->input = *input;
    }
    *output = y;
    return LKS_OK;
}

typedef struct bias_grad {
    const lks_kernels_t *kernels;
    size_t rows, cols;
    const float *dy;
    float *grad;
} bias_grad_t;

static void sum_part(void *context, size_t index, size_t threads)
{
    const bias_grad_t *job = context;
    lks_part_t part = lks_exec_part(job->cols, 4 * job->kernels->lanes, index, threads);
    job->kernels->column_sums(job->rows, part.end - part.begin, job->dy + part.begin, job->cols,
                              job->grad + part.begin);
}

static lks_status_t weight_grads(lks_module_t *module, lks_exec_t *exec, const float *dy)
{
    size_t batch = (size_t)module->input.shape[0];
    size_t in = (size_t)in_features(module), out = (size_t)out_features(module);
    lks_gemm_t product = {
        .m = out,
        .n = in,
        .k = batch,
        .a = {dy, 1, out},
        .b = {lks_tensor_data(&module->input), in, 1},
        .out = {.c = module->slots[WEIGHT].grad, .c_row = in},
    };
    LKS_TRY(lks_gemm(exec, &product));
    if (has_bias(module)) {
        bias_grad_t job = {.kernels = lks_exec_kernels(exec),
                           .rows = batch,
                           .cols = out,
                           .dy = dy,
                           .grad = module->slots[BIAS].grad};
        lks_exec_run(exec, batch * out * sizeof *dy, sum_part, &job);
    }
    return LKS_OK;
}

static lks_status_t backward(lks_module_t *module, lks_exec_t *exec,
                             const lks_tensor_t *grad_output, bool input_is_relu,
                             lks_tensor_t *grad_input)
{
    const float *dy = lks_tensor_data(grad_output);
    LKS_TRY(weight_grads(module, exec, dy));
    if (!grad_input) {
        return LKS_OK;
    }
    const lks_tensor_t *x = &module->input;
    lks_tensor_t dx;
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, x->shape, &dx));
    size_t in = (size_t)in_features(module), out = (size_t)out_features(module);
    lks_gemm_t product = {
        .m = (size_t)x->shape[0],
        .n = in,
        .k = out,
        .a = {dy, out, 1},
        .b = {module->slots[WEIGHT].value, in, 1},
        .out = {.c = lks_tensor_data(&dx),
                .c_row = in,
                .mask = input_is_relu ? lks_tensor_data(x) : NULL},
    };
    LKS_TRY(lks_gemm(exec, &product));
    *grad_input = dx;
    return LKS_OK;
}

const lks_module_ops_t lks_linear_ops = {
    .kind = "Linear",
    .in_features = in_features,
    .out_features = out_features,
    .init = init,
    .fuses_relu = true,
    .forward = forward,
    .backward = backward,
};
