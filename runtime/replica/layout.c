/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c - where gradients lie.
 * A bucket is contiguous; in it parameters stand in the order in which they were registered, each at a cache line. The
 * gaps are zero and stay zero. A module's gradients are laid out alike already, all in one block: buckets of
 * neighbours are runs of it. */
#include "collectives/bucket_plan.h"
#include "core/checked.h"
#include "runtime/replica/grad_sync.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_LINE ((size_t)64)

static lks_status_t out_of_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a replica's gradients: out of memory");
}

/* The bucket of every parameter, for an order of the gradients. */
static lks_status_t plan(const lks_grad_sync_t *sync, const size_t *order, size_t *bucket_of,
                         size_t *buckets)
{
    size_t count = sync->param_count ? sync->param_count : 1;
    size_t *nbytes = calloc(count, sizeof *nbytes);
    lks_dtype_t *dtypes = calloc(count, sizeof *dtypes);
    if (!nbytes || !dtypes) {
        free(nbytes);
        free(dtypes);
        return out_of_memory();
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        nbytes[i] = sync->params[i].count * lks_dtype_size(sync->params[i].dtype);
        dtypes[i] = sync->params[i].dtype;
    }
    *buckets =
        lks_bucket_plan(nbytes, dtypes, order, sync->weights, sync->options.first_bucket_bytes,
                        sync->options.bucket_bytes, bucket_of);
    free(nbytes);
    free(dtypes);
    return LKS_OK;
}

/* Places of parameters in their buckets, and the buckets' counts and dtypes. */
static void place(lks_grad_sync_t *sync, const size_t *bucket_of, lks_exchange_bucket_t *buckets)
{
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT) {
            lks_exchange_bucket_t *bucket = &buckets[bucket_of[i]];
            param->bucket = bucket_of[i];
            param->first = bucket->count;
            bucket->count += param->padded;
            bucket->dtype = param->dtype;
        }
    }
}

/* Whether buckets are runs of the module's block, in which parameters lie one behind the other. */
static bool are_runs(const lks_grad_sync_t *sync, const size_t *bucket_of, size_t buckets)
{
    size_t changes = 0, last = SIZE_MAX;
    for (size_t i = 0; i < sync->param_count; i++) {
        if (sync->params[i].kind == LKS_PARAM_WEIGHT) {
            changes += bucket_of[i] != last;
            last = bucket_of[i];
        }
    }
    return changes == buckets;
}

static lks_status_t make_grads(lks_grad_sync_t *sync)
{
    size_t nbytes = 0;
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT) {
            nbytes += param->padded * lks_dtype_size(param->dtype);
        }
    }
    LKS_TRY(lks_comm_memory_create(sync->replica->comm, nbytes, &sync->memory));
    sync->grads = lks_comm_memory_data(sync->memory);
    sync->grads_nbytes = nbytes;
    return LKS_OK;
}

/* Where buckets begin, and with them all gradients. */
static void point(lks_grad_sync_t *sync, lks_exchange_bucket_t *buckets, size_t count)
{
    char *next = sync->grads;
    for (size_t b = 0; b < count; b++) {
        buckets[b].data = next;
        next += buckets[b].count * lks_dtype_size(buckets[b].dtype);
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (param->kind != LKS_PARAM_WEIGHT) {
            continue;
        }
        char *data = buckets[param->bucket].data;
        size_t size = lks_dtype_size(param->dtype);
        if (sync->borrowed_grads) { /* the gradient is where it is; the first one of a bucket says where that begins */
            buckets[param->bucket].data = param->first == 0 ? param->grad : data;
        } else {
            param->grad = data + param->first * size;
        }
        param->accumulated =
            sync->accumulated ? sync->accumulated + (param->grad - sync->grads) : NULL;
    }
}

static void forget_layout(lks_grad_sync_t *sync)
{
    free(sync->buckets);
    free(sync->exchange_buckets);
    free(sync->pieces);
    sync->buckets = NULL;
    sync->exchange_buckets = NULL;
    sync->pieces = NULL;
}

static lks_status_t lay_out(lks_grad_sync_t *sync, const size_t *bucket_of, size_t count)
{
    lks_exchange_bucket_t *buckets = calloc(count ? count : 1, sizeof *buckets);
    forget_layout(sync);
    sync->exchange_buckets = buckets;
    sync->buckets = calloc(count ? count : 1, sizeof *sync->buckets);
    sync->pieces = calloc(sync->param_count ? sync->param_count : 1, sizeof *sync->pieces);
    if (!buckets || !sync->buckets || !sync->pieces) {
        return out_of_memory();
    }
    sync->bucket_count = count;
    place(sync, bucket_of, buckets);
    if (!sync->grads) {
        LKS_TRY(make_grads(sync));
    } else if (!sync->borrowed_grads) {
        memset(sync->grads, 0, sync->grads_nbytes); /* gaps move */
    }
    point(sync, buckets, count);
    lks_grad_sync_cut_pieces(sync);
    return lks_grad_sync_set_buckets(sync);
}

