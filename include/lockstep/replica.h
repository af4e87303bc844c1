/* SPDX-License-Identifier: Apache-2.0 */
/* replica.h - one copy of a model on one device, kept in step with its peers: what PyTorch's
 * DistributedDataParallel does. One rank, one replica.
 *
 * Bring your own model: register its parameters, run your own forward and backward, and say when a gradient is done.
 *     lks_replica_create(comm, params, count, &options, &replica);      every rank; values become rank 0's
 *     for each step:
 *         lks_replica_begin(replica);
 *         forward, backward: write the gradient of parameter i to lks_replica_grad(replica, i), then
 *             lks_replica_grad_ready(replica, i);
 *         lks_replica_step(replica);           with one of our optimizers, or
 *         lks_replica_finish(replica);         and your own update from lks_replica_grad, the same on every rank
 *     lks_replica_destroy(replica);
 * lks_replica_group (replica_group.h) does the same for a built-in model, with a thread per device.
 *
 * Buckets: gradients lie in buckets of about `bucket_bytes`, last parameters first; a gradient is a view into its bucket
 *     and not copied. A bucket is reduced over all ranks when its gradients are ready on all of them, while backward
 *     goes on. After the first step buckets follow the order in which rank 0's gradients were ready.
 * Update: an optimizer of ours updates a bucket as it arrives, each rank a part of it for all ranks of its process, with
 *     states that these share. With clipping, or parameters that may be unused, all buckets arrive first.
 *     So a parameter's value may change once its gradient is ready on all ranks: report it after its last use.
 *     In a job of one process up to 2 KiB of gradients are copied, and every rank updates all of its own parameters with
 *     states of its own. Either way a state that was loaded into rank 0's optimizer gets to all by lks_replica_broadcast.
 * Mixed precision: parameters may be float16 or bfloat16, and so are their gradients then. An optimizer of ours keeps
 *     float32 master values of them beside its states, as often as these; it updates these and rounds them to the values of
 *     every replica. With a loss scaler, which float16 wants, multiply the gradient of the loss by
 *     lks_replica_loss_scale; lks_replica_step divides by it, and leaves everything as it is if a gradient of any rank is
 *     infinite or NaN. All buckets arrive first, then.
 * Hooks: a bucket may travel as 16-bit floats, or be reduced by a function of the caller's: comm_hook.h.
 * Uneven inputs: between join_begin and join_end ranks may take different numbers of steps:
 *         lks_replica_join_begin(replica, NULL);
 *         while (there is a batch for this rank) {
 *             lks_replica_begin, forward, backward, lks_replica_step
 *         }
 *         lks_replica_join_end(replica);
 *     A rank that is out of inputs stays in join_end and takes part in the others' steps, with gradients of zero.
 * Failure: a rank that fails, disagrees or stays away ends the job: ABORTED on every rank, with the reason.
 * Threads: a replica belongs to the thread of its rank. */
#ifndef LOCKSTEP_REPLICA_H
#define LOCKSTEP_REPLICA_H

#include <lockstep/comm.h>
#include <lockstep/comm_hook.h>
#include <lockstep/grad_scaler.h>
#include <lockstep/optim.h>

LKS_BEGIN_DECLS

/** One parameter or buffer of the caller's model. Name and shape are copied, the value is borrowed. */
typedef struct lks_replica_param {
    const char *name;
    lks_param_kind_t kind; /**< a buffer (running statistics, say) has no gradient */
    lks_dtype_t
        dtype; /**< of the value and of the gradient; parameters: a float, with an optimizer of
                              ours not float64 */
    int ndim;
    const int64_t *shape; /**< (ndim) */
    void *value;          /**< host memory, contiguous */
} lks_replica_param_t;

/** What happens to buffers at the beginning of a step; of the first one where several accumulate. */
typedef enum {
    LKS_BUFFERS_BROADCAST, /**< become rank 0's, as in DistributedDataParallel */
    LKS_BUFFERS_AVERAGE,   /**< floats become their mean over the ranks, the others rank 0's */
    LKS_BUFFERS_LEAVE
} lks_buffer_mode_t;

