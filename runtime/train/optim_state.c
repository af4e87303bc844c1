/* SPDX-License-Identifier: Apache-2.0 */
/* optim_state.c - an optimizer to and from torch.optim's state_dict:
 *     {'state': {0: {'step': tensor(50.), 'exp_avg': ..., 'exp_avg_sq': ...}, 1: ...},
 *      'param_groups': [{'lr': ..., ..., 'params': [0, 1, ...]}]}
 * Parameters are numbered in model order. Hyper-parameters keep PyTorch's names and order; `betas` is a tuple. */
#include "runtime/train/job.h"
#include "runtime/train/read.h"

#include <string.h>

static size_t weight_count(const lks_module_t *module)
{
    size_t count = 0;
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        count += lks_module_param(module, i)->kind == LKS_PARAM_WEIGHT;
    }
    return count; /* weights come before buffers */
}

/* A 0-dim float32 tensor with a storage of its own. */
static lks_value_t *step_tensor(lks_tree_t *tree, int64_t steps)
{
    lks_tensor_t tensor;
    if (lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 0, NULL, &tensor) != LKS_OK) {
        return NULL;
    }
    *(float *)lks_tensor_data(&tensor) = (float)steps;
    lks_value_t *value = lks_value_tensor_from(tree, &tensor);
    lks_tensor_release(&tensor); /* the tree holds the storage */
    return value;
}

static lks_value_t *param_state(lks_tree_t *tree, const lks_optim_t *optim, size_t param)
{
    lks_value_t *state = lks_value_dict(tree);
    if (lks_optim_config(optim)->kind != LKS_OPTIM_SGD) {
        lks_value_set_str(tree, state, "step", step_tensor(tree, lks_optim_steps(optim)));
    }
    for (size_t i = 0; i < lks_optim_state_count(optim); i++) {
        lks_tensor_t tensor = lks_optim_state(optim, i, param);
        lks_value_set_str(tree, state, lks_optim_state_name(optim, i),
                          lks_tensor_save(tree, &tensor));
    }
    return state;
}

static void set_float(lks_tree_t *tree, lks_value_t *dict, const char *key, double value)
{
    lks_value_set_str(tree, dict, key, lks_value_float(tree, value));
}

static void set_bool(lks_tree_t *tree, lks_value_t *dict, const char *key, bool value)
{
    lks_value_set_str(tree, dict, key, lks_value_bool(tree, value));
}

static lks_value_t *param_group(lks_tree_t *tree, const lks_optim_t *optim, size_t params,
                                const lks_lr_scheduler_t *scheduler)
{
    const lks_optim_config_t *config = lks_optim_config(optim);
    lks_value_t *group = lks_value_dict(tree);
    set_float(tree, group, "lr", config->lr);
    if (config->kind == LKS_OPTIM_SGD) {
        set_float(tree, group, "momentum", config->momentum);
        set_float(tree, group, "dampening", config->dampening);
        set_float(tree, group, "weight_decay", config->weight_decay);
        set_bool(tree, group, "nesterov", config->nesterov);
    } else {
        lks_value_t *betas = lks_value_tuple(tree);
        lks_value_append(tree, betas, lks_value_float(tree, config->beta1));
        lks_value_append(tree, betas, lks_value_float(tree, config->beta2));
        lks_value_set_str(tree, group, "betas", betas);
        set_float(tree, group, "eps", config->eps);
        set_float(tree, group, "weight_decay", config->weight_decay);
        set_bool(tree, group, "amsgrad", config->amsgrad);
    }
    set_bool(tree, group, "maximize", config->maximize);
    lks_value_set_str(tree, group, "foreach", lks_value_none(tree));
    if (config->kind != LKS_OPTIM_SGD) {
        set_bool(tree, group, "capturable", false);
    }
    set_bool(tree, group, "differentiable", false);
    if (scheduler->kind != LKS_LR_CONSTANT) {
        set_float(tree, group, "initial_lr", scheduler->base_lr);
    }
    lks_value_t *numbers = lks_value_list(tree);
    for (size_t i = 0; i < params; i++) {
        lks_value_append(tree, numbers, lks_value_int(tree, (int64_t)i));
    }
    lks_value_set_str(tree, group, "params", numbers);
    return group;
}

