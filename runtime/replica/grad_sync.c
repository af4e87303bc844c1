/* SPDX-License-Identifier: Apache-2.0 */
/* grad_sync.c - from gradients that are ready to buckets that are reduced.
 * Buckets are posted in their order, as all ranks must do it: one that is full before its turn waits for those before
 * it. */
#include "runtime/replica/grad_sync.h"
#include "collectives/reduce.h"
#include "core/strbuf.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void lks_grad_sync_reset(lks_grad_sync_t *sync)
{
    sync->next_bucket = 0;
    sync->seen_count = 0;
    sync->updating = false;
    sync->norm = (double)NAN;
    atomic_store_explicit(&sync->squares, 0, memory_order_relaxed);
    for (size_t b = 0; b < sync->bucket_count; b++) {
        sync->buckets[b].pending = 0;
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (param->kind != LKS_PARAM_WEIGHT) {
            continue;
        }
        param->ready = param->absent;
        if (param->absent) {
            memset(param->grad, 0, param->count * lks_dtype_size(param->dtype));
        } else {
            sync->buckets[param->bucket].pending++;
        }
    }
}

void lks_grad_sync_choose_path(lks_grad_sync_t *sync)
{
    const lks_replica_options_t *options = &sync->options;
    sync->finding = options->static_graph ? sync->steps == 0 : options->find_unused;
    sync->fused =
        sync->replica->optim && !sync->finding && options->clip_norm == 0 && !options->grad_scaler;
    sync->scale = 1;
    lks_exchange_set_take(sync->exchange, sync->fused ? lks_grad_sync_take
                                                      : lks_grad_sync_take_without_update(sync));
}

/* grad += accumulated, or the other way round. */
static void add(const lks_sync_param_t *param, void *sum, const void *other)
{
    lks_reduce(&(lks_reduction_t){.dtype = param->dtype,
                                  .op = LKS_REDUCE_SUM,
                                  .count = param->count,
                                  .sources = (const void *[]){other, sum},
                                  .source_count = 2,
                                  .targets = &sum,
                                  .target_count = 1});
}

static lks_status_t accumulate(lks_grad_sync_t *sync, lks_sync_param_t *param)
{
    if (!sync->accumulated) {
        LKS_TRY(lks_grad_sync_make_accumulated(sync));
    }
    if (param->pending) {
        add(param, param->accumulated, param->grad);
    } else {
        memcpy(param->accumulated, param->grad, param->count * lks_dtype_size(param->dtype));
        param->pending = true;
    }
    return LKS_OK;
}

static lks_status_t post_full_buckets(lks_grad_sync_t *sync)
{
    while (sync->next_bucket < sync->bucket_count &&
           sync->buckets[sync->next_bucket].pending == 0) {
        LKS_TRY(lks_grad_sync_run_hook(sync, sync->next_bucket));
        if (sync->fused && !sync->updating) {
            lks_optim_begin(sync->replica->optim, &sync->update);
            sync->updating = true;
        }
        sync->next_bucket++;
        LKS_TRY(lks_exchange_post(sync->exchange));
    }
    return LKS_OK;
}

static lks_status_t mark_ready(lks_grad_sync_t *sync, size_t index)
{
    lks_sync_param_t *param = &sync->params[index];
    param->ready = true;
    if (sync->no_sync) {
        return accumulate(sync, param);
    }
    if (param->pending) {
        add(param, param->grad, param->accumulated);
        param->pending = false;
    }
    sync->buckets[param->bucket].pending--;
    return post_full_buckets(sync);
}

lks_status_t lks_replica_grad_ready(lks_replica_t *replica, size_t index)
{
    lks_grad_sync_t *sync = replica->sync;
    if (index >= sync->param_count || sync->params[index].kind != LKS_PARAM_WEIGHT) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%zu is no parameter with a gradient", index);
    }
    const lks_sync_param_t *param = &sync->params[index];
    if (param->ready) {
        return param->absent
                   ? lks_fail(LKS_ERR_INVALID_ARG,
                              "parameter '%s' had no gradient in the first step and has one now; "
                              "the graph is not static",
                              param->name)
                   : lks_fail(LKS_ERR_INVALID_ARG,
                              "the gradient of parameter '%s' was reported twice in a step",
                              param->name);
    }
    sync->seen[sync->seen_count++] = index;
    return mark_ready(sync, index);
}

