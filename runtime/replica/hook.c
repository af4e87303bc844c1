/* SPDX-License-Identifier: Apache-2.0 */
/* hook.c - what becomes of a full bucket before it is posted.
 * Compressed, the exchange sees a 16-bit copy of the bucket, and what it sums goes to the update as ever, or back into the
 * buckets. A hook leaves the finished gradient in every rank's bucket, so that the exchange only hands out parts. */
#include "collectives/reduce.h"
#include "core/convert.h"
#include "runtime/kernels/exec_team.h"
#include "runtime/replica/grad_sync.h"
#include "runtime/replica/power_sgd.h"

#include <stdlib.h>
#include <string.h>

static bool compresses(const lks_grad_sync_t *sync)
{
    lks_comm_hook_kind_t kind = sync->options.hook.kind;
    return kind == LKS_COMM_HOOK_FP16 || kind == LKS_COMM_HOOK_BF16;
}

lks_status_t lks_grad_sync_check_hook(const lks_comm_hook_t *hook)
{
    if ((unsigned)hook->kind >= LKS_COMM_HOOK_COUNT) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a communication hook of kind %d", (int)hook->kind);
    }
    if (hook->kind == LKS_COMM_HOOK_OWN && !hook->run) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a communication hook of one's own has no function to run");
    }
    return hook->kind == LKS_COMM_HOOK_POWER_SGD && hook->power_sgd
               ? lks_power_sgd_check(hook->power_sgd)
               : LKS_OK;
}

lks_status_t lks_grad_sync_hook_init(lks_grad_sync_t *sync)
{
    lks_comm_hook_t *hook = &sync->options.hook;
    const lks_power_sgd_config_t defaults = lks_power_sgd_config_default();
    if (hook->kind != LKS_COMM_HOOK_POWER_SGD) {
        return LKS_OK;
    }
    lks_power_sgd_shape_t *shapes = calloc(sync->param_count + 1, sizeof *shapes);
    if (!shapes) {
        return lks_fail(LKS_ERR_NO_MEMORY, "PowerSGD: out of memory");
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        shapes[i] = (lks_power_sgd_shape_t){.float32 = param->kind == LKS_PARAM_WEIGHT &&
                                                       param->dtype == LKS_DTYPE_F32,
                                            .ndim = param->ndim,
                                            .shape = param->shape};
    }
    lks_status_t status =
        lks_power_sgd_create(hook->power_sgd ? hook->power_sgd : &defaults, shapes,
                             sync->param_count, sync->replica->exec, &sync->hook.power_sgd);
    free(shapes);
    *hook = (lks_comm_hook_t){
        .kind = hook->kind, .run = lks_power_sgd_run, .context = sync->hook.power_sgd};
    return status;
}

lks_power_sgd_t *lks_replica_power_sgd(lks_replica_t *replica)
{
    return replica->sync->hook.power_sgd;
}

lks_reduce_op_t lks_grad_sync_exchange_op(const lks_grad_sync_t *sync)
{
    return compresses(sync) ? LKS_REDUCE_SUM : sync->options.reduce;
}

/* --- buckets ------------------------------------------------------------------------------------ */

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a communication hook's buckets: out of memory");
}

static void forget_buckets(lks_sync_hook_t *hook)
{
    lks_comm_memory_destroy(hook->wire);
    free(hook->sent);
    free(hook->buckets);
    free(hook->params);
    hook->wire = NULL;
    hook->sent = NULL;
    hook->buckets = NULL;
    hook->params = NULL;
}

void lks_grad_sync_hook_fini(lks_grad_sync_t *sync)
{
    forget_buckets(&sync->hook);
    lks_power_sgd_destroy(sync->hook.power_sgd);
}

/* Bucket `b` as a hook sees it; its parameters go to `params`. */
static void describe(const lks_grad_sync_t *sync, size_t b, lks_grad_bucket_param_t *params)
{
    const lks_exchange_bucket_t *from = &sync->exchange_buckets[b];
    lks_grad_bucket_t *bucket = &sync->hook.buckets[b];
    *bucket = (lks_grad_bucket_t){.index = b,
                                  .is_last = b + 1 == sync->bucket_count,
                                  .dtype = from->dtype,
                                  .count = from->count,
                                  .data = from->data,
                                  .params = params};
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT && param->bucket == b) {
            params[bucket->param_count++] = (lks_grad_bucket_param_t){.param = i,
                                                                      .first = param->first,
                                                                      .count = param->count,
                                                                      .ndim = param->ndim,
                                                                      .shape = param->shape};
        }
    }
}

