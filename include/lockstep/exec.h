/* SPDX-License-Identifier: Apache-2.0 */
/* exec.h - what one replica computes with: its device's kernels, its threads, and the scratch of a step.
 * Created by the thread that will use it; layers, losses and optimizers get it passed. It also carries what a
 * random layer must know to be independent of how the batch was split: seed, step and the position of the
 * first local sample in the global batch.
 * Threads: belongs to one thread; inside a call the math is spread over the device's cores. */
#ifndef LOCKSTEP_EXEC_H
#define LOCKSTEP_EXEC_H

#include <lockstep/tensor.h>

LKS_BEGIN_DECLS

typedef struct lks_exec lks_exec_t;

typedef struct lks_exec_config {
    size_t threads; /**< 0: one per core of the device */
} lks_exec_config_t;

LKS_API lks_exec_config_t lks_exec_config_default(void);

/** Binds the calling thread to the device's first core and starts the other threads on the rest.
 *  `config` may be NULL. Errors: NO_MEMORY, DEVICE, IO (no thread). */
LKS_API LKS_NODISCARD lks_status_t lks_exec_create(lks_device_t *device,
                                                   const lks_exec_config_t *config,
                                                   lks_exec_t **out);
LKS_API void lks_exec_destroy(lks_exec_t *exec);
LKS_API lks_device_t *lks_exec_device(const lks_exec_t *exec);
LKS_API size_t lks_exec_threads(const lks_exec_t *exec);

/** Training mode (dropout active) or evaluation mode (the default). */
LKS_API void lks_exec_set_training(lks_exec_t *exec, bool training);
LKS_API bool lks_exec_is_training(const lks_exec_t *exec);

/** The random numbers of the next forward pass: Philox key `seed`, counter (step, layer, position in the
 *  global batch, element); `first_sample` is the position of this replica's first sample. */
LKS_API void lks_exec_set_position(lks_exec_t *exec, uint64_t seed, uint64_t step,
                                   int64_t first_sample);

/** Gives back the scratch of the last step: outputs of forward and backward become invalid. */
LKS_API void lks_exec_reset(lks_exec_t *exec);

/** Uninitialized scratch on the device, contiguous, valid until lks_exec_reset. Its storage is borrowed.
 *  Errors: INVALID_ARG, NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_exec_scratch(lks_exec_t *exec, lks_dtype_t dtype, int ndim,
                                                    const int64_t *shape, lks_tensor_t *out);

LKS_END_DECLS
#endif
