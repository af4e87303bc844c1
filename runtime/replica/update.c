/* SPDX-License-Identifier: Apache-2.0 */
/* update.c - from reduced gradients to parameters. A rank updates its part of every bucket with the states that all
 * ranks of its process share, and copies the new values to its peers. */
#include "core/isa.h"
#include "runtime/kernels/exec_team.h"
#include "runtime/replica/grad_sync.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1024 }; /* floats: stays in the first-level cache */

/* grad x scale, clamped: what clipping leaves of it. */
static const float *adjusted(const lks_grad_sync_t *sync, const float *grad, size_t count,
                             float *block)
{
    float scale = sync->scale, limit = (float)sync->options.clip_value;
    if (scale == 1 && limit == 0) {
        return grad;
    }
    for (size_t i = 0; i < count; i++) {
        block[i] = grad[i] * scale;
    }
    for (size_t i = 0; i < count && limit > 0; i++) { /* a NaN stays */
        block[i] = block[i] > limit ? limit : block[i] < -limit ? -limit : block[i];
    }
    return block;
}

/* At most BLOCK values of one piece, from element `skip` of it on. */
static void update_run(const lks_grad_sync_t *sync, size_t piece, size_t skip, size_t count,
                       const float *grad)
{
    float block[BLOCK];
    const lks_sync_piece_t *run = &sync->pieces[piece];
    const lks_replica_t *replica = sync->replica;
    lks_dtype_t dtype = sync->params[run->param].dtype;
    size_t size = lks_dtype_size(dtype);
    char *value = run->value + skip * size;
    lks_optim_update_t update = sync->update;
    if (sync->params[run->param].skipped > 0) {
        lks_optim_skip(replica->optim, sync->params[run->param].skipped, &update);
    }
    lks_optim_apply(replica->optim, sync->kernels, &update, dtype, value,
                    adjusted(sync, grad, count, block), run->state + skip, count);
    for (int i = 0; i < sync->peer_count; i++) {
        const lks_grad_sync_t *peer = sync->peers[i];
        if (peer != sync) {
            memcpy(peer->pieces[piece].value + skip * size, value, count * size);
        }
    }
}