lks_value_t *lks_optim_state_save(lks_tree_t *tree, const lks_optim_t *optim,
                                  const lks_module_t *module, const lks_lr_scheduler_t *scheduler)
{
    size_t params = weight_count(module);
    bool has_state = lks_optim_steps(optim) > 0 && (lks_optim_state_count(optim) > 0 ||
                                                    lks_optim_config(optim)->kind != LKS_OPTIM_SGD);
    lks_value_t *state = lks_value_dict(tree);
    for (size_t i = 0; i < params && has_state; i++) {
        lks_value_set_int(tree, state, (int64_t)i, param_state(tree, optim, i));
    }
    lks_value_t *groups = lks_value_list(tree);
    lks_value_append(tree, groups, param_group(tree, optim, params, scheduler));
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "state", state);
    lks_value_set_str(tree, dict, "param_groups", groups);
    return dict;
}

/* --- loading ------------------------------------------------------------------------------------- */

static const char where[] = "param_groups[0]";

static lks_status_t read_config(const lks_value_t *group, lks_optim_config_t *config)
{
    lks_value_t *betas = lks_value_find(group, "betas");
    bool is_sgd = config->kind == LKS_OPTIM_SGD;
    if (is_sgd != (lks_value_find(group, "momentum") != NULL) || is_sgd == (betas != NULL)) {
        return lks_fail(LKS_ERR_MISMATCH, "the optimizer state is not %s's",
                        lks_optim_kind_name(config->kind));
    }
    bool amsgrad = false;
    LKS_TRY(lks_read_float_if(group, where, "lr", &config->lr));
    LKS_TRY(lks_read_float_if(group, where, "momentum", &config->momentum));
    LKS_TRY(lks_read_float_if(group, where, "dampening", &config->dampening));
    LKS_TRY(lks_read_float_if(group, where, "weight_decay", &config->weight_decay));
    LKS_TRY(lks_read_bool_if(group, where, "nesterov", &config->nesterov));
    LKS_TRY(lks_read_float_if(group, where, "eps", &config->eps));
    LKS_TRY(lks_read_bool_if(group, where, "maximize", &config->maximize));
    LKS_TRY(lks_read_bool_if(group, where, "amsgrad", &amsgrad));
    if (betas) {
        if (lks_value_count(betas) != 2) {
            return lks_fail(LKS_ERR_MISMATCH, "param_groups[0]['betas'] has %zu items, not 2",
                            lks_value_count(betas));
        }
        LKS_TRY(lks_value_get_float(lks_value_at(betas, 0), &config->beta1));
        LKS_TRY(lks_value_get_float(lks_value_at(betas, 1), &config->beta2));
        if (amsgrad != config->amsgrad) {
            return lks_fail(LKS_ERR_MISMATCH, "the optimizer state has amsgrad %s, the job %s",
                            amsgrad ? "on" : "off", config->amsgrad ? "on" : "off");
        }
    }
    return LKS_OK;
}

static lks_status_t read_step(lks_checkpoint_t *checkpoint, const lks_value_t *value, int64_t *out)
{
    if (lks_value_kind(value) != LKS_VALUE_TENSOR) { /* a plain number before PyTorch 1.12 */
        int64_t steps = 0;
        LKS_TRY(lks_value_get_int(value, &steps));
        if (steps < 0 || steps > INT64_C(1) << 53) {
            return lks_fail(LKS_ERR_MISMATCH, "optimizer state 'step' is %lld", (long long)steps);
        }
        *out = steps;
        return LKS_OK;
    }
    lks_tensor_t tensor;
    double step;
    LKS_TRY(lks_checkpoint_tensor(checkpoint, value, "step", &tensor));
    if (lks_tensor_numel(&tensor) != 1) {
        return lks_fail(LKS_ERR_MISMATCH, "optimizer state 'step' is not one number");
    }
    lks_tensor_t number;
    LKS_TRY(
        lks_tensor_create(lks_device_host(), LKS_DTYPE_F64, tensor.ndim, tensor.shape, &number));
    lks_status_t status = lks_tensor_convert(&number, &tensor);
    if (status == LKS_OK) {
        memcpy(&step, lks_tensor_data(&number), sizeof step);
        if (!(step >= 0.0 && step < 0x1p53)) {
            status = lks_fail(LKS_ERR_MISMATCH, "optimizer state 'step' is %g", step);
        } else {
            *out = (int64_t)step;
        }
    }
    lks_tensor_release(&number);
    return status;
}

