/* SPDX-License-Identifier: Apache-2.0 */
/* agree.c - what replicas must have in common: their parameters' descriptions, the values they start from, buffers and
 * the optimizer's state. */
#include "collectives/reduce.h"
#include "core/fnv.h"
#include "core/strbuf.h"
#include "runtime/replica/grad_sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- descriptions ------------------------------------------------------------------------------- */

/* A parameter as it travels: compared byte by byte, and shown in the sentence. */
enum { RECORD = 256 };

static void describe(const lks_sync_param_t *param, char record[RECORD])
{
    char shape[128];
    memset(record, 0, RECORD);
    (void)snprintf(record, RECORD, "%s%s %s %s", param->kind == LKS_PARAM_WEIGHT ? "" : "buffer ",
                   param->name, lks_dtype_name(param->dtype),
                   lks_shape_format(shape, sizeof shape, param->ndim, param->shape));
}

/* Over all of a rank's descriptions, names of any length among them. */
static uint64_t digest(const lks_grad_sync_t *sync)
{
    uint64_t hash = LKS_FNV_START;
    for (size_t i = 0; i < sync->param_count; i++) {
        char record[RECORD];
        describe(&sync->params[i], record);
        hash = lks_fnv(hash, sync->params[i].name, strlen(sync->params[i].name) + 1);
        hash = lks_fnv(hash, record, sizeof record);
    }
    return hash;
}

/* The first rank whose record is not that of rank 0; 0 if there is none. */
static int first_other(const char *records, int world_size)
{
    for (int i = 1; i < world_size; i++) {
        if (memcmp(records, records + (size_t)i * RECORD, RECORD) != 0) {
            return i;
        }
    }
    return 0;
}

/* Finds the first parameter that differs: all ranks look at the descriptions of one after the other. */
static lks_status_t name_difference(lks_grad_sync_t *sync, char *records)
{
    lks_comm_t *comm = sync->replica->comm;
    for (size_t i = 0; i <= sync->param_count; i++) {
        char record[RECORD] = "nothing more";
        if (i < sync->param_count) {
            describe(&sync->params[i], record);
        }
        LKS_TRY(lks_comm_all_gather(comm, record, records, RECORD, LKS_DTYPE_U8, NULL));
        int other = first_other(records, comm->world_size);
        if (other > 0) {
            return lks_fail(LKS_ERR_ABORTED,
                            "replicas differ in parameter %zu: rank 0 has %s, rank %d has %s", i,
                            records, other, records + (size_t)other * RECORD);
        }
    }
    return lks_fail(LKS_ERR_ABORTED, "replicas differ in the end of a long parameter name");
}

lks_status_t lks_grad_sync_compare(lks_grad_sync_t *sync)
{
    lks_comm_t *comm = sync->replica->comm;
    bool agree;
    LKS_TRY(lks_comm_agree(comm, digest(sync), &agree));
    if (agree) {
        return LKS_OK;
    }
    char *records = calloc((size_t)comm->world_size, RECORD);
    if (!records) {
        return lks_fail(LKS_ERR_NO_MEMORY, "comparing replicas: out of memory");
    }
    lks_status_t status = name_difference(sync, records);
    free(records);
    return status;
}

/* --- values and buffers ------------------------------------------------------------------------- */

static lks_status_t broadcast_param(lks_grad_sync_t *sync, const lks_sync_param_t *param)
{
    return lks_comm_broadcast(sync->replica->comm, param->value, param->count, param->dtype,
                              sync->root, NULL);
}

/* A module's parameters lie in a few blocks, and so they travel. */
static lks_status_t broadcast_block(lks_grad_sync_t *sync, lks_tensor_t block)
{
    if (!block.storage) {
        return LKS_OK;
    }
    return lks_comm_broadcast(sync->replica->comm, lks_tensor_data(&block),
                              (size_t)lks_tensor_numel(&block), block.dtype, sync->root, NULL);
}

lks_status_t lks_grad_sync_broadcast_values(lks_grad_sync_t *sync)
{
    const lks_module_t *module = sync->replica->module;
    if (module) {
        LKS_TRY(broadcast_block(sync, lks_module_flat_values(module)));
        return broadcast_block(sync, lks_module_flat_buffers(module));
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        LKS_TRY(broadcast_param(sync, &sync->params[i]));
    }
    return LKS_OK;
}

static bool is_float(lks_dtype_t dtype)
{
    return dtype == LKS_DTYPE_F64 || dtype == LKS_DTYPE_F32 || dtype == LKS_DTYPE_F16 ||
           dtype == LKS_DTYPE_BF16;
}

