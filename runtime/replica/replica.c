/* SPDX-License-Identifier: Apache-2.0 */
/* replica.c - a replica's life, and its steps. */
#include "runtime/kernels/exec_team.h"
#include "runtime/nn/module_ops.h"
#include "runtime/replica/grad_sync.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lks_replica_options_t lks_replica_options_default(void)
{
    return (lks_replica_options_t){.bucket_bytes = (size_t)25 << 20,
                                   .first_bucket_bytes = (size_t)1 << 20,
                                   .reduce = LKS_REDUCE_AVG};
}

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a replica: out of memory");
}

/* --- life --------------------------------------------------------------------------------------- */

static lks_status_t check_options(const lks_replica_options_t *options)
{
    if (options->bucket_bytes == 0 || options->first_bucket_bytes == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a bucket of 0 bytes holds no gradient");
    }
    if (options->reduce != LKS_REDUCE_AVG && options->reduce != LKS_REDUCE_SUM) {
        return lks_fail(LKS_ERR_INVALID_ARG, "gradients are averaged or summed, not reduced by %d",
                        (int)options->reduce);
    }
    if (!(options->clip_norm >= 0) || !(options->clip_value >= 0)) {
        return lks_fail(
            LKS_ERR_INVALID_ARG,
            "gradients clipped to a norm of %g and values of %g; both must be at least 0",
            options->clip_norm, options->clip_value);
    }
    if (options->grad_scaler && !options->optim) {
        return lks_fail(
            LKS_ERR_INVALID_ARG,
            "a replica's loss scaler needs an optimizer of ours; who updates, unscales");
    }
    if (options->grad_scaler) {
        LKS_TRY(lks_grad_scaler_check(options->grad_scaler));
    }
    return lks_grad_sync_check_hook(&options->hook);
}

static lks_status_t make_optim(lks_grad_sync_t *sync)
{
    lks_replica_t *replica = sync->replica;
    if (!sync->options.optim) {
        return LKS_OK;
    }
    sync->optim_config = *sync->options.optim;
    sync->options.optim = &sync->optim_config;
    if (replica->module) {
        return lks_optim_create(&sync->optim_config, replica->module, &replica->optim);
    }
    lks_tensor_t *layout = calloc(sync->param_count + 1, sizeof *layout);
    if (!layout) {
        return out_of_memory();
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        layout[i].ndim = -1;
        if (param->kind == LKS_PARAM_WEIGHT) {
            layout[i] = (lks_tensor_t){
                .dtype = param->dtype, .ndim = param->ndim, .offset = (int64_t)param->state};
            memcpy(layout[i].shape, param->shape, sizeof param->shape);
            lks_shape_contiguous_stride(param->ndim, param->shape, layout[i].stride);
        }
    }
    lks_status_t status =
        lks_optim_create_flat(&sync->optim_config, lks_device_host(), layout, sync->param_count,
                              sync->state_count, &replica->optim);
    free(layout);
    return status;
}

/* Whether a rank had better update all of its parameters than a part of everybody's. */
static bool is_alone(const lks_grad_sync_t *sync)
{
    const lks_comm_t *comm = sync->replica->comm;
    size_t nbytes = 0;
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT) {
            nbytes += param->padded * lks_dtype_size(param->dtype);
        }
    }
    return comm->processes == 1 && comm->local_size > 1 && nbytes <= LKS_EXCHANGE_EACH_MOST;
}

/* Every rank learns where its peers' are. */
static lks_status_t find_peers(lks_grad_sync_t *sync)
{
    lks_comm_t *comm = sync->replica->comm;
    int64_t address = (int64_t)(intptr_t)sync;
    int64_t *all = calloc((size_t)comm->world_size, sizeof *all);
    sync->alone = is_alone(sync);
    sync->peer_count = sync->alone ? 1 : comm->local_size;
    sync->index = sync->alone ? 0 : comm->rank - comm->local_first;
    sync->peers = calloc((size_t)sync->peer_count, sizeof(lks_grad_sync_t *));
    if (!all || !sync->peers) {
        free(all);
        return out_of_memory();
    }
    lks_status_t status = lks_comm_all_gather(comm, &address, all, 1, LKS_DTYPE_I64, NULL);
    int first = comm->rank - sync->index;
    for (int i = 0; i < sync->peer_count && status == LKS_OK; i++) {
        sync->peers[i] = (lks_grad_sync_t *)(intptr_t)all[first + i];
    }
    free(all);
    return status;
}

