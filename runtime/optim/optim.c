/* SPDX-License-Identifier: Apache-2.0 */
/* optim.c - an optimizer over a module's flat block: the kinds, the state and the step.
 * What differs between kinds is behind a table (optim_kind.h). A step hands each thread one run of
 * whole cache lines, and the kernel updates values and states in a single pass. */
#include "core/strbuf.h"
#include "runtime/kernels/exec_team.h"
#include "runtime/optim/optim_kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lks_optim {
    const lks_optim_kind_ops_t *ops;
    lks_optim_config_t config;
    lks_device_t *device;       /* where the states are */
    lks_tensor_t *layout;       /* of each parameter in the flat blocks; ndim -1 for a buffer */
    lks_tensor_t master;        /* flat float32 values of parameters of 16 bits; no tensor: none */
    lks_tensor_t values, grads; /* the module's, flat; no tensor without one */
    size_t count;               /* elements of each block */
    size_t state_count;
    lks_tensor_t state[LKS_OPTIM_STATES_MAX];
    int64_t steps;
    bool primed; /* a step, or a checkpoint, has written the states */
};

static const lks_optim_kind_ops_t *const kinds[LKS_OPTIM_COUNT] = {
    [LKS_OPTIM_SGD] = &lks_optim_sgd,
    [LKS_OPTIM_ADAM] = &lks_optim_adam,
    [LKS_OPTIM_ADAMW] = &lks_optim_adamw,
};

static bool is_kind(lks_optim_kind_t kind)
{
    return (unsigned)kind < LKS_OPTIM_COUNT;
}

const char *lks_optim_kind_name(lks_optim_kind_t kind)
{
    return is_kind(kind) ? kinds[kind]->name : "";
}

lks_optim_config_t lks_optim_config_default(lks_optim_kind_t kind)
{
    return is_kind(kind) ? kinds[kind]->defaults : (lks_optim_config_t){.kind = kind};
}

lks_status_t lks_optim_kind_from_name(const char *name, lks_optim_kind_t *out)
{
    lks_strbuf_t known = {0};
    for (int i = 0; i < LKS_OPTIM_COUNT; i++) {
        if (strcasecmp(name, kinds[i]->name) == 0) {
            lks_strbuf_fini(&known);
            *out = (lks_optim_kind_t)i;
            return LKS_OK;
        }
        lks_strbuf_appendf(&known, "%s%s", i ? ", " : "", kinds[i]->name);
    }
    lks_status_t status = lks_fail(LKS_ERR_NOT_FOUND, "unknown optimizer '%s'; there are %s", name,
                                   lks_strbuf_text(&known));
    lks_strbuf_fini(&known);
    return status;
}

lks_status_t lks_optim_check_not_negative(const char *owner, const char *name, double value)
{
    if (!(value >= 0) || isinf(value)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: %s is %g; it must be finite and at least 0",
                        owner, name, value);
    }
    return LKS_OK;
}

lks_status_t lks_optim_config_check(const lks_optim_config_t *config)
{
    if (!is_kind(config->kind)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%d is no kind of optimizer", (int)config->kind);
    }
    return kinds[config->kind]->check(config);
}

/* A flat block of zeros; none for no elements. */
static lks_status_t new_block(const lks_optim_t *optim, lks_tensor_t *block)
{
    const int64_t shape[] = {(int64_t)optim->count};
    if (optim->count == 0) {
        return LKS_OK;
    }
    LKS_TRY(lks_tensor_create(optim->device, LKS_DTYPE_F32, 1, shape, block));
    lks_status_t status =
        lks_device_fill(optim->device, lks_tensor_data(block), 0, lks_tensor_nbytes(block), NULL);
    if (status != LKS_OK) {
        lks_tensor_release(block);
    }
    return status;
}

/* Adds the states that `config` needs and the optimizer does not have yet, as zeros. */
static lks_status_t grow_state(lks_optim_t *optim, const lks_optim_config_t *config)
{
    size_t wanted = optim->ops->state_count(config);
    while (optim->state_count < wanted) {
        LKS_TRY(new_block(optim, &optim->state[optim->state_count]));
        optim->state_count++;
    }
    return LKS_OK;
}

static bool has_master(const lks_tensor_t *layout)
{
    return layout->ndim >= 0 && layout->dtype != LKS_DTYPE_F32;
}

static lks_status_t make_master(lks_optim_t *optim, size_t params)
{
    for (size_t i = 0; i < params; i++) {
        if (has_master(&optim->layout[i])) {
            return new_block(optim, &optim->master);
        }
    }
    return LKS_OK;
}

