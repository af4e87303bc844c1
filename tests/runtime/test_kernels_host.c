/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_host.c - every host kernel of every instruction set this machine has, against float64 loops.
 * Buffers end where their data ends, guarded by a value that must not change. */
#include "core/rng.h"
#include "runtime/kernels/table.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

#define GUARD (-12345.0f)

/* `count` floats and a guard behind them. */
static float *new_floats(size_t count)
{
    float *data = malloc((count + 1) * sizeof *data);
    cr_assert(data);
    data[count] = GUARD;
    return data;
}

static float *random_floats(lks_rng_t *rng, size_t count)
{
    float *data = new_floats(count);
    for (size_t i = 0; i < count; i++) {
        data[i] = 2 * lks_uniform_f32(lks_rng_u32(rng)) - 1;
    }
    return data;
}

static void free_floats(float *data, size_t count)
{
    cr_assert(data[count] == GUARD, "written past the end");
    free(data);
}

/* Calls check(kernels) for each table this processor runs: lks_kernels_get gives the widest of them. */
static void for_each_table(void (*check)(const lks_kernels_t *kernels))
{
    static const lks_kernels_t *const tables[] = {&lks_kernels_baseline, &lks_kernels_v3,
                                                  &lks_kernels_v4};
    for (size_t i = 0;; i++) {
        check(tables[i]);
        if (tables[i] == lks_kernels_get()) {
            return;
        }
    }
}

static void assert_close(const lks_kernels_t *kernels, const char *what, size_t at, double got,
                         double wanted, double tolerance)
{
    cr_assert(fabs(got - wanted) <= tolerance * (1 + fabs(wanted)), "%s %s[%zu]: %.9g, not %.9g",
              kernels->isa, what, at, got, wanted);
}

/* ---- packing ---- */

static void check_pack(const lks_kernels_t *kernels)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 1, 0);
    for (size_t lanes = 1; lanes <= 2 * kernels->lanes; lanes += 3) {
        for (size_t k = 0; k < 24; k++) {
            size_t width = 2 * kernels->lanes;
            const size_t strides[][2] = {{1, lanes}, {k ? k : 1, 1}, {2 * k + 1, 2}};
            for (size_t s = 0; s < 3; s++) {
                size_t span = k ? (lanes - 1) * strides[s][0] + (k - 1) * strides[s][1] + 1 : 0;
                float *src = random_floats(&rng, span), *dst = new_floats(k * width);
                kernels->pack(dst, width, src, strides[s][0], strides[s][1], lanes, k);
                for (size_t p = 0; p < k; p++) {
                    for (size_t lane = 0; lane < lanes; lane++) {
                        cr_assert(dst[p * width + lane] ==
                                  src[lane * strides[s][0] + p * strides[s][1]]);
                    }
                }
                free_floats(src, span);
                free_floats(dst, k * width);
            }
        }
    }
}

Test(kernels_host, pack_copies_strided_and_transposed_lanes)
{
    for_each_table(check_pack);
}

/* ---- elementwise ---- */

static const size_t counts[] = {0, 1, 3, 5, 16, 17, 33, 64, 100, 257};
enum { COUNTS = sizeof counts / sizeof *counts };

static void check_relu(const lks_kernels_t *kernels)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 2, 0);
    for (size_t c = 0; c < COUNTS; c++) {
        size_t n = counts[c];
        float *x = random_floats(&rng, n), *y = new_floats(n), *dy = random_floats(&rng, n);
        float *dx = new_floats(n);
        if (n > 3) {
            x[1] = NAN;
            x[2] = 0;
            x[3] = -INFINITY;
        }
        kernels->relu(n, x, y);
        kernels->relu_backward(n, y, dy, dx);
        for (size_t i = 0; i < n; i++) {
            float wanted = x[i] > 0 || isnan(x[i]) ? x[i] : 0;
            cr_assert(isnan(wanted) ? isnan(y[i]) : y[i] == wanted);
            cr_assert(dx[i] == (wanted > 0 || isnan(wanted) ? dy[i] : 0));
        }
        free_floats(x, n);
        free_floats(y, n);
        free_floats(dy, n);
        free_floats(dx, n);
    }
}

Test(kernels_host, relu_keeps_positive_numbers_and_nan)
{
    for_each_table(check_relu);
}