/* 16-bit copies, each from a cache line on. */
static lks_status_t make_wire(lks_grad_sync_t *sync)
{
    enum { LINE = 64 / sizeof(uint16_t) };
    lks_sync_hook_t *hook = &sync->hook;
    size_t elements = 0;
    for (size_t b = 0; b < sync->bucket_count; b++) {
        elements += (hook->sent[b].count + LINE - 1) / LINE * LINE;
    }
    LKS_TRY(lks_comm_memory_create(sync->replica->comm, elements * sizeof(uint16_t), &hook->wire));
    uint16_t *next = lks_comm_memory_data(hook->wire);
    for (size_t b = 0; b < sync->bucket_count; b++) {
        hook->sent[b].data = next;
        hook->sent[b].dtype =
            sync->options.hook.kind == LKS_COMM_HOOK_FP16 ? LKS_DTYPE_F16 : LKS_DTYPE_BF16;
        next += (hook->sent[b].count + LINE - 1) / LINE * LINE;
    }
    return LKS_OK;
}

lks_status_t lks_grad_sync_set_buckets(lks_grad_sync_t *sync)
{
    lks_sync_hook_t *hook = &sync->hook;
    size_t count = sync->bucket_count;
    if (sync->options.hook.kind == LKS_COMM_HOOK_NONE) {
        return lks_exchange_set_buckets(sync->exchange, sync->exchange_buckets, count);
    }
    forget_buckets(hook);
    hook->sent = calloc(count + 1, sizeof *hook->sent);
    hook->buckets = calloc(count + 1, sizeof *hook->buckets);
    hook->params = calloc(sync->weights + 1, sizeof *hook->params);
    if (!hook->sent || !hook->buckets || !hook->params) {
        return out_of_memory();
    }
    lks_grad_bucket_param_t *params = hook->params;
    for (size_t b = 0; b < count; b++) {
        describe(sync, b, params);
        params += hook->buckets[b].param_count;
        hook->sent[b] = sync->exchange_buckets[b];
        hook->sent[b].reduced = !compresses(sync);
    }
    if (compresses(sync)) {
        LKS_TRY(make_wire(sync));
    }
    return lks_exchange_set_buckets(sync->exchange, hook->sent, count);
}

/* --- 16 bits ------------------------------------------------------------------------------------ */

enum { BLOCK = 1024 }; /* floats */

typedef struct compression {
    const lks_grad_bucket_t *from;
    const lks_exchange_bucket_t *to;
} compression_t;

/* Elements [first, first + count) of a bucket as float32: themselves, or converted into `block`. */
static const void *as_floats(const lks_grad_bucket_t *bucket, size_t first, size_t count,
                             float block[BLOCK])
{
    size_t size = lks_dtype_size(bucket->dtype);
    const unsigned char *at = (const unsigned char *)bucket->data + first * size;
    if (bucket->dtype == LKS_DTYPE_F32) {
        return at;
    }
    lks_convert_row(LKS_DTYPE_F32, (unsigned char *)block, sizeof *block, bucket->dtype, at, size,
                    count);
    return block;
}

/* Rounded to 16 bits, divided, rounded again, as PyTorch does it. float32 is what a reduction of 16-bit floats takes for
 * partials, and so the reduction's loops convert. */
static void compress_block(const compression_t *job, size_t first, size_t count)
{
    float block[BLOCK];
    const void *numbers = as_floats(job->from, first, count, block);
    void *wire = (uint16_t *)job->to->data + first;
    const void *rounded = wire;
    lks_reduce(&(lks_reduction_t){.dtype = job->to->dtype,
                                  .op = LKS_REDUCE_SUM,
                                  .count = count,
                                  .sources = &numbers,
                                  .source_count = 1,
                                  .partial_sources = true,
                                  .targets = &wire,
                                  .target_count = 1});
    if (job->from->divisor > 1) {
        lks_reduce(&(lks_reduction_t){.dtype = job->to->dtype,
                                      .op = LKS_REDUCE_AVG,
                                      .count = count,
                                      .sources = &rounded,
                                      .source_count = 1,
                                      .targets = &wire,
                                      .target_count = 1,
                                      .divisor = job->from->divisor});
    }
}

