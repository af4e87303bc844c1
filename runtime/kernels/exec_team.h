/* SPDX-License-Identifier: Apache-2.0 */
/* exec_team.h - what layers, losses and optimizers of this library see of an exec beyond the public header:
 * its kernels, its memory, and a way to spread work over its threads.
 * The same work with the same number of threads is always cut in the same way, so results depend on the
 * number of threads at most, never on timing. */
#ifndef LOCKSTEP_RUNTIME_KERNELS_EXEC_TEAM_H
#define LOCKSTEP_RUNTIME_KERNELS_EXEC_TEAM_H

#include "core/trace.h"
#include "runtime/kernels/table.h"

#include <lockstep/exec.h>

const lks_kernels_t *lks_exec_kernels(const lks_exec_t *exec);

/** Runs `run(context, index, threads)` for index 0 to threads - 1 and waits. `work` is the size of the job in
 *  bytes moved or floating-point operations, whichever is more: a job too small to be worth waking helpers
 *  runs in the caller alone, as run(context, 0, 1). */
void lks_exec_run(lks_exec_t *exec, size_t work,
                  void (*run)(void *context, size_t index, size_t threads), void *context);

/** Part `index` of `parts` of 0..count: [begin, end). Parts begin at multiples of `grain` and are as equal as
 *  that allows; some may be empty. */
typedef struct lks_part {
    size_t begin, end;
} lks_part_t;
lks_part_t lks_exec_part(size_t count, size_t grain, size_t index, size_t parts);

/** What lks_exec_set_position was told. */
typedef struct lks_exec_position {
    uint64_t seed, step;
    int64_t first_sample;
} lks_exec_position_t;
const lks_exec_position_t *lks_exec_position(const lks_exec_t *exec);

/** What backward tells when the gradient of a parameter is done, by its index in the module; NULL: nobody listens.
 *  A failure ends backward. */
void lks_exec_set_grad_hook(lks_exec_t *exec, lks_status_t (*ready)(void *context, size_t param),
                            void *context);
LKS_NODISCARD lks_status_t lks_exec_grad_ready(const lks_exec_t *exec, size_t param);

/** Where layers record their spans; NULL, at first: nowhere. */
void lks_exec_set_trace_row(lks_exec_t *exec, lks_trace_row_t *row);
lks_trace_row_t *lks_exec_trace_row(const lks_exec_t *exec);

/** Counts resets: a tensor of scratch is valid while this is what it was when the tensor was made. */
uint64_t lks_exec_generation(const lks_exec_t *exec);

/** `nbytes` undefined bytes, aligned to 64, for the caller's own call and only until the next request.
 *  Errors: NO_MEMORY, DEVICE. */
LKS_NODISCARD lks_status_t lks_exec_workspace(lks_exec_t *exec, size_t nbytes, void **out);

/** Likewise, for what a layer keeps while it calls others that use the workspace. Errors: NO_MEMORY, DEVICE. */
LKS_NODISCARD lks_status_t lks_exec_layer_memory(lks_exec_t *exec, size_t nbytes, void **out);

#endif
