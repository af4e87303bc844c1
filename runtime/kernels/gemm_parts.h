/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_parts.h - the ways to compute a product (gemm.c chooses), and what they share. */
#ifndef LOCKSTEP_RUNTIME_KERNELS_GEMM_PARTS_H
#define LOCKSTEP_RUNTIME_KERNELS_GEMM_PARTS_H

#include "runtime/kernels/gemm.h"

/** Floats of a packed chunk of A: with what is used beside it within a second-level cache of 1 MiB. */
#define LKS_GEMM_CHUNK_MAX ((size_t)160 << 10)

/** One round of a product: some rows of A and some of the depth, all columns. */
typedef struct lks_gemm_chunk {
    const lks_kernels_t *kernels;
    lks_gemm_t gemm; /* of the chunk alone */
    float *a;        /* its part of A, packed; shared by the threads */
    float *work;     /* work_floats for each thread */
    size_t work_floats;
} lks_gemm_chunk_t;

/** Rows [i, i + m) and depth [p, p + k). The last chunk of the depth finishes the elements, the others leave
 *  sums. */
lks_gemm_t lks_gemm_chunk_of(const lks_gemm_t *whole, size_t i, size_t m, size_t p, size_t k);

/** The workspace of `chunk`, from the exec. */
LKS_NODISCARD lks_status_t lks_gemm_chunk_init(lks_exec_t *exec, size_t a_floats,
                                               size_t work_floats, lks_gemm_chunk_t *chunk);

/** Any product. */
LKS_NODISCARD lks_status_t lks_gemm_by_panels(lks_exec_t *exec, const lks_gemm_t *gemm);

/** Few rows of A, B's columns contiguous, n a multiple of a vector. */
#define LKS_GEMM_STRIPS_ROWS_MAX 256
LKS_NODISCARD lks_status_t lks_gemm_by_strips(lks_exec_t *exec, const lks_gemm_t *gemm);

static inline size_t lks_at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t lks_ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/** The depth of a chunk: k in as few equal parts as `most` allows. */
static inline size_t lks_gemm_depth(size_t k, size_t most)
{
    return k ? lks_ceil_div(k, lks_ceil_div(k, most)) : 0;
}

#endif
