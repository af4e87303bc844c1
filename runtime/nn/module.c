/* SPDX-License-Identifier: Apache-2.0 */
/* module.c - what all modules have in common: life, names, and the checks around forward and backward. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"

#include <stdlib.h>
#include <string.h>

lks_status_t lks_module_create(const lks_module_ops_t *ops, size_t size, lks_module_t **out)
{
    lks_module_t *module = calloc(1, size);
    if (!module) {
        return lks_fail(LKS_ERR_NO_MEMORY, "%s: out of memory", ops->kind);
    }
    module->ops = ops;
    module->dtype = LKS_DTYPE_F32;
    *out = module;
    return LKS_OK;
}

lks_status_t lks_module_set_dtype(lks_module_t *module, lks_dtype_t dtype)
{
    if (dtype != LKS_DTYPE_F32 && dtype != LKS_DTYPE_F16 && dtype != LKS_DTYPE_BF16) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%s: parameters are float32, float16 or bfloat16, not %s",
                        module->ops->kind, lks_dtype_name(dtype));
    }
    if (module->materialized || module->owned) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %s; its dtype cannot change", module->ops->kind,
                        module->owned ? "it is part of another module" : "materialized before");
    }
    module->dtype = dtype;
    return LKS_OK;
}

void lks_module_declare(lks_module_t *module, const char *name, lks_param_kind_t kind, int ndim,
                        const int64_t *shape)
{
    lks_slot_t *slot = &module->slots[module->slot_count++];
    *slot = (lks_slot_t){.name = name, .kind = kind, .ndim = ndim};
    memcpy(slot->shape, shape, (size_t)ndim * sizeof *shape);
}

void lks_module_destroy(lks_module_t *module)
{
    if (!module) {
        return;
    }
    for (size_t i = 0; i < module->child_count; i++) {
        lks_module_destroy(module->children[i]);
    }
    free(module->children);
    lks_module_memory_fini(&module->memory);
    free(module);
}

const char *lks_module_kind(const lks_module_t *module)
{
    return module->ops->kind;
}

size_t lks_module_param_count(const lks_module_t *module)
{
    return module->memory.param_count;
}

const lks_param_t *lks_module_param(const lks_module_t *module, size_t index)
{
    return &module->memory.params[index];
}

static lks_tensor_t flat(lks_storage_t *storage, lks_dtype_t dtype)
{
    lks_tensor_t tensor = {.storage = storage, .dtype = dtype, .ndim = 1, .stride = {1}};
    tensor.shape[0] = storage ? (int64_t)(lks_storage_nbytes(storage) / lks_dtype_size(dtype)) : 0;
    return tensor;
}

lks_tensor_t lks_module_flat_values(const lks_module_t *module)
{
    return flat(module->memory.values, module->dtype);
}

lks_tensor_t lks_module_flat_grads(const lks_module_t *module)
{
    return flat(module->memory.grads, module->dtype);
}

lks_tensor_t lks_module_flat_buffers(const lks_module_t *module)
{
    return flat(module->memory.buffers, LKS_DTYPE_F32);
}

int64_t lks_module_in_features(const lks_module_t *module)
{
    if (module->ops->in_features) {
        return module->ops->in_features(module);
    }
    int64_t features = 0;
    for (size_t i = 0; i < module->child_count && features == 0; i++) {
        features = lks_module_in_features(module->children[i]);
    }
    return features;
}

int64_t lks_module_out_features(const lks_module_t *module)
{
    if (module->ops->out_features) {
        return module->ops->out_features(module);
    }
    int64_t features = 0;
    for (size_t i = module->child_count; i-- > 0 && features == 0;) {
        features = lks_module_out_features(module->children[i]);
    }
    return features;
}

static lks_status_t check_batch(const char *kind, const char *what, const lks_tensor_t *tensor)
{
    if (tensor->dtype != LKS_DTYPE_F32 || tensor->ndim != 2 || !lks_tensor_is_contiguous(tensor)) {
        char shape[128];
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%s: the %s is %s %s%s; it must be float32 (batch, features), contiguous",
                        kind, what, lks_dtype_name(tensor->dtype),
                        lks_shape_format(shape, sizeof shape, tensor->ndim, tensor->shape),
                        lks_tensor_is_contiguous(tensor) ? "" : ", strided");
    }
    return LKS_OK;
}

lks_status_t lks_module_forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                                lks_tensor_t *output)
{
    const char *kind = module->ops->kind;
    if (!module->materialized) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: forward before materialize", kind);
    }
    LKS_TRY(check_batch(kind, "input", input));
    lks_tensor_t result;
    LKS_TRY(lks_module_run_forward(module, exec, input, false, &result));
    if (lks_exec_is_training(exec)) {
        module->output = result;
        module->trained_on = exec;
        module->generation = lks_exec_generation(exec);
    }
    *output = result;
    return LKS_OK;
}

lks_status_t lks_module_backward(lks_module_t *module, lks_exec_t *exec,
                                 const lks_tensor_t *grad_output, lks_tensor_t *grad_input)
{
    const char *kind = module->ops->kind;
    if (module->trained_on != exec || module->generation != lks_exec_generation(exec)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%s: backward without a forward in training mode since the last reset",
                        kind);
    }
    LKS_TRY(check_batch(kind, "gradient of the output", grad_output));
    if (!lks_tensor_same_shape(grad_output, &module->output)) {
        char got[128], wanted[128];
        return lks_fail(
            LKS_ERR_INVALID_ARG, "%s: the gradient of the output is %s; the output was %s", kind,
            lks_shape_format(got, sizeof got, grad_output->ndim, grad_output->shape),
            lks_shape_format(wanted, sizeof wanted, module->output.ndim, module->output.shape));
    }
    LKS_TRY(lks_module_run_backward(module, exec, grad_output, false, grad_input));
    return lks_module_report_grads(module, exec);
}

void lks_module_name_spans(lks_module_t *module, lks_trace_t *trace)
{
    const char *kind = module->ops->kind;
    if (module->child_count == 0) {
        module->forward_span = lks_trace_name(trace, "%zu %s forward", module->layer, kind);
        module->backward_span = lks_trace_name(trace, "%zu %s backward", module->layer, kind);
    }
    for (size_t i = 0; i < module->child_count; i++) {
        lks_module_name_spans(module->children[i], trace);
    }
}

lks_status_t lks_module_report_grads(const lks_module_t *module, lks_exec_t *exec)
{
    for (size_t i = module->slot_count; i-- > 0;) {
        if (module->slots[i].kind == LKS_PARAM_WEIGHT) {
            LKS_TRY(lks_exec_grad_ready(exec, module->slots[i].param));
        }
    }
    return LKS_OK;
}