static void spread(void *context, size_t work, void (*run)(void *job, size_t index, size_t threads),
                   void *job)
{
    const lks_grad_sync_t *sync = context;
    lks_exec_run(sync->replica->exec, work, run, job);
}

static lks_status_t set_up(lks_grad_sync_t *sync, const lks_replica_param_t *params)
{
    lks_replica_t *replica = sync->replica;
    lks_exchange_config_t exchange = {.op = lks_grad_sync_exchange_op(sync),
                                      .context = sync,
                                      .spread = replica->exec ? spread : NULL};
    size_t count = sync->param_count + 1;
    sync->params = calloc(count, sizeof *sync->params);
    sync->order = calloc(count, sizeof *sync->order);
    sync->seen = calloc(count, sizeof *sync->seen);
    sync->used = calloc(count, sizeof *sync->used);
    if (!sync->params || !sync->order || !sync->seen || !sync->used) {
        return out_of_memory();
    }
    LKS_TRY(params ? lks_grad_sync_register(sync, params) : lks_grad_sync_register_module(sync));
    LKS_TRY(lks_grad_sync_compare(sync));
    LKS_TRY(params ? LKS_OK : lks_grad_sync_find_module_grads(sync));
    LKS_TRY(lks_grad_sync_hook_init(sync));
    LKS_TRY(make_optim(sync));
    LKS_TRY(find_peers(sync));
    size_t ready = 0;
    for (size_t i = sync->param_count; i-- > 0;) { /* the last layer's gradients come first */
        if (sync->params[i].kind == LKS_PARAM_WEIGHT) {
            sync->order[ready++] = i;
        }
    }
    exchange.each = sync->alone;
    LKS_TRY(lks_exchange_create(replica->comm, &exchange, &sync->exchange));
    LKS_TRY(lks_grad_sync_lay_out(sync));
    LKS_TRY(lks_grad_sync_broadcast_values(sync));
    lks_grad_sync_start_masters(sync);
    LKS_TRY(lks_grad_sync_share_optim(sync));
    lks_grad_sync_reset(sync);
    lks_grad_sync_choose_path(sync);
    return LKS_OK;
}

lks_status_t lks_grad_sync_create(lks_replica_t *replica, const lks_replica_param_t *params,
                                  size_t count, const lks_replica_options_t *options)
{
    lks_grad_sync_t *sync = calloc(1, sizeof *sync);
    if (!sync) {
        return out_of_memory();
    }
    *sync = (lks_grad_sync_t){.replica = replica,
                              .options = options ? *options : lks_replica_options_default(),
                              .kernels = lks_kernels_get(),
                              .param_count = count};
    sync->divisor = sync->options.reduce == LKS_REDUCE_AVG ? replica->world_size : 1;
    lks_status_t status = check_options(&sync->options);
    if (status == LKS_OK) {
        if (sync->options.grad_scaler) {
            sync->scaler = *sync->options.grad_scaler;
            sync->options.grad_scaler = &sync->scaler;
        }
        status = set_up(sync, params);
    }
    if (status != LKS_OK) {
        lks_error_t error = *lks_last_error();
        lks_comm_abort(replica->comm, error.message);
        lks_grad_sync_destroy(sync);
        return lks_error_raise(&error);
    }
    replica->sync = sync;
    return LKS_OK;
}

void lks_grad_sync_destroy(lks_grad_sync_t *sync)
{
    if (!sync) {
        return;
    }
    lks_exchange_destroy(sync->exchange); /* first: then no peer touches the rest */
    lks_optim_destroy(sync->replica->optim);
    sync->replica->optim = NULL;
    lks_comm_memory_destroy(sync->memory);
    lks_device_free(lks_device_host(), sync->accumulated);
    lks_grad_sync_hook_fini(sync);
    free(sync->exchange_buckets);
    free(sync->buckets);
    free(sync->pieces);
    free(sync->params);
    free(sync->names);
    free(sync->order);
    free(sync->seen);
    free(sync->used);
    free(sync->peers);
    free(sync->join.words);
    free(sync);
}