typedef struct lks_replica_options {
    size_t bucket_bytes;       /**< 25 MiB */
    size_t first_bucket_bytes; /**< 1 MiB: the first bucket to be full should be on its way soon */
    lks_reduce_op_t reduce;    /**< AVG, as in DistributedDataParallel, or SUM */
    lks_buffer_mode_t buffers; /**< BROADCAST */
    /** Parameters without a gradient in a step are an error that names them; if set, they count as zero instead, and those
     *  that no rank used are not updated: they keep value and state, and their count of steps stays behind (for Adam's
     *  bias correction; a checkpoint has one count for all). A caller who updates asks lks_replica_used. Waits for all buckets before the update. false */
    bool find_unused;
    /** The same parameters get gradients in every step: which ones are unused is found out in the first, also without
     *  find_unused. false */
    bool static_graph;
    double
        clip_norm; /**< largest 2-norm of all gradients together (torch.nn.utils.clip_grad_norm_); 0: none */
    double clip_value; /**< largest magnitude of an element (clip_grad_value_); 0: none */
    bool
        measure_norm; /**< lks_replica_grad_norm has every step's; with clip_norm it does anyway. false */
    const lks_optim_config_t *optim; /**< NULL: the caller updates */
    /** The loss scale to begin with, copied; NULL: none. Needs `optim`: who updates, unscales. Clipping and norms are of
     *  unscaled gradients. */
    const lks_grad_scaler_t *grad_scaler;
    lks_comm_hook_t hook; /**< none */
} lks_replica_options_t;

LKS_API lks_replica_options_t lks_replica_options_default(void);

struct lks_grad_sync;

/** Everything is borrowed from the replica and read only, but what its pointers point to. */
typedef struct lks_replica {
    int rank, world_size;
    lks_device_t *device;
    lks_comm_t *comm;
    lks_exec_t *exec;     /**< NULL outside a group */
    lks_module_t *module; /**< NULL: the model is the caller's */
    lks_optim_t *optim;   /**< NULL: the caller updates */
    struct lks_grad_sync *sync;
} lks_replica_t;

/** Called by all ranks of `comm` (borrowed) with the same parameters in the same order: names, kinds, dtypes and shapes
 *  are compared, and values and buffers become rank 0's. `options` may be NULL.
 *  Errors: INVALID_ARG (an option; a parameter that is no float), UNSUPPORTED (our optimizers do not update float64),
 *  ABORTED (ranks differ: the sentence names the first difference), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_create(lks_comm_t *comm,
                                                      const lks_replica_param_t *params,
                                                      size_t count,
                                                      const lks_replica_options_t *options,
                                                      lks_replica_t **out);

/** Leaves; in the middle of a step this ends the job on the other ranks. NULL does nothing. */
LKS_API void lks_replica_destroy(lks_replica_t *replica);

/** Begins a step: buffers are made equal, and buckets are rebuilt before the second one. Errors: ABORTED, NO_MEMORY;
 *  MISMATCH (in a join: early termination). */
LKS_API LKS_NODISCARD lks_status_t lks_replica_begin(lks_replica_t *replica);

/** Where the gradient of parameter `param` goes, shape and dtype as the value; NULL for a buffer. Backward writes it
 *  and adds nothing: what steps without synchronization left is added by lks_replica_grad_ready. Valid until the next
 *  begin, which may move it. */
LKS_API void *lks_replica_grad(lks_replica_t *replica, size_t param);

/** The gradient of `param` is complete on this rank. Reduces what all ranks have by now; does not wait.
 *  Errors: INVALID_ARG (twice in a step, no such parameter, a buffer), ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_grad_ready(lks_replica_t *replica, size_t param);

/** Whether any rank had a gradient for `param` in the last step that synchronized, those before it that only accumulated
 *  included; the same on every rank. With find_unused or static_graph, an update of the caller's own leaves the others
 *  alone: their gradients are zeros, and momentum or weight decay would move them. False for a buffer and before the first
 *  such step. */
LKS_API bool lks_replica_used(const lks_replica_t *replica, size_t param);

/** Off: the next steps only accumulate gradients (no_sync in PyTorch); lks_replica_step and finish then exchange and
 *  update nothing. On again: the next step adds what was accumulated. All ranks alike. */
LKS_API void lks_replica_set_sync(lks_replica_t *replica, bool sync);

