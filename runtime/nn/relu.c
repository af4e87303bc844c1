/* SPDX-License-Identifier: Apache-2.0 */
/* relu.c - y = max(x, 0). Behind a Linear, Sequential has that layer do the work; this is what runs elsewhere.
 * The gradient needs only the output: it is positive where the input was. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"

#define CACHE_LINE_FLOATS 16

typedef struct relu_job {
    const lks_kernels_t *kernels;
    size_t count;
    const float *x, *y, *dy; /* forward: x; backward: y, dy */
    float *out;
} relu_job_t;

lks_status_t lks_relu_create(lks_module_t **out)
{
    return lks_module_create(&lks_relu_ops, sizeof **out, out);
}

static void forward_part(void *context, size_t index, size_t threads)
{
    const relu_job_t *job = context;
    lks_part_t part = lks_exec_part(job->count, CACHE_LINE_FLOATS, index, threads);
    job->kernels->relu(part.end - part.begin, job->x + part.begin, job->out + part.begin);
}

static lks_status_t forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                            bool relu, lks_tensor_t *output)
{
    (void)relu;
    lks_tensor_t y;
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, input->shape, &y));
    relu_job_t job = {.kernels = lks_exec_kernels(exec),
                      .count = (size_t)lks_tensor_numel(input),
                      .x = lks_tensor_data(input),
                      .out = lks_tensor_data(&y)};
    lks_exec_run(exec, 2 * lks_tensor_nbytes(input), forward_part, &job);
    if (lks_exec_is_training(exec)) {
        module->output = y;
    }
    *output = y;
    return LKS_OK;
}

static void backward_part(void *context, size_t index, size_t threads)
{
    const relu_job_t *job = context;
    lks_part_t part = lks_exec_part(job->count, CACHE_LINE_FLOATS, index, threads);
    job->kernels->relu_backward(part.end - part.begin, job->y + part.begin, job->dy + part.begin,
                                job->out + part.begin);
}

static lks_status_t backward(lks_module_t *module, lks_exec_t *exec,
                             const lks_tensor_t *grad_output, bool input_is_relu,
                             lks_tensor_t *grad_input)
{
    (void)input_is_relu;
    if (!grad_input) {
        return LKS_OK;
    }
    lks_tensor_t dx;
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, grad_output->shape, &dx));
    relu_job_t job = {.kernels = lks_exec_kernels(exec),
                      .count = (size_t)lks_tensor_numel(grad_output),
                      .y = lks_tensor_data(&module->output),
                      .dy = lks_tensor_data(grad_output),
                      .out = lks_tensor_data(&dx)};
    lks_exec_run(exec, 3 * lks_tensor_nbytes(grad_output), backward_part, &job);
    *grad_input = dx;
    return LKS_OK;
}

const lks_module_ops_t lks_relu_ops = {
    .kind = "ReLU",
    .forward = forward,
    .backward = backward,
};