lks_status_t lks_optim_create_flat(const lks_optim_config_t *config, lks_device_t *device,
                                   const lks_tensor_t *layout, size_t params, size_t count,
                                   lks_optim_t **out)
{
    LKS_TRY(lks_optim_config_check(config));
    lks_optim_t *optim = malloc(sizeof *optim);
    lks_tensor_t *copy = malloc((params ? params : 1) * sizeof *copy);
    if (!optim || !copy) {
        free(optim);
        free(copy);
        return lks_fail(LKS_ERR_NO_MEMORY, "optimizer: out of memory");
    }
    if (params > 0) {
        memcpy(copy, layout, params * sizeof *copy);
    }
    *optim = (lks_optim_t){.ops = kinds[config->kind],
                           .config = *config,
                           .device = device,
                           .layout = copy,
                           .count = count};
    lks_status_t status = grow_state(optim, config);
    if (status == LKS_OK) {
        status = make_master(optim, params);
    }
    if (status != LKS_OK) {
        lks_optim_destroy(optim);
        return status;
    }
    *out = optim;
    return LKS_OK;
}

lks_status_t lks_optim_create(const lks_optim_config_t *config, lks_module_t *module,
                              lks_optim_t **out)
{
    lks_tensor_t values = lks_module_flat_values(module);
    size_t params = lks_module_param_count(module), count = 0;
    lks_tensor_t *layout = calloc(params ? params : 1, sizeof *layout);
    if (!layout) {
        return lks_fail(LKS_ERR_NO_MEMORY, "optimizer: out of memory");
    }
    for (size_t i = 0; i < params; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        if (param->kind == LKS_PARAM_WEIGHT) {
            layout[i] = param->value;
            layout[i].offset -= values.offset;
        } else {
            layout[i].ndim = -1;
        }
    }
    lks_device_t *device = lks_device_host();
    if (values.storage) {
        count = (size_t)lks_tensor_numel(&values);
        device = lks_storage_device(values.storage);
    }
    lks_optim_t *optim;
    lks_status_t status = lks_optim_create_flat(config, device, layout, params, count, &optim);
    free(layout);
    LKS_TRY(status);
    optim->values = values;
    optim->grads = lks_module_flat_grads(module);
    if (optim->master.storage) {
        lks_kernels_widen(lks_kernels_get(), values.dtype, lks_tensor_data(&optim->master),
                          lks_tensor_data(&values), count);
    }
    *out = optim;
    return LKS_OK;
}

static void share_block(lks_tensor_t *block, const lks_tensor_t *other)
{
    lks_tensor_t before = *block;
    *block = *other;
    if (block->storage) {
        lks_storage_retain(block->storage);
    }
    lks_tensor_release(&before);
}

void lks_optim_share_state(lks_optim_t *optim, const lks_optim_t *other)
{
    for (size_t i = 0; i < other->state_count; i++) {
        share_block(&optim->state[i], &other->state[i]);
    }
    share_block(&optim->master, &other->master);
    optim->state_count = other->state_count;
}

void lks_optim_destroy(lks_optim_t *optim)
{
    if (!optim) {
        return;
    }
    for (size_t i = 0; i < optim->state_count; i++) {
        lks_tensor_release(&optim->state[i]);
    }
    lks_tensor_release(&optim->master);
    free(optim->layout);
    free(optim);
}

void lks_optim_begin(lks_optim_t *optim, lks_optim_update_t *update)
{
    *update = (lks_optim_update_t){.count = optim->count};
    optim->ops->prepare(&optim->config, optim->steps + 1, !optim->primed, update);
    optim->steps++;
    size_t states = optim->ops->state_count(&optim->config);
    for (size_t i = 0; i < states && optim->count > 0; i++) {
        update->state[i] = lks_tensor_data(&optim->state[i]);
    }
    optim->primed = optim->primed || (states > 0 && optim->count > 0);
}

void lks_optim_skip(const lks_optim_t *optim, int64_t skipped, lks_optim_update_t *update)
{
    int64_t step = optim->steps > skipped ? optim->steps - skipped : 1;
    optim->ops->prepare(&optim->config, step, step == 1, update);
}

void lks_optim_apply(const lks_optim_t *optim, const lks_kernels_t *kernels,
                     const lks_optim_update_t *update, lks_dtype_t dtype, void *value,
                     const float *grad, size_t state, size_t count)
{
    bool rounds = dtype != LKS_DTYPE_F32;
    lks_optim_update_t part = *update;
    part.value = rounds ? (float *)lks_tensor_data(&optim->master) + state : value;
    part.grad = grad;
    part.count = count;
    for (size_t i = 0; i < LKS_OPTIM_STATES_MAX; i++) {
        part.state[i] = update->state[i] ? update->state[i] + state : NULL;
    }
    optim->ops->run(kernels, &part, 0, count);
    if (rounds) {
        lks_kernels_narrow(kernels, dtype, value, part.value, count);
    }
}