/* Over the ranks that have inputs. */
static lks_status_t average(lks_grad_sync_t *sync, const lks_sync_param_t *param)
{
    lks_comm_t *comm = sync->replica->comm;
    int active = lks_grad_sync_active(sync);
    void *value = param->value;
    const void *sum = value;
    if (sync->join.out) {
        memset(value, 0, param->count * lks_dtype_size(param->dtype));
    }
    if (active == comm->world_size) {
        return lks_comm_all_reduce(comm, value, value, param->count, param->dtype, LKS_REDUCE_AVG,
                                   NULL);
    }
    LKS_TRY(
        lks_comm_all_reduce(comm, value, value, param->count, param->dtype, LKS_REDUCE_SUM, NULL));
    lks_reduce(&(lks_reduction_t){.dtype = param->dtype,
                                  .op = LKS_REDUCE_AVG,
                                  .count = param->count,
                                  .sources = &sum,
                                  .source_count = 1,
                                  .targets = &value,
                                  .target_count = 1,
                                  .divisor = active});
    return LKS_OK;
}

lks_status_t lks_grad_sync_buffers(lks_grad_sync_t *sync)
{
    lks_buffer_mode_t mode = sync->options.buffers;
    for (size_t i = 0; i < sync->param_count && mode != LKS_BUFFERS_LEAVE; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        if (param->kind != LKS_PARAM_BUFFER) {
            continue;
        }
        if (mode == LKS_BUFFERS_AVERAGE && is_float(param->dtype)) {
            LKS_TRY(average(sync, param));
        } else {
            LKS_TRY(broadcast_param(sync, param));
        }
    }
    return LKS_OK;
}

/* --- the optimizer's state ---------------------------------------------------------------------- */

void lks_grad_sync_start_masters(lks_grad_sync_t *sync)
{
    const lks_optim_t *optim = sync->replica->optim;
    for (size_t i = 0; i < sync->param_count && optim; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        lks_tensor_t master = lks_optim_master(optim, i);
        if (master.storage) {
            lks_kernels_widen(sync->kernels, param->dtype, lks_tensor_data(&master), param->value,
                              param->count);
        }
    }
}

/* One rank of each process passes a block of the state itself, the others something to write on. */
static lks_status_t broadcast_state(lks_grad_sync_t *sync, lks_tensor_t block, float *scratch)
{
    enum { CHUNK = 1 << 18 };
    lks_comm_t *comm = sync->replica->comm;
    float *data = block.storage ? lks_tensor_data(&block) : NULL;
    for (size_t at = 0; at < sync->state_count && block.storage; at += CHUNK) {
        size_t count = sync->state_count - at < CHUNK ? sync->state_count - at : CHUNK;
        float *buffer = sync->index == 0 ? data + at : scratch;
        LKS_TRY(lks_comm_broadcast(comm, buffer, count, LKS_DTYPE_F32, 0, NULL));
    }
    return LKS_OK;
}

static lks_status_t broadcast_states(lks_grad_sync_t *sync)
{
    lks_optim_t *optim = sync->replica->optim;
    float *scratch = malloc(((size_t)1 << 18) * sizeof *scratch);
    if (!scratch) {
        return lks_fail(LKS_ERR_NO_MEMORY, "an optimizer's state: out of memory");
    }
    lks_status_t status = LKS_OK;
    for (size_t i = 0; i < lks_optim_state_count(optim) && status == LKS_OK; i++) {
        status = broadcast_state(sync, lks_optim_flat_state(optim, i), scratch);
    }
    if (status == LKS_OK) {
        status = broadcast_state(sync, lks_optim_flat_master(optim), scratch);
    }
    free(scratch);
    return status;
}

lks_status_t lks_grad_sync_share_optim(lks_grad_sync_t *sync)
{
    lks_comm_t *comm = sync->replica->comm;
    lks_optim_t *optim = sync->replica->optim;
    if (!optim) {
        return LKS_OK;
    }
    if (sync->index > 0) {
        lks_optim_share_state(optim, sync->peers[0]->replica->optim);
    }
    if (sync->peer_count < comm->world_size) {
        LKS_TRY(broadcast_states(sync));
    }
    int64_t steps = lks_optim_steps(optim);
    LKS_TRY(lks_comm_broadcast(comm, &steps, 1, LKS_DTYPE_I64, 0, NULL));
    lks_optim_set_steps(optim, steps);
    if (!sync->options.grad_scaler) {
        return LKS_OK;
    }
    return lks_comm_broadcast(comm, &sync->scaler, sizeof sync->scaler, LKS_DTYPE_U8, 0, NULL);
}
