/* SPDX-License-Identifier: Apache-2.0 */
/* grad_sync.h - what the files of a replica share. Reading order: replica.c (life, a step), layout.c (where gradients
 * lie), grad_sync.c (from gradients that are ready to buckets that are reduced), hook.c (what becomes of a bucket before),
 * update.c (from there to parameters), agree.c (what ranks must have in common), join.c (ranks without inputs). */
#ifndef LOCKSTEP_RUNTIME_REPLICA_GRAD_SYNC_H
#define LOCKSTEP_RUNTIME_REPLICA_GRAD_SYNC_H

#include "collectives/backend.h"
#include "collectives/exchange.h"
#include "core/trace.h"
#include "runtime/optim/optim_kind.h"

#include <lockstep/replica.h>

/** One parameter or buffer. */
typedef struct lks_sync_param {
    const char *name;
    lks_param_kind_t kind;
    lks_dtype_t dtype;
    int ndim;
    int64_t shape[LKS_MAX_NDIM];
    size_t count;  /* elements */
    size_t padded; /* elements up to the next cache line: what it takes in a bucket */
    void *value;
    size_t state; /* of its first element in the optimizer's flat states */

    /* A buffer has none of these. */
    size_t bucket, first; /* place in the bucket, in elements */
    char *grad;
    char *accumulated; /* what steps without synchronization added up; valid if `pending` */
    bool pending;      /* has something accumulated */
    bool ready;        /* in this step */
    bool used;         /* in this step, by any rank (find_unused) */
    int64_t skipped; /* steps that no rank used it in: the optimizer counts them, but not for it */
    bool absent;     /* static graph: this rank never has a gradient for it */
    bool dead;       /* static graph: nor has any other */
} lks_sync_param_t;

/** A run of a bucket whose values are contiguous, too. */
typedef struct lks_sync_piece {
    size_t first, count; /* elements of the bucket */
    size_t param;        /* the first of them */
    char *value;
    size_t state;
} lks_sync_piece_t;

typedef struct lks_sync_bucket {
    size_t pending;                  /* gradients not ready yet in this step */
    size_t first_piece, piece_count; /* of the sync's pieces, in order */
} lks_sync_bucket_t;

/** Buckets with a communication hook; all NULL without. */
typedef struct lks_sync_hook {
    lks_grad_bucket_t *buckets; /* (bucket_count): as a hook sees them */
    lks_grad_bucket_param_t *params;
    lks_exchange_bucket_t *sent; /* (bucket_count): as the exchange sees them */
    lks_comm_memory_t *wire;     /* what they point to, if it is a 16-bit copy */
    lks_power_sgd_t *power_sgd;
} lks_sync_hook_t;

/** Ranks that run out of inputs: join.c. */
typedef struct lks_sync_word lks_sync_word_t;
typedef struct lks_sync_join {
    lks_sync_word_t *words; /* (world_size): what each rank said last; NULL: there is no join */
    lks_join_options_t options;
    bool out;   /* this rank has no inputs and follows the others */
    int active; /* ranks that have */
} lks_sync_join_t;

typedef void (*lks_sync_take_t)(void *context, size_t bucket, size_t first, size_t count,
                                const void *numbers);

typedef struct lks_grad_sync lks_grad_sync_t;
struct lks_grad_sync {
    lks_replica_t *replica; /* whose it is */
    lks_replica_options_t options;
    lks_optim_config_t optim_config; /* what options.optim points to */
    lks_grad_scaler_t scaler;        /* what options.grad_scaler points to */
    int64_t skipped;                 /* steps, by the scaler */
    const lks_kernels_t *kernels;

    lks_sync_param_t *params; /* (param_count) */
    size_t param_count;
    char *names;        /* what params[].name point into */
    size_t state_count; /* elements of the optimizer's flat states */

    /* Gradients: the module's block, or one of our own, in `memory`. */
    lks_comm_memory_t *memory;
    bool borrowed_grads;
    char *grads, *accumulated; /* same layout; accumulated is made when it is needed */
    size_t grads_nbytes;