lks_status_t lks_replica_create(lks_comm_t *comm, const lks_replica_param_t *params, size_t count,
                                const lks_replica_options_t *options, lks_replica_t **out)
{
    static const lks_replica_param_t none;
    lks_replica_t *replica = calloc(1, sizeof *replica);
    if (!replica) {
        return out_of_memory();
    }
    *replica = (lks_replica_t){.rank = lks_comm_rank(comm),
                               .world_size = lks_comm_world_size(comm),
                               .device = lks_device_host(),
                               .comm = comm};
    lks_status_t status = lks_grad_sync_create(replica, count ? params : &none, count, options);
    if (status != LKS_OK) {
        free(replica);
        return status;
    }
    *out = replica;
    return LKS_OK;
}

void lks_replica_destroy(lks_replica_t *replica)
{
    if (replica) {
        lks_grad_sync_destroy(replica->sync);
        free(replica);
    }
}

/* --- steps -------------------------------------------------------------------------------------- */

lks_status_t lks_grad_sync_begin(lks_grad_sync_t *sync)
{
    bool accumulating = false;
    for (size_t i = 0; i < sync->param_count; i++) {
        accumulating |= sync->params[i].pending;
    }
    if (!sync->goes_on) {
        LKS_TRY(lks_grad_sync_buffers(sync));
    }
    sync->goes_on = sync->no_sync;
    if (sync->steps == 1 && !sync->rebuilt && !accumulating) {
        LKS_TRY(lks_grad_sync_rebuild(sync));
        lks_grad_sync_cut_pieces(sync);
    }
    lks_grad_sync_reset(sync);
    lks_grad_sync_choose_path(sync);
    return LKS_OK;
}

lks_status_t lks_replica_begin(lks_replica_t *replica)
{
    lks_grad_sync_t *sync = replica->sync;
    LKS_TRY(lks_grad_sync_tell(sync, sync->no_sync ? LKS_SYNC_ACCUMULATES : LKS_SYNC_STEPS));
    return lks_grad_sync_begin(sync);
}

void *lks_replica_grad(lks_replica_t *replica, size_t param)
{
    return param < replica->sync->param_count ? replica->sync->params[param].grad : NULL;
}

void lks_replica_set_sync(lks_replica_t *replica, bool sync)
{
    replica->sync->no_sync = !sync;
}

lks_status_t lks_replica_finish(lks_replica_t *replica)
{
    lks_grad_sync_t *sync = replica->sync;
    LKS_TRY(lks_grad_sync_finish(sync));
    sync->steps += !sync->no_sync;
    return LKS_OK;
}

/* torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)). */
static double clip_factor(double norm, double max_norm)
{
    double factor = max_norm / (norm + 1e-6);
    return factor > 1 ? 1 : factor; /* a NaN stays */
}

/* Unscales and counts a step of the scaler's. A sum of squares of float32 gradients is finite in float64 unless one of
 * them is not, and all ranks have the same sum. */
static bool skips(lks_grad_sync_t *sync)
{
    bool found_inf = !isfinite(sync->norm);
    sync->scale = lks_grad_scaler_inverse(&sync->scaler);
    sync->norm *= (double)sync->scale;
    lks_grad_scaler_update(&sync->scaler, found_inf);
    sync->skipped += found_inf;
    return found_inf;
}

