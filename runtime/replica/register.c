/* SPDX-License-Identifier: Apache-2.0 */
/* register.c - the parameters that a replica is told of, or a module's, and where a module's gradients lie. */
#include "core/checked.h"
#include "core/strbuf.h"
#include "runtime/nn/module_ops.h"
#include "runtime/replica/grad_sync.h"

#include <stdlib.h>
#include <string.h>

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a replica's parameters: out of memory");
}

static lks_status_t check_param(const lks_sync_param_t *param, bool updated)
{
    bool weight = param->kind == LKS_PARAM_WEIGHT;
    bool is_float = param->dtype == LKS_DTYPE_F64 || param->dtype == LKS_DTYPE_F32 ||
                    param->dtype == LKS_DTYPE_F16 || param->dtype == LKS_DTYPE_BF16;
    if (weight && !is_float) {
        return lks_fail(LKS_ERR_INVALID_ARG, "parameter '%s' is %s; parameters are floats",
                        param->name, lks_dtype_name(param->dtype));
    }
    if (weight && updated && param->dtype == LKS_DTYPE_F64) {
        return lks_fail(
            LKS_ERR_UNSUPPORTED,
            "parameter '%s' is float64; optimizers update float32, float16 and bfloat16",
            param->name);
    }
    if (param->count > 0 && !param->value) {
        return lks_fail(LKS_ERR_INVALID_ARG, "parameter '%s' has no value", param->name);
    }
    return LKS_OK;
}

static lks_status_t fill_param(lks_sync_param_t *to, const lks_replica_param_t *from)
{
    int64_t count;
    size_t size = lks_dtype_size(from->dtype), grain;
    if (size == 0 || from->ndim < 0 || from->ndim > LKS_MAX_NDIM) {
        return lks_fail(LKS_ERR_INVALID_ARG, "parameter '%s': dtype %d, %d dimensions", from->name,
                        (int)from->dtype, from->ndim);
    }
    LKS_TRY(lks_shape_numel(from->ndim, from->shape, &count));
    grain = size < 64 ? 64 / size : 1;
    *to = (lks_sync_param_t){.name = from->name, /* until it is copied */
                             .kind = from->kind,
                             .dtype = from->dtype,
                             .ndim = from->ndim,
                             .count = (size_t)count,
                             .padded = ((size_t)count + grain - 1) / grain * grain,
                             .value = from->value};
    if (from->ndim > 0) { /* a number needs no shape */
        memcpy(to->shape, from->shape, (size_t)from->ndim * sizeof *from->shape);
    }
    return LKS_OK;
}

static lks_status_t copy_names(lks_grad_sync_t *sync)
{
    lks_strbuf_t names = {0};
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_strbuf_append(&names, sync->params[i].name, strlen(sync->params[i].name) + 1);
    }
    if (!lks_strbuf_ok(&names)) {
        lks_strbuf_fini(&names);
        return out_of_memory();
    }
    sync->names = names.data;
    const char *name = names.data;
    for (size_t i = 0; i < sync->param_count; i++) {
        sync->params[i].name = name;
        name += strlen(name) + 1;
    }
    return LKS_OK;
}

lks_status_t lks_grad_sync_register(lks_grad_sync_t *sync, const lks_replica_param_t *params)
{
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        LKS_TRY(fill_param(param, &params[i]));
        LKS_TRY(check_param(param, sync->options.optim != NULL));
        if (param->kind == LKS_PARAM_WEIGHT) {
            param->state = sync->state_count;
            sync->state_count += param->padded;
            sync->weights++;
        }
    }
    return copy_names(sync);
}

lks_status_t lks_grad_sync_register_module(lks_grad_sync_t *sync)
{
    const lks_module_t *module = sync->replica->module;
    lks_tensor_t values = lks_module_flat_values(module), grads = lks_module_flat_grads(module);
    lks_replica_param_t *params = calloc(sync->param_count + 1, sizeof *params);
    if (!params) {
        return out_of_memory();
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        params[i] = (lks_replica_param_t){.name = param->name,
                                          .kind = param->kind,
                                          .dtype = param->value.dtype,
                                          .ndim = param->value.ndim,
                                          .shape = param->value.shape,
                                          .value = lks_tensor_data(&param->value)};
    }
    lks_status_t status = lks_grad_sync_register(sync, params);
    free(params);
    for (size_t i = 0; i < sync->param_count && status == LKS_OK; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        if (param->kind == LKS_PARAM_WEIGHT) {
            sync->params[i].state = (size_t)(param->value.offset - values.offset);
        }
    }
    sync->borrowed_grads = true;
    if (grads.storage) {
        sync->grads_nbytes = lks_storage_nbytes(grads.storage);
        sync->state_count = (size_t)lks_tensor_numel(&values);
    }
    return status;
}

static void destroy_memory(void *memory)
{
    lks_comm_memory_destroy(memory);
}

/* A module's gradients move to where other processes see them: they stay there, with the module. */
static lks_status_t share_module_grads(lks_grad_sync_t *sync)
{
    lks_comm_memory_t *memory;
    lks_storage_t *storage;
    LKS_TRY(lks_comm_memory_create(sync->replica->comm, sync->grads_nbytes, &memory));
    lks_status_t status = lks_storage_wrap(lks_device_host(), lks_comm_memory_data(memory),
                                           sync->grads_nbytes, destroy_memory, memory, &storage);
    if (status != LKS_OK) {
        lks_comm_memory_destroy(memory);
        return status;
    }
    lks_module_move_grads(sync->replica->module, storage);
    lks_storage_release(storage); /* the memory they had */
    return LKS_OK;
}

lks_status_t lks_grad_sync_find_module_grads(lks_grad_sync_t *sync)
{
    const lks_module_t *module = sync->replica->module;
    lks_tensor_t grads = lks_module_flat_grads(module);
    if (!grads.storage) {
        return LKS_OK;
    }
    if (sync->replica->comm->processes > 1) {
        LKS_TRY(share_module_grads(sync));
    }
    sync->grads = lks_tensor_data(&grads);
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        if (param->kind == LKS_PARAM_WEIGHT) {
            sync->params[i].grad = lks_tensor_data(&param->grad);
        }
    }
    return LKS_OK;
}