    lks_exchange_t *exchange;
    lks_exchange_bucket_t *exchange_buckets; /* (bucket_count): where gradients lie */
    lks_sync_bucket_t *buckets;              /* (bucket_count) */
    size_t bucket_count, next_bucket;
    lks_sync_piece_t *pieces; /* one per parameter at most */
    lks_sync_hook_t hook;
    lks_sync_join_t join;
    int root;    /* whose buffers, order and values the others get; 0 outside a join */
    int divisor; /* of the sum over the ranks, for hooks */

    size_t
        *order; /* (param_count): the gradients' order that the buckets follow; `weights` of them */
    size_t *seen; /* (param_count): the order of this step */
    size_t weights, seen_count;

    /* Ranks that share the work of an update: those of this process, each of which updates its part of everybody's
     * parameters, with states that all share. With few gradients every rank of a job of one process is alone: then nobody waits for parts. */
    lks_grad_sync_t **peers; /* (peer_count) */
    int peer_count, index;   /* which of them this one is */
    bool alone;              /* few gradients; the same on all ranks */
    int64_t steps;           /* with synchronization */
    bool no_sync, rebuilt, fused, updating;
    bool goes_on; /* the last step was one without synchronization: the next belongs to it */
    bool finding; /* this step finds out which parameters are used */
    bool *used;   /* (param_count), scratch */
    lks_optim_update_t update; /* the numbers of this step, while `updating` */
    float scale;               /* of gradients on their way into an update */
    _Atomic double
        squares; /* of this rank's parts in this step, if the norm is measured on the way */
    double norm; /* of the last step; NaN: not measured */
    lks_exchange_times_t told; /* of what lks_replica_hidden_share has told */
};

/* --- register.c --------------------------------------------------------------------------------- */

/** Fills sync->params. Errors: INVALID_ARG, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_grad_sync_register(lks_grad_sync_t *sync,
                                                  const lks_replica_param_t *params);

/** With the parameters of a module, whose values, gradients and states are one layout. */
LKS_NODISCARD lks_status_t lks_grad_sync_register_module(lks_grad_sync_t *sync);

/** When all ranks have registered the same: a module's gradients, which move to memory that other processes see. */
LKS_NODISCARD lks_status_t lks_grad_sync_find_module_grads(lks_grad_sync_t *sync);

/* --- replica.c ---------------------------------------------------------------------------------- */

/** Makes replica->sync and, if the options say so, replica->optim. `params` NULL: those of replica->module, whose
 *  gradients stay the module's, but move to memory that other processes see. All ranks together. */
LKS_NODISCARD lks_status_t lks_grad_sync_create(lks_replica_t *replica,
                                                const lks_replica_param_t *params, size_t count,
                                                const lks_replica_options_t *options);
void lks_grad_sync_destroy(lks_grad_sync_t *sync);

/** lks_replica_begin, when all ranks know that a step begins. */
LKS_NODISCARD lks_status_t lks_grad_sync_begin(lks_grad_sync_t *sync);

/** backward's report, of a module's parameter. */
lks_status_t lks_grad_sync_ready_hook(void *sync, size_t param);

/* --- layout.c ----------------------------------------------------------------------------------- */

/** Lays buckets and gradients out in `sync->order` and hands the buckets to the exchange. All ranks together. */
LKS_NODISCARD lks_status_t lks_grad_sync_lay_out(lks_grad_sync_t *sync);

/** Makes the pieces of all buckets anew: parameters that are dead are left out. */
void lks_grad_sync_cut_pieces(lks_grad_sync_t *sync);

/** After the first step: rank 0's order for all, if it is another one. */
LKS_NODISCARD lks_status_t lks_grad_sync_rebuild(lks_grad_sync_t *sync);

/** Memory for what is accumulated. */
LKS_NODISCARD lks_status_t lks_grad_sync_make_accumulated(lks_grad_sync_t *sync);

/* --- grad_sync.c -------------------------------------------------------------------------------- */