static void check_column_sums(const lks_kernels_t *kernels)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 3, 0);
    for (size_t c = 0; c < COUNTS; c++) {
        for (size_t rows = 0; rows < 12; rows++) {
            size_t cols = counts[c], stride = cols + 2;
            size_t span = rows && cols ? (rows - 1) * stride + cols : 0;
            float *x = random_floats(&rng, span), *sums = new_floats(cols);
            kernels->column_sums(rows, cols, x, stride, sums);
            for (size_t j = 0; j < cols; j++) {
                double wanted = 0;
                for (size_t i = 0; i < rows; i++) {
                    wanted += (double)x[i * stride + j];
                }
                assert_close(kernels, "column sum", j, (double)sums[j], wanted, 1e-6);
            }
            free_floats(x, span);
            free_floats(sums, cols);
        }
    }
}

Test(kernels_host, column_sums_of_any_size)
{
    for_each_table(check_column_sums);
}

/* The contract, word by word. */
static bool kept(const lks_dropout_args_t *args, size_t row, size_t col)
{
    const uint32_t counter[4] = {args->step, args->layer, args->sample + (uint32_t)row,
                                 (uint32_t)(col / 4)};
    uint32_t words[4];
    lks_philox(args->seed, counter, words);
    return words[col % 4] >> 8 >= args->threshold;
}

static void check_dropout(const lks_kernels_t *kernels)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 4, 0);
    static const uint32_t thresholds[] = {0, 1 << 22, 1 << 23, 1 << 24};
    for (size_t c = 0; c < COUNTS; c++) {
        for (size_t t = 0; t < 4; t++) {
            size_t rows = 3, cols = counts[c];
            lks_dropout_args_t args = {.seed = 0x123456789abcdef0u,
                                       .step = 7,
                                       .layer = 2,
                                       .sample = 1000 * (uint32_t)c,
                                       .threshold = thresholds[t],
                                       .scale = 1.25f};
            float *x = random_floats(&rng, rows * cols), *y = new_floats(rows * cols);
            kernels->dropout(rows, cols, x, &args, y);
            for (size_t i = 0; i < rows * cols; i++) {
                float wanted = kept(&args, i / cols, i % cols) ? 1.25f * x[i] : 0;
                cr_assert(y[i] == wanted, "%s: element %zu of %zu", kernels->isa, i, cols);
            }
            free_floats(x, rows * cols);
            free_floats(y, rows * cols);
        }
    }
}

Test(kernels_host, dropout_keeps_what_philox_says)
{
    for_each_table(check_dropout);
}

/* ---- losses ---- */

typedef struct logit_case {
    const char *name;
    size_t rows, classes;
    float scale, shift; /* logits are scale x uniform in [-1, 1) + shift */
} logit_case_t;

static const logit_case_t logit_cases[] = {
    {"iris", 150, 3, 3, 0},      {"mnist", 17, 10, 5, 0},         {"one class", 5, 1, 1, 0},
    {"one row", 1, 33, 2, 0},    {"no rows", 0, 4, 1, 0},         {"saturated", 64, 7, 200, 0},
    {"shifted", 40, 5, 1, 1e4f}, {"many classes", 9, 1000, 4, 0},
};

/* -log softmax of row z at `label`, and its gradient, in float64. */
static double naive_cross_entropy(size_t classes, const float *z, size_t label, double *grad)
{
    double largest = -INFINITY, sum = 0;
    for (size_t c = 0; c < classes; c++) {
        largest = fmax(largest, (double)z[c]);
    }
    for (size_t c = 0; c < classes; c++) {
        sum += exp((double)z[c] - largest);
    }
    for (size_t c = 0; c < classes; c++) {
        grad[c] = exp((double)z[c] - largest) / sum - (c == label);
    }
    return log(sum) + largest - (double)z[label];
}

