/* SPDX-License-Identifier: Apache-2.0 */
/* comm_hook.h - what becomes of a full gradient bucket in place of the plain exchange: the communication hooks of
 * DistributedDataParallel (torch.distributed.algorithms.ddp_comm_hooks).
 *     options.hook = (lks_comm_hook_t){.kind = LKS_COMM_HOOK_BF16};
 *     options.hook = (lks_comm_hook_t){.kind = LKS_COMM_HOOK_OWN, .run = my_hook, .context = &mine};
 *
 * Compression (FP16, BF16): a bucket is converted to 16 bits, divided by the world size in these (see divisor), summed
 *     over the ranks and converted back, as fp16_compress_hook and bf16_compress_hook do; a sum (LKS_REDUCE_SUM) is not
 *     divided. Ranks read half the bytes, while backward goes on as without a hook. float16 overflows at 65504.
 * PowerSGD: power_sgd.h.
 * A hook of one's own: `run` gets a bucket when it is full on this rank and those before it are done, and leaves the
 *     finished gradient in it, the same bits on every rank: each rank updates a part of the parameters from it, for all.
 *     It runs on the rank's thread, inside lks_replica_grad_ready, _step or _finish; on every rank, bucket after bucket in
 *     the same order, once per step that synchronizes.
 *     It may call collectives on `comm`, all ranks alike. Each waits for the peers, so backward hides less than without.
 *     A rank's collectives are one sequence, that of its hooks among them: if backward calls others, a gradient must be
 *     reported on the same side of them on all ranks.
 *     If it fails, the job ends on every rank with its sentence. */
#ifndef LOCKSTEP_COMM_HOOK_H
#define LOCKSTEP_COMM_HOOK_H

#include <lockstep/comm.h>
#include <lockstep/power_sgd.h>

LKS_BEGIN_DECLS

/** Where in a bucket the gradient of a parameter lies. */
typedef struct lks_grad_bucket_param {
    size_t param; /**< its number, as registered */
    size_t first; /**< of the bucket's elements */
    size_t count;
    int ndim;
    const int64_t *shape; /**< (ndim) */
} lks_grad_bucket_param_t;

/** A bucket as a hook sees it. Only what `data` points to may be changed. */
typedef struct lks_grad_bucket {
    size_t
        index; /**< in the order in which buckets are exchanged; the first step's are others than later ones' */
    bool is_last; /**< of this step */
    lks_dtype_t dtype;
    size_t count; /**< elements; those between parameters are zero and must stay so */
    void *data;   /**< (count) */
    /** What the sum over the ranks is divided by: the world size, or 1 for LKS_REDUCE_SUM; in a join that divides by the
     *  ranks with inputs, their number. */
    int divisor;
    size_t param_count;
    const lks_grad_bucket_param_t *params; /**< (param_count), by increasing `first` */
} lks_grad_bucket_t;

typedef lks_status_t (*lks_comm_hook_fn_t)(void *context, lks_comm_t *comm,
                                           const lks_grad_bucket_t *bucket);

typedef enum {
    LKS_COMM_HOOK_NONE,
    LKS_COMM_HOOK_FP16, /**< float16 on the way */
    LKS_COMM_HOOK_BF16, /**< bfloat16 on the way */
    LKS_COMM_HOOK_POWER_SGD,
    LKS_COMM_HOOK_OWN,
    LKS_COMM_HOOK_COUNT
} lks_comm_hook_kind_t;

/** Zeroed: none. All ranks alike. */
typedef struct lks_comm_hook {
    lks_comm_hook_kind_t kind;
    const lks_power_sgd_config_t *power_sgd; /**< of POWER_SGD, copied; NULL: the defaults */
    lks_comm_hook_fn_t run; /**< of OWN; a group's ranks call it at the same time */
    void *context;
} lks_comm_hook_t;

/** What is done without a hook, for hooks that do so at times: the sum over all ranks, divided by the divisor
 *  (allreduce_hook). A lks_comm_hook_fn_t; `context` is not used. Errors: ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_hook_all_reduce(void *context, lks_comm_t *comm,
                                                            const lks_grad_bucket_t *bucket);

LKS_END_DECLS
#endif
