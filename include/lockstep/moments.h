/* SPDX-License-Identifier: Apache-2.0 */
/* moments.h - mean and variance of a batch that is spread over the ranks: what batch normalization over all of it
 * (torch.nn.SyncBatchNorm) asks of a communicator.
 *     forward:  mean and var of this rank's x, then lks_comm_moments; y = weight (x - mean) invstd + bias, where
 *               invstd = 1 / sqrt(var + eps); running_var takes count / (count - 1) var
 *     backward: sum_dy = sum of dy, sum_dy_xmu = sum of dy (x - mean), over this rank's x with the mean of all (from
 *               these, times invstd, the gradients of bias and weight), then lks_comm_moments_backward;
 *               dx = (dy - sum_dy / count - (x - mean) invstd^2 sum_dy_xmu / count) invstd weight
 * Sources: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979, for
 *     putting moments together; torch/nn/modules/_functions.py for what is exchanged.
 * Ranks may have different numbers of values, or none. Numbers are float32, on the host; between them all is float64. The
 * results have the same bits on every rank and in every run. */
#ifndef LOCKSTEP_MOMENTS_H
#define LOCKSTEP_MOMENTS_H

#include <lockstep/comm.h>

LKS_BEGIN_DECLS

/** In: `*count` values per channel on this rank, their mean and biased variance (the mean of (x - mean)^2), shape (channels);
 *  a rank without values comes as well, and its mean and var are not looked at. Out: those of all ranks together; zeros
 *  if nobody has values. A collective: all_gather of 8 + 8 channels bytes.
 *  Errors: INVALID_ARG (a negative count; this rank called nothing), NO_MEMORY, ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_moments(lks_comm_t *comm, size_t channels,
                                                    int64_t *count, float *mean, float *var);

/** In: this rank's sums, shape (channels), zeros without values. Out: those over all ranks. A collective: all_reduce of
 *  2 channels float64. Errors: NO_MEMORY, ABORTED. */
LKS_API LKS_NODISCARD lks_status_t lks_comm_moments_backward(lks_comm_t *comm, size_t channels,
                                                             float *sum_dy, float *sum_dy_xmu);

LKS_END_DECLS
#endif