/** Waits until all gradients are reduced over all ranks; they stay until the next step's are written. With an optimizer
 *  of ours that updates as buckets arrive this is its step, and gradients are undefined afterwards.
 *  Errors: INVALID_ARG (gradients missing: the sentence names them; ABORTED on the other ranks), ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_finish(lks_replica_t *replica);

/** finish, unscaling, clipping and the optimizer's update. With a loss scaler, a step whose gradients are not all finite
 *  is skipped by all ranks alike: neither parameters nor optimizer know of it, and the scale is reduced.
 *  Errors: as finish; INVALID_ARG (no optimizer). */
LKS_API LKS_NODISCARD lks_status_t lks_replica_step(lks_replica_t *replica);

/** Scales all gradients, after finish, so that their 2-norm is at most `max_norm`; `norm` gets what it was (may be
 *  NULL). For the caller's own update. Errors: ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_clip_norm(lks_replica_t *replica, double max_norm,
                                                         double *norm);

/** The 2-norm of all gradients together in the last lks_replica_step, reduced, unscaled and before clipping; the same on every
 *  rank. NaN if it was not measured. */
LKS_API double lks_replica_grad_norm(const lks_replica_t *replica);

/** What to multiply the gradient of the loss by, until the next lks_replica_step; 1 without a loss scaler. */
LKS_API double lks_replica_loss_scale(const lks_replica_t *replica);

/** The loss scaler's state, for checkpoints: to be read, or to be written on rank 0 before lks_replica_broadcast. NULL
 *  without one. Borrowed. */
LKS_API lks_grad_scaler_t *lks_replica_grad_scaler(const lks_replica_t *replica);

/** Steps that this replica skipped. */
LKS_API int64_t lks_replica_skipped_steps(const lks_replica_t *replica);

/** From now on the time in exchanges is taken: a look at the clock per gradient, which small models feel. */
LKS_API void lks_replica_set_timing(lks_replica_t *replica, bool timing);

/** Share, since the last call, of the time in exchanges that was spent in lks_replica_grad_ready, while the device had
 *  backward to do; the rest is waiting and reducing in lks_replica_step and finish. NaN with one rank, or without timing. */
LKS_API double lks_replica_hidden_share(lks_replica_t *replica);

/** The state of PowerSGD, for checkpoints; NULL without it. Borrowed. */
LKS_API lks_power_sgd_t *lks_replica_power_sgd(lks_replica_t *replica);

/** Copies rank 0's parameters, buffers, optimizer state, master values and loss scale to all ranks. Called by all.
 *  Errors: ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_broadcast(lks_replica_t *replica);

/** DistributedDataParallel.join's. All ranks alike. */
typedef struct lks_join_options {
    /** Averages are over all ranks, so that a sample counts the same whenever it comes; else over those that have inputs,
     *  as if there were no others. true */
    bool divide_by_initial_world_size;
    /** As soon as a rank is out of inputs and another is not, lks_replica_begin and join_end fail on every rank. false */
    bool throw_on_early_termination;
} lks_join_options_t;

LKS_API lks_join_options_t lks_join_options_default(void);

/** From now on ranks may run out of inputs. Called by all ranks; `options` may be NULL. Before each step ranks then tell
 *  each other whether they have inputs: one small collective more. Collectives of the caller's own in the loop,
 *  lks_replica_broadcast among them, have nobody who answers them for a rank without inputs; they need
 *  throw_on_early_termination, and to come behind lks_replica_begin.
 *  Errors: INVALID_ARG (in a join), MISMATCH (ranks have different options), NO_MEMORY, ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_join_begin(lks_replica_t *replica,
                                                          const lks_join_options_t *options);

/** This rank is out of inputs. Returns when all are, on all; parameters and buffers are then those of the rank that was
 *  last to run out, the highest of several, on every rank. Meanwhile buffers at the beginning of a step are those of the
 *  highest rank with inputs (BROADCAST), or the mean of all ranks with inputs; the optimizer is configured as on that
 *  rank when its step began; and what this rank had accumulated without synchronization goes into the next step with it.
 *  A caller's own optimizer sees nothing of these steps: its state is the caller's to bring up to date. A replica with an
 *  optimizer of ours steps by lks_replica_step.
 *  Errors: INVALID_ARG (no join), MISMATCH (early termination: the sentence says who is out of inputs; the join has ended,
 *  and the replica goes on), ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_join_end(lks_replica_t *replica);

LKS_END_DECLS
#endif