lks_status_t lks_grad_sync_ready_hook(void *sync, size_t param)
{
    return lks_replica_grad_ready(((lks_grad_sync_t *)sync)->replica, param);
}

bool lks_replica_used(const lks_replica_t *replica, size_t index)
{
    const lks_grad_sync_t *sync = replica->sync;
    return index < sync->param_count && sync->params[index].used;
}

/* --- the end of backward ------------------------------------------------------------------------ */

static size_t missing(const lks_grad_sync_t *sync)
{
    size_t count = 0;
    for (size_t i = 0; i < sync->param_count; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        count += param->kind == LKS_PARAM_WEIGHT && !param->ready && !param->pending;
    }
    return count;
}

static lks_status_t fail_missing(const lks_grad_sync_t *sync, size_t count)
{
    enum { NAMED = 10 };
    lks_strbuf_t text = {0};
    size_t named = 0;
    lks_strbuf_appendf(&text, "step %" PRId64 ": %zu of %zu parameters got no gradient (",
                       sync->steps, count, sync->weights);
    for (size_t i = 0; i < sync->param_count && named < NAMED; i++) {
        const lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT && !param->ready && !param->pending) {
            lks_strbuf_appendf(&text, "%s%s", named++ ? ", " : "", param->name);
        }
    }
    lks_strbuf_appendf(&text, "%s); %s", count > NAMED ? ", ..." : "",
                       sync->options.static_graph && sync->steps > 0
                           ? "the graph is not static"
                           : "find_unused takes them for zero");
    lks_comm_abort(sync->replica->comm, lks_strbuf_text(&text));
    lks_status_t status = lks_fail(LKS_ERR_INVALID_ARG, "%s", lks_strbuf_text(&text));
    lks_strbuf_fini(&text);
    return status;
}

/* Gradients that did not come: what was accumulated before, else zeros. */
static lks_status_t fill_missing(lks_grad_sync_t *sync)
{
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (param->kind == LKS_PARAM_WEIGHT && !param->ready) {
            param->used = param->pending;
            memset(param->grad, 0, param->count * lks_dtype_size(param->dtype));
            LKS_TRY(mark_ready(sync, i));
        }
    }
    return LKS_OK;
}

/* Which parameters any rank used. */
static lks_status_t exchange_used(lks_grad_sync_t *sync)
{
    bool *used = sync->used;
    for (size_t i = 0; i < sync->param_count; i++) {
        used[i] = sync->params[i].used;
    }
    LKS_TRY(lks_comm_all_reduce(sync->replica->comm, used, used, sync->param_count, LKS_DTYPE_BOOL,
                                LKS_REDUCE_MAX, NULL));
    for (size_t i = 0; i < sync->param_count; i++) {
        lks_sync_param_t *param = &sync->params[i];
        if (sync->options.static_graph && param->kind == LKS_PARAM_WEIGHT) {
            param->absent = sync->join.out ? !used[i] : !param->used;
            param->dead = !used[i];
        }
        param->used = used[i];
    }
    return LKS_OK;
}

lks_status_t lks_grad_sync_finish(lks_grad_sync_t *sync)
{
    size_t absent = missing(sync);
    if (sync->no_sync) {
        return LKS_OK;
    }
    if (absent > 0 && !sync->finding && !sync->join.out) {
        return fail_missing(sync, absent);
    }
    for (size_t i = 0; i < sync->param_count && sync->finding; i++) {
        sync->params[i].used = sync->params[i].ready;
    }
    LKS_TRY(fill_missing(sync));
    LKS_TRY(lks_exchange_finish(sync->exchange));
    if (sync->finding) {
        return exchange_used(sync);
    }
    for (size_t i = 0; i < sync->param_count; i++) {
        sync->params[i].used = sync->params[i].kind == LKS_PARAM_WEIGHT && !sync->params[i].dead;
    }
    return LKS_OK;
}