/* The first piece of a bucket that ends behind element `first`. */
static size_t find_piece(const lks_grad_sync_t *sync, const lks_sync_bucket_t *bucket, size_t first)
{
    size_t low = bucket->first_piece, high = low + bucket->piece_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const lks_sync_piece_t *piece = &sync->pieces[middle];
        if (piece->first + piece->count <= first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Eight sums side by side: one addition need not wait for the last, and the compiler has vectors to fill. */
static double square_sum(const float *x, size_t count)
{
    enum { WIDTH = 8 };
    double sums[WIDTH] = {0}, sum = 0;
    size_t i = 0;
    for (; i + WIDTH <= count; i += WIDTH) {
        for (size_t k = 0; k < WIDTH; k++) {
            sums[k] += (double)x[i + k] * (double)x[i + k];
        }
    }
    for (; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    for (size_t k = 0; k < WIDTH; k++) {
        sum += sums[k];
    }
    return sum;
}

/* Several threads of a rank may do so at once; a norm that is only shown may depend on their order. */
static void add_squares(lks_grad_sync_t *sync, const float *grads, size_t count)
{
    double sum = square_sum(grads, count);
    double before = atomic_load_explicit(&sync->squares, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&sync->squares, &before, before + sum,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

void lks_grad_sync_take(void *context, size_t bucket, size_t first, size_t count,
                        const void *numbers)
{
    const lks_grad_sync_t *sync = context;
    const lks_sync_bucket_t *of = &sync->buckets[bucket];
    const float *grads = numbers;
    size_t end = first + count, last = of->first_piece + of->piece_count;
    if (sync->fused && sync->options.measure_norm) {
        add_squares((lks_grad_sync_t *)context, grads, count);
    }
    for (size_t i = find_piece(sync, of, first); i < last && sync->pieces[i].first < end; i++) {
        const lks_sync_piece_t *piece = &sync->pieces[i];
        size_t from = piece->first > first ? piece->first : first;
        size_t to = piece->first + piece->count < end ? piece->first + piece->count : end;
        if (!sync->finding || sync->params[piece->param].used) {
            update_run(sync, i, from - piece->first, to - from, grads + (from - first));
        }
    }
}

/* --- when all buckets came first ---------------------------------------------------------------- */

/* Elements in a cache line, which no two ranks or threads share. */
static size_t grain_of(const lks_exchange_bucket_t *bucket)
{
    return 64 / lks_dtype_size(bucket->dtype);
}

/* This rank's part of a bucket. */
static lks_part_t own_part(const lks_grad_sync_t *sync, size_t bucket)
{
    const lks_exchange_bucket_t *own = &sync->exchange_buckets[bucket];
    return lks_exec_part(own->count, grain_of(own), (size_t)sync->index, (size_t)sync->peer_count);
}

/* Elements [first, first + count), at most BLOCK of them, as float32: where they lie, or in `block`. */
static const float *floats_of(const lks_grad_sync_t *sync, const lks_exchange_bucket_t *bucket,
                              size_t first, size_t count, float *block)
{
    if (bucket->dtype == LKS_DTYPE_F32) {
        return (const float *)bucket->data + first;
    }
    lks_kernels_widen(sync->kernels, bucket->dtype, block, (const uint16_t *)bucket->data + first,
                      count);
    return block;
}

typedef struct sweep {
    const lks_grad_sync_t *sync;
    size_t bucket;
} sweep_t;

static void sweep_part(void *job, size_t index, size_t threads)
{
    float block[BLOCK];
    const sweep_t *sweep = job;
    const lks_grad_sync_t *sync = sweep->sync;
    const lks_exchange_bucket_t *bucket = &sync->exchange_buckets[sweep->bucket];
    lks_part_t own = own_part(sync, sweep->bucket);
    lks_part_t part = lks_exec_part(own.end - own.begin, grain_of(bucket), index, threads);
    for (size_t at = own.begin + part.begin, end = own.begin + part.end; at < end; at += BLOCK) {
        size_t count = end - at < BLOCK ? end - at : BLOCK;
        const float *grads = floats_of(sync, bucket, at, count, block);
        lks_grad_sync_take((void *)sync, sweep->bucket, at, count, grads);
    }
}

lks_status_t lks_grad_sync_update(lks_grad_sync_t *sync)
{
    for (size_t i = 0; i < sync->param_count && sync->finding; i++) {
        sync->params[i].skipped += !sync->params[i].used;
    }
    lks_optim_begin(sync->replica->optim, &sync->update);
    for (size_t b = 0; b < sync->bucket_count; b++) {
        sweep_t sweep = {sync, b};
        if (sync->replica->exec) {
            lks_exec_run(sync->replica->exec, sync->exchange_buckets[b].count * sizeof(float) * 4,
                         sweep_part, &sweep);
        } else {
            sweep_part(&sweep, 0, 1);
        }
    }
    return sync->alone ? LKS_OK : lks_comm_barrier(sync->replica->comm);
}

/* --- norms -------------------------------------------------------------------------------------- */

static double part_squares(const lks_grad_sync_t *sync, const lks_exchange_bucket_t *bucket,
                           lks_part_t part)
{
    double sum = 0;
    float block[BLOCK];
    const double *numbers = bucket->data;
    for (size_t i = part.begin; i < part.end && bucket->dtype == LKS_DTYPE_F64; i++) {
        sum += numbers[i] * numbers[i];
    }
    for (size_t at = part.begin; at < part.end && bucket->dtype != LKS_DTYPE_F64; at += BLOCK) {
        size_t count = part.end - at < BLOCK ? part.end - at : BLOCK;
        sum += square_sum(floats_of(sync, bucket, at, count, block), count);
    }
    return sum;
}

lks_status_t lks_grad_sync_norm(lks_grad_sync_t *sync, double *out)
{
    double sum = atomic_load(&sync->squares);
    for (size_t b = 0; b < sync->bucket_count && !sync->fused; b++) {
        sum += part_squares(sync, &sync->exchange_buckets[b], own_part(sync, b));
    }
    if (!sync->alone) { /* every process has all gradients, its ranks' parts make one whole of them */
        LKS_TRY(lks_comm_all_reduce(sync->replica->comm, &sum, &sum, 1, LKS_DTYPE_F64,
                                    LKS_REDUCE_SUM, NULL));
        sum /= sync->replica->comm->processes;
    }
    *out = sqrt(sum);
    return LKS_OK;
}
