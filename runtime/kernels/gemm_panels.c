/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_panels.c - a product of any kind. A chunk of A that fits the second-level cache is packed once, by all
 * threads; then each thread takes panels of columns of B one by one and multiplies each with every block of A.
 * So a panel is read once from far away and stays near while it is used. */
#include "runtime/kernels/gemm_parts.h"

/* Most of the depth at a time: a panel of B and a block of A stay in the second-level cache. */
#define DEPTH_MAX 512

/* Blocks of A that use a panel before a packed copy of it pays. */
#define USES_WORTH_A_COPY 20

static void pack_blocks(void *context, size_t index, size_t threads)
{
    const lks_gemm_chunk_t *chunk = context;
    const lks_kernels_t *kernels = chunk->kernels;
    const lks_gemm_t *g = &chunk->gemm;
    size_t blocks = lks_gemm_blocks(g->m, kernels->gemm_rows);
    lks_part_t part = lks_exec_part(blocks, 1, index, threads);
    for (size_t block = part.begin; block < part.end; block++) {
        lks_gemm_rows_t rows = lks_gemm_block(g->m, kernels->gemm_rows, block);
        kernels->pack(chunk->a + block * g->k * kernels->packed_rows, kernels->packed_rows,
                      g->a.data + rows.first * g->a.row, g->a.row, g->a.col, rows.count, g->k);
    }
}

/* Columns [j, j + n) of B: in place if its rows are contiguous and not used too often, else a copy. `last`
 * columns are the end of this thread's part. */
static lks_gemm_panel_t panel_of(const lks_gemm_chunk_t *chunk, float *copy, size_t j, size_t last)
{
    const lks_gemm_t *g = &chunk->gemm;
    const lks_kernels_t *kernels = chunk->kernels;
    size_t cols = kernels->gemm_cols;
    lks_gemm_panel_t panel = {.n = lks_at_most(last - j, cols),
                              .k = g->k,
                              .b = g->b.data + j * g->b.col,
                              .b_row = g->b.row};
    if (g->b.col == 1 && j + cols < last) {
        panel.next = panel.b + cols;
        panel.next_row = g->b.row;
    }
    size_t uses = lks_gemm_blocks(g->m, kernels->gemm_rows);
    if (g->b.col != 1 || panel.n < cols || uses >= USES_WORTH_A_COPY) {
        kernels->pack(copy, cols, panel.b, g->b.col, g->b.row, panel.n, g->k);
        panel.b = copy;
        panel.b_row = cols;
    }
    return panel;
}

static void multiply(void *context, size_t index, size_t threads)
{
    const lks_gemm_chunk_t *chunk = context;
    const lks_kernels_t *kernels = chunk->kernels;
    const lks_gemm_t *g = &chunk->gemm;
    size_t cols = kernels->gemm_cols, panels = lks_ceil_div(g->n, cols);
    size_t across = lks_at_most(panels, threads), down = threads / across;
    if (index >= across * down) {
        return;
    }
    size_t blocks = lks_gemm_blocks(g->m, kernels->gemm_rows);
    lks_part_t columns = lks_exec_part(g->n, cols, index % across, across);
    lks_part_t rows = lks_exec_part(blocks, 1, index / across, down);
    float *copy = chunk->work + index * chunk->work_floats;
    for (size_t j = columns.begin; j < columns.end; j += cols) {
        lks_gemm_panel_t panel = panel_of(chunk, copy, j, columns.end);
        lks_gemm_out_t out = g->out;
        out.c += j;
        out.bias = out.bias ? out.bias + j : NULL;
        out.mask = out.mask ? out.mask + j : NULL;
        kernels->gemm_wide(g->m, rows.begin, rows.end, chunk->a, &panel, &out);
    }
}

lks_status_t lks_gemm_by_panels(lks_exec_t *exec, const lks_gemm_t *gemm)
{
    const lks_kernels_t *kernels = lks_exec_kernels(exec);
    size_t depth = lks_gemm_depth(gemm->k, DEPTH_MAX);
    size_t blocks = LKS_GEMM_CHUNK_MAX / ((depth + 1) * kernels->packed_rows);
    size_t rows = lks_at_most(gemm->m, blocks * kernels->gemm_rows);
    size_t a_floats = lks_gemm_blocks(rows, kernels->gemm_rows) * kernels->packed_rows * depth;
    lks_gemm_chunk_t chunk;
    LKS_TRY(lks_gemm_chunk_init(exec, a_floats, kernels->gemm_cols * depth, &chunk));
    for (size_t i = 0; i < gemm->m; i += rows) {
        size_t p = 0;
        do { /* once even without depth: C becomes 0, biased */
            size_t m = lks_at_most(rows, gemm->m - i), k = lks_at_most(depth, gemm->k - p);
            chunk.gemm = lks_gemm_chunk_of(gemm, i, m, p, k);
            lks_exec_run(exec, m * k * 2 * sizeof(float), pack_blocks, &chunk);
            lks_exec_run(exec, 2 * m * k * gemm->n, multiply, &chunk);
            p += k;
        } while (p < gemm->k);
    }
    return LKS_OK;
}