/* pass 0 checks checksums and shapes, pass 1 copies */
static lks_status_t load_param(lks_checkpoint_t *checkpoint, const lks_value_t *state,
                               lks_optim_t *optim, size_t param, int pass)
{
    for (size_t i = 0; i < lks_optim_state_count(optim); i++) {
        const char *name = lks_optim_state_name(optim, i);
        lks_value_t *value = lks_value_find(state, name);
        lks_tensor_t to = lks_optim_state(optim, i, param), from;
        if (!value) {
            return lks_fail(LKS_ERR_MISMATCH, "the optimizer state of parameter %zu lacks '%s'",
                            param, name);
        }
        LKS_TRY(lks_checkpoint_tensor(checkpoint, value, name, &from));
        if (!lks_tensor_same_shape(&to, &from)) {
            char want[96], found[96];
            return lks_fail(LKS_ERR_MISMATCH,
                            "the optimizer state '%s' of parameter %zu has shape %s, not %s", name,
                            param, lks_shape_format(found, sizeof found, from.ndim, from.shape),
                            lks_shape_format(want, sizeof want, to.ndim, to.shape));
        }
        if (pass == 1) {
            LKS_TRY(lks_tensor_convert(&to, &from));
        }
    }
    return LKS_OK;
}

static lks_status_t param_steps(lks_checkpoint_t *checkpoint, const lks_value_t *states,
                                size_t params, int64_t *out)
{
    int64_t common = 0;
    for (size_t i = 0; i < params; i++) {
        lks_value_t *state = lks_value_find_int(states, (int64_t)i);
        if (!state) {
            return lks_fail(LKS_ERR_MISMATCH, "the optimizer state lacks parameter %zu", i);
        }
        lks_value_t *step = lks_value_find(state, "step");
        int64_t steps = 1; /* SGD counts none; that there is a state means it has stepped */
        if (step) {
            LKS_TRY(read_step(checkpoint, step, &steps));
        }
        if (i > 0 && steps != common) {
            return lks_fail(LKS_ERR_UNSUPPORTED,
                            "the optimizer state has parameters at different steps (%lld and %lld)",
                            (long long)common, (long long)steps);
        }
        common = steps;
    }
    *out = common;
    return LKS_OK;
}

static lks_status_t load_states(lks_checkpoint_t *checkpoint, const lks_value_t *states,
                                lks_optim_t *optim, size_t params)
{
    if (lks_value_count(states) == 0 ||
        (lks_optim_config(optim)->kind == LKS_OPTIM_SGD && lks_optim_state_count(optim) == 0)) {
        lks_optim_set_steps(optim, 0);
        return LKS_OK;
    }
    int64_t steps = 0;
    LKS_TRY(param_steps(checkpoint, states, params, &steps));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < params; i++) {
            LKS_TRY(load_param(checkpoint, lks_value_find_int(states, (int64_t)i), optim, i, pass));
        }
    }
    lks_optim_set_steps(optim, steps);
    return LKS_OK;
}

lks_status_t lks_optim_state_load(lks_checkpoint_t *checkpoint, const lks_value_t *state,
                                  lks_optim_t *optim, const lks_module_t *module)
{
    const lks_value_t *groups = lks_value_find(state, "param_groups");
    const lks_value_t *states = lks_value_find(state, "state");
    if (!groups || !states) {
        return lks_fail(LKS_ERR_MISMATCH, "the optimizer state has no 'state' or 'param_groups'");
    }
    if (lks_value_count(groups) != 1) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "the optimizer state has %zu parameter groups; only one is supported",
                        lks_value_count(groups));
    }
    const lks_value_t *group = lks_value_at(groups, 0);
    size_t params = weight_count(module);
    size_t found = lks_value_count(lks_value_find(group, "params"));
    if (found != params) {
        return lks_fail(LKS_ERR_MISMATCH,
                        "the optimizer state has %zu parameters, the model has %zu", found, params);
    }
    lks_optim_config_t config = *lks_optim_config(optim);
    LKS_TRY(read_config(group, &config));
    LKS_TRY(lks_optim_set_config(optim, &config)); /* first: it decides which states there are */
    return load_states(checkpoint, states, optim, params);
}
