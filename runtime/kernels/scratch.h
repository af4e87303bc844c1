/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.h - the tensors of one step: handed out one after the other, given back all at once.
 * Unlike an arena (core/arena.h) it hands out device memory, and each block is a storage, so that tensors can
 * be views of it. After the first step one block serves every later one.
 * Threads: belongs to one thread. */
#ifndef LOCKSTEP_RUNTIME_KERNELS_SCRATCH_H
#define LOCKSTEP_RUNTIME_KERNELS_SCRATCH_H

#include <lockstep/tensor.h>

/** Each block is at least as large as all before it together: their number stays small. */
#define LKS_SCRATCH_BLOCKS 64

typedef struct lks_scratch {
    lks_device_t *device;
    lks_storage_t *blocks[LKS_SCRATCH_BLOCKS];
    size_t count;
    size_t used;  /* bytes of the last block */
    size_t total; /* bytes of all blocks, those given back at the last reset included */
} lks_scratch_t;

void lks_scratch_init(lks_scratch_t *scratch, lks_device_t *device);
void lks_scratch_fini(lks_scratch_t *scratch);

/** An undefined contiguous tensor, aligned to 64 bytes, valid until reset. Its storage is borrowed.
 *  Errors: INVALID_ARG (dtype, shape), NO_MEMORY, DEVICE. */
LKS_NODISCARD lks_status_t lks_scratch_tensor(lks_scratch_t *scratch, lks_dtype_t dtype, int ndim,
                                              const int64_t *shape, lks_tensor_t *out);

void lks_scratch_reset(lks_scratch_t *scratch);

#endif
