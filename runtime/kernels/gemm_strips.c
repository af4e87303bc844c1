/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_strips.c - x W^T for a batch x and a weight W: all of x is packed, by all threads, and stays in the
 * second-level cache; then each thread reads its rows of W once, where they lie. */
#include "runtime/kernels/gemm_parts.h"

static void pack_batch(void *context, size_t index, size_t threads)
{
    const lks_gemm_chunk_t *chunk = context;
    const lks_gemm_t *g = &chunk->gemm;
    size_t cols = chunk->kernels->gemm_cols;
    lks_part_t part = lks_exec_part(g->m, cols, index, threads);
    for (size_t i = part.begin; i < part.end; i += cols) {
        chunk->kernels->pack(chunk->a + i * g->k, cols, g->a.data + i * g->a.row, g->a.row,
                             g->a.col, lks_at_most(cols, part.end - i), g->k);
    }
}

static void multiply(void *context, size_t index, size_t threads)
{
    const lks_gemm_chunk_t *chunk = context;
    const lks_gemm_t *g = &chunk->gemm;
    lks_part_t part = lks_exec_part(g->n, chunk->kernels->lanes, index, threads);
    lks_gemm_out_t out = g->out;
    out.c += part.begin;
    out.bias = out.bias ? out.bias + part.begin : NULL;
    out.mask = out.mask ? out.mask + part.begin : NULL;
    chunk->kernels->gemm_strips(g->m, part.end - part.begin, g->k, chunk->a,
                                g->b.data + part.begin * g->b.col, g->b.col,
                                chunk->work + index * chunk->work_floats, &out);
}

lks_status_t lks_gemm_by_strips(lks_exec_t *exec, const lks_gemm_t *gemm)
{
    const lks_kernels_t *kernels = lks_exec_kernels(exec);
    size_t rows = lks_ceil_div(gemm->m, kernels->gemm_cols) * kernels->gemm_cols;
    size_t depth = lks_gemm_depth(gemm->k, LKS_GEMM_CHUNK_MAX / rows);
    lks_gemm_chunk_t chunk;
    LKS_TRY(lks_gemm_chunk_init(exec, rows * depth, 2 * kernels->lanes * rows, &chunk));
    size_t p = 0;
    do { /* once even without depth: C becomes 0, biased */
        size_t k = lks_at_most(depth, gemm->k - p);
        chunk.gemm = lks_gemm_chunk_of(gemm, 0, gemm->m, p, k);
        lks_exec_run(exec, gemm->m * k * 2 * sizeof(float), pack_batch, &chunk);
        lks_exec_run(exec, 2 * gemm->m * k * gemm->n, multiply, &chunk);
        p += k;
    } while (p < gemm->k);
    return LKS_OK;
}
