/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - the math of the host device, one table per instruction set.
 * host_baseline.c, host_v3.c and host_v4.c compile the same host_*.inc sources for x86-64, x86-64-v3 (AVX2, FMA)
 * and x86-64-v4 (AVX-512); lks_kernels_get chooses once (core/isa.h).
 * A kernel works on one thread's part: whoever calls it divides the work (exec.c). All data is float32,
 * contiguous unless a leading dimension says otherwise, and never overlaps unless it is the same pointer. */
#ifndef LOCKSTEP_RUNTIME_KERNELS_TABLE_H
#define LOCKSTEP_RUNTIME_KERNELS_TABLE_H

#include <lockstep/dtype.h>

/** One SGD update; formulas of torch.optim.SGD. All scalars already rounded to float32. */
typedef struct lks_sgd_args {
    float lr, momentum, weight_decay;
    float one_minus_dampening; /* computed in float64, then rounded */
    bool nesterov, maximize;
    bool first; /* the momentum buffer is set to the gradient instead of updated */
} lks_sgd_args_t;

/** One Adam or AdamW update; formulas of torch.optim.Adam and AdamW. */
typedef struct lks_adam_args {
    float beta1, beta2, eps;
    float one_minus_beta1, one_minus_beta2; /* computed in float64, then rounded */
    float step_size;                        /* lr / (1 - beta1^t) */
    float inv_sqrt_bias2;                   /* 1 / sqrt(1 - beta2^t) */
    float weight_decay;                     /* added to the gradient (Adam), 0 for AdamW */
    float decay; /* value *= decay first (AdamW: 1 - lr x weight_decay), 1 for Adam */
    bool maximize;
} lks_adam_args_t;

/** A matrix: element (i, j) is data[i * row + j * col]. */
typedef struct lks_matrix {
    const float *data;
    size_t row, col;
} lks_matrix_t;

/** A panel of B: `n` <= gemm_cols columns. Row p is gemm_cols readable floats at b + p * b_row. The next panel,
 *  NULL if there is none, lies at next + p * next_row and is only fetched into the cache. */
typedef struct lks_gemm_panel {
    size_t n, k;
    const float *b;
    size_t b_row;
    const float *next;
    size_t next_row;
} lks_gemm_panel_t;

/** Where a product goes: element (i, j) to c[i * c_row + j], after these steps in this order: what is there is
 *  added; the bias of its column is added; ReLU (NaN stays NaN); 0 where mask, laid out as C, holds a number <= 0
 *  (the gradient of a ReLU whose output is the mask). */
typedef struct lks_gemm_out {
    float *c;
    size_t c_row;
    bool add;
    const float *bias; /* (n), or NULL */
    bool relu;
    const float *mask; /* NULL for none */
} lks_gemm_out_t;

/** The rows of A are packed and multiplied in blocks: all `m` of them in as few blocks of at most `most` as
 *  possible, and those of equal size or one less. */
static inline size_t lks_gemm_blocks(size_t m, size_t most)
{
    return m / most + (m % most != 0);
}

typedef struct lks_gemm_rows {
    size_t first, count;
} lks_gemm_rows_t;

static inline lks_gemm_rows_t lks_gemm_block(size_t m, size_t most, size_t block)
{
    size_t blocks = lks_gemm_blocks(m, most), each = m / blocks, more = m % blocks;
    return (lks_gemm_rows_t){block * each + (block < more ? block : more), each + (block < more)};
}

/** Which elements a dropout keeps: element e of row i where the upper 24 bits of word e % 4 of the Philox
 *  block (step, layer, sample + i, e / 4) under the key `seed` are at least `threshold`. */
typedef struct lks_dropout_args {
    uint64_t seed;
    uint32_t step, layer, sample;
    uint32_t threshold; /* the probability of 0, times 2^24, rounded up */
    float scale;
} lks_dropout_args_t;