lks_status_t lks_replica_step(lks_replica_t *replica)
{
    lks_grad_sync_t *sync = replica->sync;
    const lks_replica_options_t *options = &sync->options;
    if (!replica->optim) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a replica without an optimizer cannot step");
    }
    LKS_TRY(lks_replica_finish(replica));
    if (sync->no_sync) {
        return LKS_OK;
    }
    if (options->clip_norm > 0 || options->measure_norm || options->grad_scaler) {
        LKS_TRY(lks_grad_sync_norm(sync, &sync->norm));
    }
    if (sync->fused || (options->grad_scaler && skips(sync))) {
        return LKS_OK;
    }
    if (options->clip_norm > 0) {
        double factor = clip_factor(sync->norm, options->clip_norm);
        sync->scale = (float)((double)sync->scale * factor);
    }
    return lks_grad_sync_update(sync);
}

double lks_replica_loss_scale(const lks_replica_t *replica)
{
    const lks_grad_sync_t *sync = replica->sync;
    return sync->options.grad_scaler ? (double)sync->scaler.scale : 1;
}

lks_grad_scaler_t *lks_replica_grad_scaler(const lks_replica_t *replica)
{
    return replica->sync->options.grad_scaler ? &replica->sync->scaler : NULL;
}

int64_t lks_replica_skipped_steps(const lks_replica_t *replica)
{
    return replica->sync->skipped;
}

double lks_replica_grad_norm(const lks_replica_t *replica)
{
    return replica->sync->norm;
}

void lks_replica_set_timing(lks_replica_t *replica, bool timing)
{
    lks_exchange_set_timing(replica->sync->exchange, timing);
}

double lks_replica_hidden_share(lks_replica_t *replica)
{
    lks_grad_sync_t *sync = replica->sync;
    lks_exchange_times_t now = lks_exchange_times(sync->exchange), before = sync->told;
    double hidden = (double)(now.hidden - before.hidden);
    double all = hidden + (double)(now.exposed - before.exposed);
    sync->told = now;
    return replica->world_size > 1 && all > 0 ? hidden / all : (double)NAN;
}

lks_status_t lks_grad_sync_set_trace(lks_grad_sync_t *sync, lks_trace_t *trace)
{
    lks_replica_t *replica = sync->replica;
    lks_trace_row_t *compute, *comm;
    LKS_TRY(lks_trace_row(trace, replica->rank, LKS_TRACE_COMPUTE, &compute));
    LKS_TRY(lks_trace_row(trace, replica->rank, LKS_TRACE_COMM, &comm));
    if (replica->module && trace) {
        lks_module_name_spans(replica->module, trace);
    }
    if (replica->exec) {
        lks_exec_set_trace_row(replica->exec, compute);
    }
    return lks_exchange_set_trace(sync->exchange, trace, comm);
}

static void scale(lks_grad_sync_t *sync, double factor)
{
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        for (size_t k = 0; k < param->count && param->kind == LKS_PARAM_WEIGHT; k++) {
            switch (param->dtype) {
            case LKS_DTYPE_F64: ((double *)(void *)param->grad)[k] *= factor; break;
            case LKS_DTYPE_F32: ((float *)(void *)param->grad)[k] *= (float)factor; break;
            case LKS_DTYPE_F16: {
                uint16_t *x = (uint16_t *)(void *)param->grad + k;
                *x = lks_f32_to_f16(lks_f16_to_f32(*x) * (float)factor);
                break;
            }
            default: {
                uint16_t *x = (uint16_t *)(void *)param->grad + k;
                *x = lks_f32_to_bf16(lks_bf16_to_f32(*x) * (float)factor);
                break;
            }
            }
        }
    }
}

lks_status_t lks_replica_clip_norm(lks_replica_t *replica, double max_norm, double *norm)
{
    double found;
    LKS_TRY(lks_grad_sync_tell(replica->sync, LKS_SYNC_CLIPS));
    LKS_TRY(lks_grad_sync_norm(replica->sync, &found));
    scale(replica->sync, clip_factor(found, max_norm));
    if (norm) {
        *norm = found;
    }
    return LKS_OK;
}

lks_status_t lks_replica_broadcast(lks_replica_t *replica)
{
    for (size_t i = 0; i < replica->sync->param_count; i++) {
        replica->sync->params[i].skipped = 0; /* a state that was loaded has one count of steps */
    }
    LKS_TRY(lks_grad_sync_broadcast_values(replica->sync));
    return lks_grad_sync_share_optim(replica->sync);
}
