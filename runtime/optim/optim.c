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

/* Adds the states that `config` needs and the optimizer does not have yet, as zeros. */
static lks_status_t grow_state(lks_optim_t *optim, const lks_optim_config_t *config)
{
    size_t wanted = optim->ops->state_count(config);
    while (optim->state_count < wanted) {
        lks_tensor_t *state = &optim->state[optim->state_count];
        if (optim->count > 0) {
            const int64_t shape[] = {(int64_t)optim->count};
            LKS_TRY(lks_tensor_create(optim->device, LKS_DTYPE_F32, 1, shape, state));
            lks_status_t status = lks_device_fill(optim->device, lks_tensor_data(state), 0,
                                                  lks_tensor_nbytes(state), NULL);
            if (status != LKS_OK) {
                lks_tensor_release(state);
                return status;
            }
        }
        optim->state_count++;
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
    lks_status_t status = lks_optim_create_flat(config, device, layout, params, count, out);
    free(layout);
    if (status == LKS_OK) {
        (*out)->values = values;
        (*out)->grads = lks_module_flat_grads(module);
    }
    return status;
}

void lks_optim_share_state(lks_optim_t *optim, const lks_optim_t *other)
{
    for (size_t i = 0; i < other->state_count; i++) {
        lks_tensor_t before = optim->state[i];
        optim->state[i] = other->state[i];
        if (optim->state[i].storage) {
            lks_storage_retain(optim->state[i].storage);
        }
        if (i < optim->state_count && before.storage) {
            lks_storage_release(before.storage);
        }
    }
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
                     const lks_optim_update_t *update, float *value, const float *grad,
                     size_t state, size_t count)
{
    lks_optim_update_t part = *update;
    part.value = value;
    part.grad = grad;
    part.count = count;
    for (size_t i = 0; i < LKS_OPTIM_STATES_MAX; i++) {
        part.state[i] = update->state[i] ? update->state[i] + state : NULL;
    }
    optim->ops->run(kernels, &part, 0, count);
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
    lks_optim_apply(step->optim, step->kernels, &step->update, values + part.begin,
                    grads + part.begin, part.begin, part.end - part.begin);
}

lks_status_t lks_optim_step(lks_optim_t *optim, lks_exec_t *exec)
{
    step_t step = {.optim = optim, .kernels = lks_exec_kernels(exec)};
    lks_optim_begin(optim, &step.update);
    if (optim->count > 0) {
        /* Each state and the value is read and written, the gradient read. */
        size_t states = optim->ops->state_count(&optim->config);
        lks_exec_run(exec, optim->count * sizeof(float) * (2 * states + 3), run_part, &step);
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

lks_tensor_t lks_optim_state(const lks_optim_t *optim, size_t state, size_t param)
{
    lks_tensor_t view = {0};
    if (optim->layout[param].ndim >= 0) {
        view = optim->layout[param];
        view.storage = optim->state[state].storage;
        view.offset += optim->state[state].offset;
    }
    return view;
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
