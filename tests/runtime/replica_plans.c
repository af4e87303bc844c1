/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/replica_plans.h"

#include <math.h>

static void plain(plan_t *plan)
{
    (void)plan;
}

static void sgd(plan_t *plan)
{
    plan->optim = lks_optim_config_default(LKS_OPTIM_SGD);
    plan->optim.momentum = 0.9;
}

static void own_update(plan_t *plan)
{
    plan->own_update = true;
}

static void own_clip(plan_t *plan)
{
    own_update(plan);
    plan->own_clip = 3;
}

static void hook_fp16(plan_t *plan)
{
    plan->options.hook.kind = LKS_COMM_HOOK_FP16;
}

static void hook_bf16(plan_t *plan)
{
    plan->options.hook.kind = LKS_COMM_HOOK_BF16;
}

static void power_sgd(plan_t *plan)
{
    plan->power_sgd.start_iter = 2;
    plan->power_sgd.matrix_approximation_rank = 2;
    plan->options.hook.kind = LKS_COMM_HOOK_POWER_SGD;
}

/* The mean of what ranks have, the higher ones more; then a parameter's gradient is at most 1 long. */
static lks_status_t run_own_hook(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    float *data = bucket->data;
    (void)context;
    for (size_t i = 0; i < bucket->count; i++) {
        data[i] *= (float)(1 + lks_comm_rank(comm)) / (float)bucket->divisor;
    }
    LKS_TRY(
        lks_comm_all_reduce(comm, data, data, bucket->count, LKS_DTYPE_F32, LKS_REDUCE_SUM, NULL));
    for (size_t p = 0; p < bucket->param_count; p++) {
        double square = 0;
        float *grad = data + bucket->params[p].first;
        for (size_t i = 0; i < bucket->params[p].count; i++) {
            square += (double)grad[i] * (double)grad[i];
        }
        for (size_t i = 0; i < bucket->params[p].count && square > 1; i++) {
            grad[i] /= (float)sqrt(square);
        }
    }
    return LKS_OK;
}

static void own_hook(plan_t *plan)
{
    plan->options.hook = (lks_comm_hook_t){.kind = LKS_COMM_HOOK_OWN, .run = run_own_hook};
}

static void join(plan_t *plan)
{
    plan->joins = true;
}

static void join_divided_by_active(plan_t *plan)
{
    join(plan);
    plan->join.divide_by_initial_world_size = false;
}

static void join_hook_bf16(plan_t *plan)
{
    join_divided_by_active(plan);
    hook_bf16(plan);
}

static void join_power_sgd(plan_t *plan)
{
    join(plan);
    power_sgd(plan);
}

static void join_own_update(plan_t *plan)
{
    join(plan);
    own_clip(plan);
}

static void no_sync(plan_t *plan)
{
    plan->micro = 2;
}

static void join_no_sync(plan_t *plan)
{
    join(plan);
    no_sync(plan);
}

static void find_unused(plan_t *plan)
{
    plan->options.find_unused = true;
}

static void join_find_unused(plan_t *plan)
{
    join(plan);
    find_unused(plan);
}

static void static_graph(plan_t *plan)
{
    plan->options.static_graph = true;
}

static void clip_norm(plan_t *plan)
{
    plan->options.clip_norm = 3;
}

static void clip_value(plan_t *plan)
{
    plan->options.clip_value = 0.2;
    plan->options.measure_norm = true;
}

static void buffers_averaged(plan_t *plan)
{
    plan->options.buffers = LKS_BUFFERS_AVERAGE;
}

static void bfloat16(plan_t *plan)
{
    plan->dtype = LKS_DTYPE_BF16;
}

static void scaler(plan_t *plan)
{
    plan->dtype = LKS_DTYPE_F16;
    plan->scaler.scale = 1024;
    plan->scaler.growth_interval = 2;
    plan->options.grad_scaler = &plan->scaler;
    plan->bad_step = 2;
}

static void scaler_clip_hook_bf16(plan_t *plan)
{
    scaler(plan);
    clip_norm(plan);
    hook_bf16(plan);
}

static void join_scaler(plan_t *plan)
{
    join(plan);
    scaler(plan);
}

#define FEATURE(name)                                                                              \
    {                                                                                              \
#name, name                                                                                \
    }
static const struct feature {
    const char *name;
    void (*ask)(plan_t *plan); /* for what differs from the plain way */
} features[] = {
    FEATURE(plain),
    FEATURE(sgd),
    FEATURE(own_update),
    FEATURE(own_clip),
    FEATURE(hook_fp16),
    FEATURE(hook_bf16),
    FEATURE(power_sgd),
    FEATURE(own_hook),
    FEATURE(join),
    FEATURE(join_divided_by_active),
    FEATURE(join_hook_bf16),
    FEATURE(join_power_sgd),
    FEATURE(join_own_update),
    FEATURE(join_no_sync),
    FEATURE(join_find_unused),
    FEATURE(join_scaler),
    FEATURE(no_sync),
    FEATURE(find_unused),
    FEATURE(static_graph),
    FEATURE(clip_norm),
    FEATURE(clip_value),
    FEATURE(buffers_averaged),
    FEATURE(bfloat16),
    FEATURE(scaler),
    FEATURE(scaler_clip_hook_bf16),
};

bool plan_of(size_t index, plan_t *plan)
{
    if (index >= sizeof features / sizeof *features) {
        return false;
    }
    *plan = (plan_t){.name = features[index].name,
                     .options = lks_replica_options_default(),
                     .optim = lks_optim_config_default(LKS_OPTIM_ADAM),
                     .dtype = LKS_DTYPE_F32,
                     .power_sgd = lks_power_sgd_config_default(),
                     .scaler = lks_grad_scaler_default(),
                     .join = lks_join_options_default(),
                     .bad_step = -1};
    plan->options.bucket_bytes = plan->options.first_bucket_bytes = 5000;
    plan->options.hook.power_sgd = &plan->power_sgd;
    features[index].ask(plan);
    plan->options.optim = plan->own_update ? NULL : &plan->optim;
    return true;
}
