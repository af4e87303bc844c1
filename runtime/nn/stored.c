/* SPDX-License-Identifier: Apache-2.0 */
/* stored.c - layers compute in float32 whatever their parameters are stored in. Those of 16 bits are copied into memory of
 * the exec that one layer after the other uses, so that a model costs two float32 copies of its largest layer; in
 * backward they are widened a second time, which is cheaper than to keep them. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"

#include <stdlib.h>

/* Floats that a slot takes in memory shared with others: whole cache lines. */
static size_t room(const lks_slot_t *slot)
{
    return (slot->count + 15) / 16 * 16;
}

static bool is_stored(const lks_module_t *module)
{
    return module->slot_count > 0 && module->dtype != LKS_DTYPE_F32;
}

/* Points the values, and behind them the gradients, of slots that are stored in 16 bits into `memory`. */
static void point(lks_module_t *module, float *memory)
{
    for (size_t i = 0; i < module->slot_count; i++) {
        lks_slot_t *slot = &module->slots[i];
        if (slot->stored_value) {
            slot->value = memory;
            slot->grad = memory + room(slot);
            memory += 2 * room(slot);
        }
    }
}

static size_t floats_of(const lks_module_t *module)
{
    size_t floats = 0;
    for (size_t i = 0; i < module->slot_count; i++) {
        floats += module->slots[i].stored_value ? 2 * room(&module->slots[i]) : 0;
    }
    return floats;
}

typedef struct conversion {
    const lks_kernels_t *kernels;
    const lks_module_t *module;
    const lks_slot_t *slot;
} conversion_t;

static void widen_part(void *context, size_t index, size_t threads)
{
    const conversion_t *job = context;
    lks_part_t part = lks_exec_part(job->slot->count, 32, index, threads);
    lks_kernels_widen(job->kernels, job->module->dtype, job->slot->value + part.begin,
                      (const uint16_t *)job->slot->stored_value + part.begin,
                      part.end - part.begin);
}

static void narrow_part(void *context, size_t index, size_t threads)
{
    const conversion_t *job = context;
    lks_part_t part = lks_exec_part(job->slot->count, 32, index, threads);
    lks_kernels_narrow(job->kernels, job->module->dtype,
                       (uint16_t *)job->slot->stored_grad + part.begin,
                       job->slot->grad + part.begin, part.end - part.begin);
}

static void convert(const lks_module_t *module, lks_exec_t *exec,
                    void (*part)(void *context, size_t index, size_t threads))
{
    for (size_t i = 0; i < module->slot_count; i++) {
        conversion_t job = {lks_exec_kernels(exec), module, &module->slots[i]};
        if (job.slot->stored_value) {
            lks_exec_run(exec, job.slot->count * (sizeof(float) + sizeof(uint16_t)), part, &job);
        }
    }
}

static lks_status_t prepare(lks_module_t *module, lks_exec_t *exec)
{
    void *memory;
    LKS_TRY(lks_exec_layer_memory(exec, floats_of(module) * sizeof(float), &memory));
    point(module, memory);
    return LKS_OK;
}

lks_status_t lks_module_run_forward(lks_module_t *module, lks_exec_t *exec,
                                    const lks_tensor_t *input, bool relu, lks_tensor_t *output)
{
    if (is_stored(module)) {
        LKS_TRY(prepare(module, exec));
        convert(module, exec, widen_part);
    }
    return module->ops->forward(module, exec, input, relu, output);
}

lks_status_t lks_module_run_backward(lks_module_t *module, lks_exec_t *exec,
                                     const lks_tensor_t *grad_output, bool input_is_relu,
                                     lks_tensor_t *grad_input)
{
    if (!is_stored(module)) {
        return module->ops->backward(module, exec, grad_output, input_is_relu, grad_input);
    }
    LKS_TRY(prepare(module, exec));
    if (grad_input) {
        convert(module, exec, widen_part);
    }
    LKS_TRY(module->ops->backward(module, exec, grad_output, input_is_relu, grad_input));
    convert(module, exec, narrow_part);
    return LKS_OK;
}

lks_status_t lks_module_run_init(lks_module_t *module, lks_rng_t *rng)
{
    if (!is_stored(module)) {
        module->ops->init(module, rng);
        return LKS_OK;
    }
    float *memory = malloc(floats_of(module) * sizeof *memory);
    if (!memory) {
        return lks_fail(LKS_ERR_NO_MEMORY, "%s: out of memory", module->ops->kind);
    }
    point(module, memory);
    module->ops->init(module, rng);
    for (size_t i = 0; i < module->slot_count; i++) {
        const lks_slot_t *slot = &module->slots[i];
        if (slot->stored_value) {
            lks_kernels_narrow(lks_kernels_get(), module->dtype, slot->stored_value, slot->value,
                               slot->count);
        }
    }
    free(memory);
    return LKS_OK;
}