typedef struct lks_kernels {
    const char *isa; /* "baseline", "v3", "v4" */

    /* Matrix products; gemm.h is the way to use them. */
    size_t lanes;       /* float32 in a vector */
    size_t gemm_rows;   /* most rows of A in a block */
    size_t packed_rows; /* lanes of a packed block of A */
    size_t gemm_cols;   /* columns of B in a panel: 2 x lanes */

    /* dst[p * width + lane] = src[lane * lane_stride + p * k_stride] for p < k; lanes up to the next multiple
     * of a vector are written with anything. `width` is such a multiple. lanes > 0. */
    void (*pack)(float *dst, size_t width, const float *src, size_t lane_stride, size_t k_stride,
                 size_t lanes, size_t k);
    /* Blocks [first_block, last_block) of the `m` rows of A, packed one behind the other as (k, packed_rows),
     * times a panel of B. */
    void (*gemm_wide)(size_t m, size_t first_block, size_t last_block, const float *a,
                      const lks_gemm_panel_t *panel, const lks_gemm_out_t *out);
    /* All rows of A times `n` <= lanes columns. Row p of B is `lanes` readable floats at b + p * b_row. */
    void (*gemm_narrow)(size_t m, size_t n, size_t k, lks_matrix_t a, const float *b, size_t b_row,
                        const lks_gemm_out_t *out);
    /* All rows of A, packed as panels (k, gemm_cols) of gemm_cols rows each, times B, whose columns are the
     * rows bt + j * bt_row; n is a multiple of lanes. `work`: 2 x lanes floats for each row of the panels. */
    void (*gemm_strips)(size_t m, size_t n, size_t k, const float *a, const float *bt,
                        size_t bt_row, float *work, const lks_gemm_out_t *out);

    /* Layers. */
    void (*relu)(size_t count, const float *x, float *y);
    /* y: the ReLU's output */
    void (*relu_backward)(size_t count, const float *y, const float *grad_y, float *grad_x);
    /* sums[j] = x[0 * x_row + j] + x[1 * x_row + j] + ... */
    void (*column_sums)(size_t rows, size_t cols, const float *x, size_t x_row, float *sums);
    /* y = scale x where kept, else 0; also dropout's backward pass. */
    void (*dropout)(size_t rows, size_t cols, const float *x, const lks_dropout_args_t *args,
                    float *y);

    /* Losses.
     * Labels are in [0, classes). row_loss[i] = -log softmax(logits)[i][labels[i]]; grad (NULL for none) = scale x its gradient. `work` is
     * classes x lanes floats. Returns the rows whose first largest logit is the label. */
    size_t (*cross_entropy)(size_t rows, size_t classes, const float *logits, const int64_t *labels,
                            float scale, float *grad, float *work, float *row_loss);
    /* Sum of (output - target)^2; grad (NULL for none) = scale x (output - target). */
    double (*squared_error)(size_t count, const float *output, const float *target, float scale,
                            float *grad);

    /* Optimizers.
     * value[i] updated from grad[i]; buffer (momentum) may be NULL where momentum is 0. */
    void (*sgd)(float *value, const float *grad, float *buffer, size_t count,
                const lks_sgd_args_t *args);
    /* max_square: amsgrad's running maximum of exp_avg_sq, or NULL. */
    void (*adam)(float *value, const float *grad, float *exp_avg, float *exp_avg_sq,
                 float *max_square, size_t count, const lks_adam_args_t *args);

    /* 16-bit floats to float32 and back; lks_kernels_widen and _narrow choose. */
    void (*load_f16)(void *numbers, const void *elements, size_t count);
    void (*load_bf16)(void *numbers, const void *elements, size_t count);
    void (*store_f16)(void *elements, const void *numbers, size_t count);
    void (*store_bf16)(void *elements, const void *numbers, size_t count);
} lks_kernels_t;

/** to[i] = from[i], elements of `dtype`, which is float16 or bfloat16. */
static inline void lks_kernels_widen(const lks_kernels_t *kernels, lks_dtype_t dtype, float *to,
                                     const void *from, size_t count)
{
    (dtype == LKS_DTYPE_F16 ? kernels->load_f16 : kernels->load_bf16)(to, from, count);
}

/** The way back: to nearest, ties to even. */
static inline void lks_kernels_narrow(const lks_kernels_t *kernels, lks_dtype_t dtype, void *to,
                                      const float *from, size_t count)
{
    (dtype == LKS_DTYPE_F16 ? kernels->store_f16 : kernels->store_bf16)(to, from, count);
}

extern const lks_kernels_t lks_kernels_baseline, lks_kernels_v3, lks_kernels_v4;

/** The best table this processor runs (or LOCKSTEP_ISA asks for). Thread-safe. */
const lks_kernels_t *lks_kernels_get(void);

#endif
