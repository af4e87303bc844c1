/* SPDX-License-Identifier: Apache-2.0 */
/* gemm.h - matrix products over the threads of an exec.
 * An element's sum runs over the depth in an order that depends on the sizes and the instruction set alone: the
 * number of threads does not change a bit. */
#ifndef LOCKSTEP_RUNTIME_KERNELS_GEMM_H
#define LOCKSTEP_RUNTIME_KERNELS_GEMM_H

#include "runtime/kernels/exec_team.h"

/** C = A B: A is (m, k), B is (k, n), in any layout; any size may be 0. `out.add` must be false. C overlaps
 *  nothing else. */
typedef struct lks_gemm {
    size_t m, n, k;
    lks_matrix_t a, b;
    lks_gemm_out_t out;
} lks_gemm_t;

/** Uses the exec's workspace. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_gemm(lks_exec_t *exec, const lks_gemm_t *gemm);

#endif