lks_status_t lks_grad_sync_lay_out(lks_grad_sync_t *sync)
{
    size_t count;
    size_t *bucket_of = calloc(sync->param_count ? sync->param_count : 1, sizeof *bucket_of);
    if (!bucket_of) {
        return out_of_memory();
    }
    lks_status_t status = plan(sync, sync->order, bucket_of, &count);
    if (status == LKS_OK) {
        status = lay_out(sync, bucket_of, count);
    }
    free(bucket_of);
    return status;
}

/* Whether parameter `next` goes on where a piece ends, in the bucket and in memory. */
static bool goes_on(const lks_grad_sync_t *sync, const lks_sync_piece_t *piece,
                    const lks_sync_param_t *next)
{
    size_t size = lks_dtype_size(next->dtype);
    return sync->borrowed_grads && next->first == piece->first + piece->count &&
           (char *)next->value == piece->value + piece->count * size &&
           next->state == piece->state + piece->count;
}

void lks_grad_sync_cut_pieces(lks_grad_sync_t *sync)
{
    size_t pieces = 0;
    for (size_t b = 0; b < sync->bucket_count; b++) {
        lks_sync_bucket_t *bucket = &sync->buckets[b];
        bucket->first_piece = pieces;
        for (size_t i = 0; i < sync->param_count; i++) {
            const lks_sync_param_t *param = &sync->params[i];
            if (param->kind != LKS_PARAM_WEIGHT || param->bucket != b || param->dead) {
                continue;
            }
            /* A module's gaps belong to it, and so they are updated along: zeros stay zeros. */
            size_t count = sync->borrowed_grads ? param->padded : param->count;
            lks_sync_piece_t *last =
                pieces > bucket->first_piece ? &sync->pieces[pieces - 1] : NULL;
            if (last && goes_on(sync, last, param)) {
                last->count += count;
            } else {
                sync->pieces[pieces++] = (lks_sync_piece_t){.first = param->first,
                                                            .count = count,
                                                            .param = i,
                                                            .value = param->value,
                                                            .state = param->state};
            }
        }
        bucket->piece_count = pieces - bucket->first_piece;
    }
}

/* The order that was seen on this rank, and behind it what was not. */
static void complete_seen(lks_grad_sync_t *sync)
{
    for (size_t i = sync->param_count; i-- > 0 && sync->seen_count < sync->weights;) {
        bool found = sync->params[i].kind != LKS_PARAM_WEIGHT;
        for (size_t k = 0; k < sync->seen_count && !found; k++) {
            found = sync->seen[k] == i;
        }
        if (!found) {
            sync->seen[sync->seen_count++] = i;
        }
    }
}

lks_status_t lks_grad_sync_rebuild(lks_grad_sync_t *sync)
{
    sync->rebuilt = true;
    complete_seen(sync);
    LKS_TRY(lks_comm_broadcast(sync->replica->comm, sync->seen, sync->weights, LKS_DTYPE_I64,
                               sync->root, NULL));
    if (memcmp(sync->seen, sync->order, sync->weights * sizeof *sync->order) == 0) {
        return LKS_OK;
    }
    size_t count;
    size_t *bucket_of = calloc(sync->param_count ? sync->param_count : 1, sizeof *bucket_of);
    if (!bucket_of) {
        return out_of_memory();
    }
    lks_status_t status = plan(sync, sync->seen, bucket_of, &count);
    if (status == LKS_OK && (!sync->borrowed_grads || are_runs(sync, bucket_of, count))) {
        memcpy(sync->order, sync->seen, sync->weights * sizeof *sync->order);
        status = lay_out(sync, bucket_of, count);
    }
    free(bucket_of);
    return status;
}

lks_status_t lks_grad_sync_make_accumulated(lks_grad_sync_t *sync)
{
    void *accumulated;
    LKS_TRY(lks_device_alloc(lks_device_host(), sync->grads_nbytes, &accumulated));
    sync->accumulated = accumulated;
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT) {
            param->accumulated = sync->accumulated + (param->grad - sync->grads);
        }
    }
    return LKS_OK;
}
