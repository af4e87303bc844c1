/* SPDX-License-Identifier: Apache-2.0 */
/* sequential.c - a chain of modules. A layer that can apply the ReLU behind it (ops->fuses_relu) does so, which
 * saves reading and writing the activations once more in each direction. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"

#include <stdlib.h>

lks_status_t lks_sequential_create(lks_module_t **out)
{
    return lks_module_create(&lks_sequential_ops, sizeof **out, out);
}

static lks_status_t check_append(const lks_module_t *sequential, const lks_module_t *child)
{
    if (sequential->ops != &lks_sequential_ops) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: only a Sequential takes other modules",
                        sequential->ops->kind);
    }
    if (sequential->materialized || child->materialized) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "Sequential: a %s cannot be appended once either is materialized",
                        child->ops->kind);
    }
    return LKS_OK;
}

static lks_status_t reserve(lks_module_t *sequential)
{
    if (sequential->child_count < sequential->child_capacity) {
        return LKS_OK;
    }
    size_t capacity = sequential->child_capacity ? 2 * sequential->child_capacity : 8;
    lks_module_t **children = realloc(sequential->children, capacity * sizeof(lks_module_t *));
    if (!children) {
        return lks_fail(LKS_ERR_NO_MEMORY, "Sequential: out of memory");
    }
    sequential->children = children;
    sequential->child_capacity = capacity;
    return LKS_OK;
}

lks_status_t lks_sequential_append(lks_module_t *sequential, lks_module_t *child)
{
    if (child->owned || child == sequential) { /* not the caller's to give */
        return lks_fail(LKS_ERR_INVALID_ARG, "Sequential: the %s already has a place",
                        child->ops->kind);
    }
    lks_status_t status = check_append(sequential, child);
    if (status == LKS_OK) {
        status = reserve(sequential);
    }
    if (status != LKS_OK) {
        lks_module_destroy(child);
        return status;
    }
    child->owned = true;
    sequential->children[sequential->child_count++] = child;
    return LKS_OK;
}

static bool is_relu(const lks_module_t *sequential, size_t i)
{
    return i < sequential->child_count && sequential->children[i]->ops == &lks_relu_ops;
}

static lks_status_t forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                            bool relu, lks_tensor_t *output)
{
    (void)relu;
    lks_tensor_t x = *input;
    for (size_t i = 0; i < module->child_count; i++) {
        lks_module_t *child = module->children[i];
        bool fused = child->ops->fuses_relu && is_relu(module, i + 1);
        lks_tensor_t y;
        lks_trace_row_t *row = child->forward_span ? lks_exec_trace_row(exec) : NULL;
        int64_t start = lks_trace_begin(row);
        lks_status_t status = lks_module_run_forward(child, exec, &x, fused, &y);
        lks_trace_end(row, child->forward_span, start, NULL, 0);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "module %zu", i);
        }
        if (fused) {
            i++;
            if (lks_exec_is_training(exec)) {
                module->children[i]->output = y;
            }
        }
        x = y;
    }
    *output = x;
    return LKS_OK;
}

static lks_status_t backward(lks_module_t *module, lks_exec_t *exec,
                             const lks_tensor_t *grad_output, bool input_is_relu,
                             lks_tensor_t *grad_input)
{
    (void)input_is_relu;
    lks_tensor_t dy = *grad_output;
    for (size_t i = module->child_count; i-- > 0;) {
        lks_module_t *child = module->children[i];
        bool fused = child->ops->fuses_relu && i > 0 && is_relu(module, i - 1);
        i -= fused;
        lks_tensor_t dx;
        bool wanted = i > 0 || grad_input;
        lks_trace_row_t *row = child->backward_span ? lks_exec_trace_row(exec) : NULL;
        int64_t start = lks_trace_begin(row);
        lks_status_t status = lks_module_run_backward(child, exec, &dy, fused, wanted ? &dx : NULL);
        lks_trace_end(row, child->backward_span, start, NULL, 0);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "module %zu", i);
        }
        LKS_TRY(lks_module_report_grads(child, exec));
        if (wanted) {
            dy = dx;
        }
    }
    if (grad_input) {
        *grad_input = dy;
    }
    return LKS_OK;
}

const lks_module_ops_t lks_sequential_ops = {
    .kind = "Sequential",
    .forward = forward,
    .backward = backward,
};