typedef struct step {
    const lks_optim_t *optim;
    const lks_kernels_t *kernels;
    lks_optim_update_t update;
} step_t;

static void run_part(void *context, size_t index, size_t threads)
{
    enum { CACHE_LINE = 64 / sizeof(float) };
    const step_t *step = context;
    lks_part_t part = lks_exec_part(step->update.count, CACHE_LINE, index, threads);
    float *values = lks_tensor_data(&step->optim->values);
    const float *grads = lks_tensor_data(&step->optim->grads);
    lks_optim_apply(step->optim, step->kernels, &step->update, LKS_DTYPE_F32, values + part.begin,
                    grads + part.begin, part.begin, part.end - part.begin);
}

static void run_part_16(void *context, size_t index, size_t threads)
{
    enum { BLOCK = 1024 }; /* floats: stays in the first-level cache */
    float block[BLOCK];
    const step_t *step = context;
    lks_dtype_t dtype = step->optim->values.dtype;
    lks_part_t part = lks_exec_part(step->update.count, BLOCK, index, threads);
    uint16_t *values = lks_tensor_data(&step->optim->values);
    const uint16_t *grads = lks_tensor_data(&step->optim->grads);
    for (size_t at = part.begin; at < part.end; at += BLOCK) {
        size_t count = part.end - at < BLOCK ? part.end - at : BLOCK;
        lks_kernels_widen(step->kernels, dtype, block, grads + at, count);
        lks_optim_apply(step->optim, step->kernels, &step->update, dtype, values + at, block, at,
                        count);
    }
}

lks_status_t lks_optim_step(lks_optim_t *optim, lks_exec_t *exec)
{
    step_t step = {.optim = optim, .kernels = lks_exec_kernels(exec)};
    lks_optim_begin(optim, &step.update);
    if (optim->count > 0) {
        /* Each state and the value is read and written, the gradient read. */
        size_t states = optim->ops->state_count(&optim->config);
        lks_exec_run(exec, optim->count * sizeof(float) * (2 * states + 3),
                     optim->master.storage ? run_part_16 : run_part, &step);
    }
    return LKS_OK;
}

const lks_optim_config_t *lks_optim_config(const lks_optim_t *optim)
{
    return &optim->config;
}

void lks_optim_set_lr(lks_optim_t *optim, double lr)
{
    optim->config.lr = lr;
}

int64_t lks_optim_steps(const lks_optim_t *optim)
{
    return optim->steps;
}

size_t lks_optim_state_count(const lks_optim_t *optim)
{
    return optim->ops->state_count(&optim->config);
}

const char *lks_optim_state_name(const lks_optim_t *optim, size_t state)
{
    return optim->ops->state_names[state];
}

static lks_tensor_t view_of(const lks_optim_t *optim, const lks_tensor_t *block, size_t param)
{
    lks_tensor_t view = optim->layout[param];
    view.storage = block->storage;
    view.dtype = LKS_DTYPE_F32;
    view.offset += block->offset;
    return view;
}

lks_tensor_t lks_optim_state(const lks_optim_t *optim, size_t state, size_t param)
{
    lks_tensor_t none = {0};
    return optim->layout[param].ndim >= 0 ? view_of(optim, &optim->state[state], param) : none;
}

lks_tensor_t lks_optim_master(const lks_optim_t *optim, size_t param)
{
    lks_tensor_t none = {0};
    return has_master(&optim->layout[param]) ? view_of(optim, &optim->master, param) : none;
}

lks_tensor_t lks_optim_flat_master(const lks_optim_t *optim)
{
    return optim->master;
}

lks_tensor_t lks_optim_flat_state(const lks_optim_t *optim, size_t state)
{
    return optim->state[state];
}

void lks_optim_set_steps(lks_optim_t *optim, int64_t steps)
{
    optim->steps = steps;
    optim->primed = steps > 0;
}

lks_status_t lks_optim_set_config(lks_optim_t *optim, const lks_optim_config_t *config)
{
    if (config->kind != optim->config.kind) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: cannot become %s", optim->ops->name,
                        lks_optim_kind_name(config->kind));
    }
    LKS_TRY(lks_optim_config_check(config));
    if (config->kind != LKS_OPTIM_SGD && config->amsgrad != optim->config.amsgrad) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: amsgrad cannot change between steps",
                        optim->ops->name);
    }
    LKS_TRY(grow_state(optim, config));
    optim->config = *config;
    return LKS_OK;
}