/** Flags of a new step. */
void lks_grad_sync_reset(lks_grad_sync_t *sync);

/** Buckets are handed to the update as they arrive if nothing has to be known before. */
void lks_grad_sync_choose_path(lks_grad_sync_t *sync);

LKS_NODISCARD lks_status_t lks_grad_sync_finish(lks_grad_sync_t *sync);

/* --- replica.c ---------------------------------------------------------------------------------- */

/** Records layers and buckets in the rows of this rank. */
LKS_NODISCARD lks_status_t lks_grad_sync_set_trace(lks_grad_sync_t *sync, lks_trace_t *trace);

/* --- hook.c ------------------------------------------------------------------------------------- */

LKS_NODISCARD lks_status_t lks_grad_sync_check_hook(const lks_comm_hook_t *hook);

/** Makes what the hook needs of the registered parameters. */
LKS_NODISCARD lks_status_t lks_grad_sync_hook_init(lks_grad_sync_t *sync);

/** What the exchange does with buckets that are not reduced before. */
lks_reduce_op_t lks_grad_sync_exchange_op(const lks_grad_sync_t *sync);

/** Hands the buckets to the exchange, or what the hook makes of them. All ranks together. */
LKS_NODISCARD lks_status_t lks_grad_sync_set_buckets(lks_grad_sync_t *sync);

/** Bucket `b` is full and about to be posted. A failure has ended the job. */
LKS_NODISCARD lks_status_t lks_grad_sync_run_hook(lks_grad_sync_t *sync, size_t b);

/** The exchange's take where gradients are to be seen; NULL: it puts them there by itself. */
lks_sync_take_t lks_grad_sync_take_without_update(const lks_grad_sync_t *sync);

/** After the exchange. */
void lks_grad_sync_hook_fini(lks_grad_sync_t *sync);

/* --- update.c ----------------------------------------------------------------------------------- */

/** lks_exchange_config_t's take: updates the parameters behind elements [first, first + count) of a bucket. */
void lks_grad_sync_take(void *context, size_t bucket, size_t first, size_t count,
                        const void *numbers);

/** Updates everything from reduced gradients, this rank its part; then waits for the others. */
LKS_NODISCARD lks_status_t lks_grad_sync_update(lks_grad_sync_t *sync);

/** The 2-norm of all gradients, reduced. The same on every rank. */
LKS_NODISCARD lks_status_t lks_grad_sync_norm(lks_grad_sync_t *sync, double *out);

/* --- join.c ------------------------------------------------------------------------------------- */

/** What a rank is about to do. */
typedef enum {
    LKS_SYNC_OUT, /* nothing: it has no inputs */
    LKS_SYNC_STEPS,
    LKS_SYNC_ACCUMULATES, /* a step without synchronization */
    LKS_SYNC_CLIPS
} lks_sync_doing_t;

/** In a join: this rank, which has inputs, says so, and hears how many others have. */
LKS_NODISCARD lks_status_t lks_grad_sync_tell(lks_grad_sync_t *sync, lks_sync_doing_t doing);

/** Ranks with inputs. */
int lks_grad_sync_active(const lks_grad_sync_t *sync);

/* --- agree.c ------------------------------------------------------------------------------------ */

/** Compares what ranks registered. Errors: ABORTED (the first difference and its ranks). */
LKS_NODISCARD lks_status_t lks_grad_sync_compare(lks_grad_sync_t *sync);

/** Values and buffers become the root's. */
LKS_NODISCARD lks_status_t lks_grad_sync_broadcast_values(lks_grad_sync_t *sync);

/** Buffers as the options say. */
LKS_NODISCARD lks_status_t lks_grad_sync_buffers(lks_grad_sync_t *sync);

/** Master values become the registered values, before they are shared. */
void lks_grad_sync_start_masters(lks_grad_sync_t *sync);

/** Optimizer states, masters among them: one memory of all peers, rank 0's everywhere. And the loss scale. */
LKS_NODISCARD lks_status_t lks_grad_sync_share_optim(lks_grad_sync_t *sync);

#endif