static void check_cross_entropy_case(const lks_kernels_t *kernels, const logit_case_t *test)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 5, 0);
    size_t rows = test->rows, classes = test->classes, numel = rows * classes, hits = 0;
    float *z = random_floats(&rng, numel), *grad = new_floats(numel);
    float *loss = new_floats(rows), *work = new_floats(classes * kernels->lanes);
    int64_t *labels = malloc((rows + 1) * sizeof *labels);
    double *wanted = malloc(classes * sizeof *wanted);
    cr_assert(labels && wanted);
    for (size_t i = 0; i < numel; i++) {
        z[i] = test->scale * z[i] + test->shift;
    }
    for (size_t i = 0; i < rows; i++) {
        labels[i] = (int64_t)lks_rng_below(&rng, classes);
    }
    size_t correct = kernels->cross_entropy(rows, classes, z, labels, 0.5f, grad, work, loss);
    for (size_t i = 0; i < rows; i++) {
        size_t label = (size_t)labels[i], best = 0;
        double row = naive_cross_entropy(classes, z + i * classes, label, wanted);
        assert_close(kernels, test->name, i, (double)loss[i], row, 5e-7);
        for (size_t c = 0; c < classes; c++) {
            assert_close(kernels, test->name, c, (double)grad[i * classes + c], wanted[c] / 2,
                         3e-7);
            best = z[i * classes + c] > z[i * classes + best] ? c : best;
        }
        hits += best == label;
    }
    cr_assert(correct == hits);
    free_floats(z, numel);
    free_floats(grad, numel);
    free_floats(loss, rows);
    free_floats(work, classes * kernels->lanes);
    free(labels);
    free(wanted);
}

static void check_cross_entropy(const lks_kernels_t *kernels)
{
    for (size_t i = 0; i < sizeof logit_cases / sizeof *logit_cases; i++) {
        check_cross_entropy_case(kernels, &logit_cases[i]);
    }
}

Test(kernels_host, cross_entropy_and_its_gradient_match_float64)
{
    for_each_table(check_cross_entropy);
}

static void check_cross_entropy_edges(const lks_kernels_t *kernels)
{
    float *work = new_floats(3 * kernels->lanes);
    const float logits[] = {0,         -INFINITY, 0, /* a class that cannot be */
                            NAN,       1,         2, /* */
                            INFINITY,  1,         2, /* */
                            1,         1,         1, /* equal: the first wins */
                            -INFINITY, -INFINITY, -INFINITY};
    const int64_t labels[] = {0, 0, 0, 0, 0};
    float grad[15], loss[5];
    size_t correct = kernels->cross_entropy(5, 3, logits, labels, 1, grad, work, loss);
    cr_assert(correct >= 3); /* rows 0, 2 and 3 */
    assert_close(kernels, "two of three", 0, (double)loss[0], log(2), 1e-7);
    cr_assert(grad[1] == 0);
    cr_assert(isnan(loss[1]) && isnan(loss[2]) && isnan(loss[4]));
    cr_assert(isnan(grad[3]) && isnan(grad[4]));
    assert_close(kernels, "equal", 3, (double)loss[3], log(3), 1e-7);
    cr_assert(kernels->cross_entropy(5, 3, logits, labels, 1, NULL, work, loss) == correct);
    free_floats(work, 3 * kernels->lanes);
}

Test(kernels_host, cross_entropy_of_infinities_nan_and_ties)
{
    for_each_table(check_cross_entropy_edges);
}

static void check_squared_error(const lks_kernels_t *kernels)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 6, 0);
    for (size_t c = 0; c < COUNTS; c++) {
        size_t n = counts[c];
        float *a = random_floats(&rng, n), *b = random_floats(&rng, n), *grad = new_floats(n);
        double sum = kernels->squared_error(n, a, b, 0.25f, grad), wanted = 0;
        for (size_t i = 0; i < n; i++) {
            double d = (double)a[i] - (double)b[i];
            wanted += d * d;
            assert_close(kernels, "gradient", i, (double)grad[i], d / 4, 1e-7);
        }
        assert_close(kernels, "squared error", n, sum, wanted, 1e-6);
        cr_assert(kernels->squared_error(n, a, b, 0.25f, NULL) == sum);
        free_floats(a, n);
        free_floats(b, n);
        free_floats(grad, n);
    }
}

Test(kernels_host, squared_error_and_its_gradient)
{
    for_each_table(check_squared_error);
}

/* ---- the choice of a table ---- */

Test(kernels_select, environment_lowers_the_instruction_set)
{
    setenv("LOCKSTEP_ISA", "baseline", 1);
    cr_assert(lks_kernels_get() == &lks_kernels_baseline);
}

Test(kernels_select, unknown_instruction_set_is_ignored)
{
    setenv("LOCKSTEP_ISA", "pentium", 1);
    cr_assert(lks_kernels_get() != NULL);
}

Test(kernels_select, tables_know_their_names)
{
    cr_assert(strcmp(lks_kernels_baseline.isa, "baseline") == 0);
    cr_assert(strcmp(lks_kernels_v3.isa, "v3") == 0);
    cr_assert(strcmp(lks_kernels_v4.isa, "v4") == 0);
}
