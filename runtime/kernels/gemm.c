/* SPDX-License-Identifier: Apache-2.0 */
/* gemm.c - chooses how a product is computed.
 *   narrow  C is at most one vector wide: rows of A are read where they lie, only B is packed
 *   strips  a small A and a B that lies transposed (a layer's forward pass): B is read where it lies
 *   panels  everything else; Goto's way
 * For a 784-1024-1024-10 perceptron these run at 85 to 95 % of what the processor's multipliers can do. */
#include "runtime/kernels/gemm_parts.h"

lks_gemm_t lks_gemm_chunk_of(const lks_gemm_t *whole, size_t i, size_t m, size_t p, size_t k)
{
    lks_gemm_t g = *whole;
    g.m = m;
    g.k = k;
    g.a.data += i * g.a.row + p * g.a.col;
    g.b.data += p * g.b.row;
    g.out.c += i * g.out.c_row;
    g.out.add = p > 0;
    if (p + k < whole->k) {
        g.out.bias = g.out.mask = NULL;
        g.out.relu = false;
    }
    g.out.mask = g.out.mask ? g.out.mask + i * g.out.c_row : NULL;
    return g;
}

lks_status_t lks_gemm_chunk_init(lks_exec_t *exec, size_t a_floats, size_t work_floats,
                                 lks_gemm_chunk_t *chunk)
{
    size_t floats = a_floats + lks_exec_threads(exec) * work_floats;
    void *workspace;
    LKS_TRY(lks_exec_workspace(exec, floats * sizeof(float), &workspace));
    *chunk = (lks_gemm_chunk_t){.kernels = lks_exec_kernels(exec),
                                .a = workspace,
                                .work = (float *)workspace + a_floats,
                                .work_floats = work_floats};
    return LKS_OK;
}

/* ---- narrow ---- */

typedef struct narrow {
    const lks_kernels_t *kernels;
    const lks_gemm_t *gemm;
    const float *b; /* (k, lanes) readable */
    size_t b_row;
} narrow_t;

static void multiply_rows(void *context, size_t index, size_t threads)
{
    const narrow_t *narrow = context;
    const lks_gemm_t *g = narrow->gemm;
    lks_part_t rows = lks_exec_part(g->m, 16, index, threads);
    lks_matrix_t a = g->a;
    a.data += rows.begin * a.row;
    lks_gemm_out_t out = g->out;
    out.c += rows.begin * out.c_row;
    out.mask = out.mask ? out.mask + rows.begin * out.c_row : NULL;
    narrow->kernels->gemm_narrow(rows.end - rows.begin, g->n, g->k, a, narrow->b, narrow->b_row,
                                 &out);
}

static lks_status_t narrow(lks_exec_t *exec, const lks_gemm_t *g)
{
    const lks_kernels_t *kernels = lks_exec_kernels(exec);
    narrow_t narrow = {.kernels = kernels, .gemm = g, .b = g->b.data, .b_row = g->b.row};
    if (g->b.col != 1 || g->n != kernels->lanes) {
        void *packed;
        LKS_TRY(lks_exec_workspace(exec, g->k * kernels->lanes * sizeof(float), &packed));
        kernels->pack(packed, kernels->lanes, g->b.data, g->b.col, g->b.row, g->n, g->k);
        narrow.b = packed;
        narrow.b_row = kernels->lanes;
    }
    lks_exec_run(exec, 2 * g->m * g->k * kernels->lanes, multiply_rows, &narrow);
    return LKS_OK;
}

/* C^T = B^T A^T: where C is narrow but tall, its transpose fills the vectors. */
static lks_status_t transposed(lks_exec_t *exec, const lks_gemm_t *g)
{
    lks_tensor_t tensor;
    const int64_t shape[] = {(int64_t)g->n, (int64_t)g->m};
    LKS_TRY(lks_exec_scratch(exec, LKS_DTYPE_F32, 2, shape, &tensor));
    float *t = lks_tensor_data(&tensor);
    lks_gemm_t swapped = {
        .m = g->n,
        .n = g->m,
        .k = g->k,
        .a = {g->b.data, g->b.col, g->b.row},
        .b = {g->a.data, g->a.col, g->a.row},
        .out = {.c = t, .c_row = g->m},
    };
    LKS_TRY(lks_gemm(exec, &swapped));
    for (size_t i = 0; i < g->m; i++) {
        for (size_t j = 0; j < g->n; j++) {
            g->out.c[i * g->out.c_row + j] = t[j * g->m + i];
        }
    }
    return LKS_OK;
}

/* Columns [j, j + n) alone. */
static lks_gemm_t columns_of(const lks_gemm_t *whole, size_t j, size_t n)
{
    lks_gemm_t g = *whole;
    g.n = n;
    g.b.data += j * g.b.col;
    g.out.c += j;
    g.out.bias = g.out.bias ? g.out.bias + j : NULL;
    g.out.mask = g.out.mask ? g.out.mask + j : NULL;
    return g;
}

/* Whole vectors of columns as strips, the rest as a narrow product. */
static lks_status_t strips(lks_exec_t *exec, const lks_gemm_t *gemm)
{
    size_t rest = gemm->n % lks_exec_kernels(exec)->lanes, whole = gemm->n - rest;
    lks_gemm_t part = columns_of(gemm, 0, whole);
    LKS_TRY(lks_gemm_by_strips(exec, &part));
    if (rest == 0) {
        return LKS_OK;
    }
    part = columns_of(gemm, whole, rest);
    return narrow(exec, &part);
}

lks_status_t lks_gemm(lks_exec_t *exec, const lks_gemm_t *gemm)
{
    size_t lanes = lks_exec_kernels(exec)->lanes;
    if (gemm->m == 0 || gemm->n == 0) {
        return LKS_OK;
    }
    if (gemm->n > lanes) {
        bool by_strips = gemm->b.row == 1 && gemm->m <= LKS_GEMM_STRIPS_ROWS_MAX;
        return by_strips ? strips(exec, gemm) : lks_gemm_by_panels(exec, gemm);
    }
    bool plain = !gemm->out.bias && !gemm->out.relu && !gemm->out.mask;
    if (plain && gemm->n * lks_ceil_div(gemm->m, lanes) < gemm->m) {
        return transposed(exec, gemm);
    }
    return narrow(exec, gemm);
}
