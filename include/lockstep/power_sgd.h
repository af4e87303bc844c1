/* SPDX-License-Identifier: Apache-2.0 */
/* power_sgd.h - gradients as products of two thin matrices: the communication hook LKS_COMM_HOOK_POWER_SGD.
 * Sources: Vogels, Karimireddy, Jaggi, "PowerSGD: practical low-rank gradient compression for distributed optimization",
 *     NeurIPS 2019; powerSGD_hook of torch.distributed.algorithms.ddp_comm_hooks, whose defaults these are.
 * A gradient of shape (n, ...) is a matrix M (n, m). With Q (m, r), orthonormal:
 *     M += error of the last step              with error feedback
 *     P = M Q, summed over the ranks, then orthonormal
 *     Q = M^T P, summed over the ranks, then divided by their number
 *     the gradient is P Q^T; error = M - P Q^T
 * Q is the last step's, orthonormal again, or random. A gradient for which that saves too little, and one that is no
 * float32, is summed as without a hook; those of a bucket travel together.
 * Here and in PyTorch: columns are made orthonormal by Gram-Schmidt (PyTorch: by QR if there are more than 2, which may
 *     turn their signs and cancels out). Here a column of zeros stays zero even if epsilon is 0. State is kept for
 *     parameters, not for buckets, so it survives their rebuilding, and PowerSGD may begin with the first step. A
 *     gradient that is not compressed has no error, as PyTorch's adds up to zero over the ranks.
 * Threads: the state belongs to its replica's thread. */
#ifndef LOCKSTEP_POWER_SGD_H
#define LOCKSTEP_POWER_SGD_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

LKS_BEGIN_DECLS

/** All ranks alike. */
typedef struct lks_power_sgd_config {
    int matrix_approximation_rank; /**< r, or n or m where that is less. 1 */
    int64_t
        start_iter; /**< steps, of those that synchronize, before the first compressed one. 1000 */
    /** Compressed is what has (n + m) r min_compression_rate < n m. 2 */
    double min_compression_rate;
    bool use_error_feedback; /**< what was lost is added to the next step's gradient. true */
    bool warm_start;         /**< Q is the last step's. true */
    /** Added to the norm that a column is divided by, if there are at most 2. 0 */
    double orthogonalization_epsilon;
    uint64_t seed; /**< of random Qs: standard normal, of Philox, the same on all ranks. 0 */
    /** In place of random numbers: fills q (rank, columns), Q transposed, of parameter `param` in step `step`; the same
     *  on all ranks. A group's ranks call it at the same time. NULL */
    void (*draw)(void *context, int64_t step, size_t param, size_t rank, size_t columns, float *q);
    void *context;
} lks_power_sgd_config_t;

LKS_API lks_power_sgd_config_t lks_power_sgd_config_default(void);

/** A replica's state: lks_replica_power_sgd (replica.h). To save: steps, and every parameter's error (each rank has its
 *  own) and q (all have the same). To restore: write these, then set the steps. */
typedef struct lks_power_sgd lks_power_sgd_t;

/** What is kept of a parameter; borrowed, float32. */
typedef struct lks_power_sgd_param {
    size_t rows, columns;
    size_t rank;  /**< 0: it is not compressed, and has no error and no q */
    float *error; /**< (rows, columns); NULL without error feedback */
    float *q;     /**< (rank, columns): the last step's Q, transposed */
} lks_power_sgd_param_t;

/** `param`: its number, as registered; zeros for one that does not exist. */
LKS_API lks_power_sgd_param_t lks_power_sgd_param(const lks_power_sgd_t *power_sgd, size_t param);

/** Steps that synchronized, compressed or not. */
LKS_API int64_t lks_power_sgd_steps(const lks_power_sgd_t *power_sgd);

/** Beyond start_iter, the next step takes the qs for written; up to it, it draws them. */
LKS_API void lks_power_sgd_set_steps(lks_power_sgd_t *power_sgd, int64_t steps);

LKS_END_DECLS
#endif