static void compress_part(void *context, size_t index, size_t threads)
{
    const compression_t *job = context;
    lks_part_t part = lks_exec_part(job->from->count, BLOCK, index, threads);
    for (size_t at = part.begin; at < part.end; at += BLOCK) {
        compress_block(job, at, part.end - at < BLOCK ? part.end - at : BLOCK);
    }
}

static void compress(const lks_grad_sync_t *sync, size_t b)
{
    compression_t job = {&sync->hook.buckets[b], &sync->hook.sent[b]};
    if (sync->replica->exec) {
        lks_exec_run(sync->replica->exec, job.from->count * 6, compress_part, &job);
    } else {
        compress_part(&job, 0, 1);
    }
}

/* Into the buckets of all peers, which have posted theirs. */
static void write_back(void *context, size_t b, size_t first, size_t count, const void *numbers)
{
    const lks_grad_sync_t *sync = context;
    for (int i = 0; i < sync->peer_count; i++) {
        const lks_exchange_bucket_t *bucket = &sync->peers[i]->exchange_buckets[b];
        size_t size = lks_dtype_size(bucket->dtype);
        unsigned char *to = (unsigned char *)bucket->data + first * size;
        if (bucket->dtype == LKS_DTYPE_F32) {
            memcpy(to, numbers, count * size);
        } else {
            lks_convert_row(bucket->dtype, to, size, LKS_DTYPE_F32, numbers, sizeof(float), count);
        }
    }
}

lks_sync_take_t lks_grad_sync_take_without_update(const lks_grad_sync_t *sync)
{
    return compresses(sync) ? write_back : NULL;
}

/* --- hooks -------------------------------------------------------------------------------------- */

lks_status_t lks_comm_hook_all_reduce(void *context, lks_comm_t *comm,
                                      const lks_grad_bucket_t *bucket)
{
    const void *source = bucket->data;
    bool by_world_size = bucket->divisor == lks_comm_world_size(comm);
    (void)context;
    if (!by_world_size && bucket->divisor > 1) {
        lks_reduce(&(lks_reduction_t){.dtype = bucket->dtype,
                                      .op = LKS_REDUCE_AVG,
                                      .count = bucket->count,
                                      .sources = &source,
                                      .source_count = 1,
                                      .targets = (void *[]){bucket->data},
                                      .target_count = 1,
                                      .divisor = bucket->divisor});
    }
    return lks_comm_all_reduce(comm, bucket->data, bucket->data, bucket->count, bucket->dtype,
                               by_world_size ? LKS_REDUCE_AVG : LKS_REDUCE_SUM, NULL);
}

/* Ends the job with the hook's sentence, unless it tells only that the job has ended. */
static lks_status_t end_job(const lks_grad_sync_t *sync, size_t b, lks_status_t failed)
{
    if (failed == LKS_ERR_ABORTED) {
        return failed;
    }
    if (lks_last_error()->status != failed) { /* a sentence of something else, or none */
        (void)lks_fail(failed, "%s", lks_status_name(failed));
    }
    (void)lks_error_prefix(failed, "communication hook of bucket %zu", b);
    const lks_error_t error = *lks_last_error();
    lks_comm_abort(sync->replica->comm, error.message);
    return lks_error_raise(&error);
}

lks_status_t lks_grad_sync_run_hook(lks_grad_sync_t *sync, size_t b)
{
    const lks_comm_hook_t *hook = &sync->options.hook;
    if (hook->kind == LKS_COMM_HOOK_NONE) {
        return LKS_OK;
    }
    lks_grad_bucket_t *bucket = &sync->hook.buckets[b];
    bucket->divisor = sync->divisor;
    if (compresses(sync)) {
        compress(sync, b);
        return LKS_OK;
    }
    lks_status_t status = hook->run(hook->context, sync->replica->comm, bucket);
    return status == LKS_OK ? LKS_OK : end_job(sync, b, status);
}
