/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernels_gemm.c - products of every shape class, layout and ending against float64, on each instruction
 * set (a test per value of LOCKSTEP_ISA), and the same bits with any number of threads. */
#include "core/rng.h"
#include "runtime/kernels/gemm.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

#define GUARD (-12345.0f)

typedef struct shape {
    size_t m, n, k;
} shape_t;

static const shape_t shapes[] = {
    {1, 1, 1},     {3, 5, 1},      {5, 3, 17},    {150, 16, 4},  {150, 3, 16},   {16, 4, 150},
    {3, 16, 150},  {33, 17, 33},   {17, 33, 5},   {14, 32, 64},  {15, 31, 65},   {29, 65, 100},
    {128, 100, 7}, {10, 256, 40},  {300, 40, 30}, {100, 1, 100}, {1, 100, 100},  {40, 48, 1100},
    {0, 5, 5},     {5, 0, 5},      {5, 40, 0},    {5, 4, 0},     {700, 33, 520}, {64, 5, 2},
    {257, 35, 40}, {256, 48, 700},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* How the operands lie and what happens to the result; see lks_gemm_out_t. */
typedef struct variant {
    bool a_transposed, b_transposed, bias, relu, mask;
} variant_t;

static const variant_t variants[] = {
    {false, false, false, false, false}, {true, false, false, false, false},
    {false, true, true, false, false},   {false, true, true, true, false},
    {false, false, false, false, true},  {true, true, false, false, false},
};
enum { VARIANTS = sizeof variants / sizeof *variants };

typedef struct product {
    shape_t shape;
    variant_t variant;
    size_t c_row;
    float *a, *b, *c, *bias, *mask;
} product_t;

static float *random_floats(lks_rng_t *rng, size_t count)
{
    float *data = malloc((count + 1) * sizeof *data);
    cr_assert(data);
    for (size_t i = 0; i < count; i++) {
        data[i] = 2 * lks_uniform_f32(lks_rng_u32(rng)) - 1;
    }
    return data;
}

static product_t new_product(shape_t shape, variant_t variant)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 7, 0);
    product_t p = {.shape = shape, .variant = variant, .c_row = shape.n + 3};
    p.a = random_floats(&rng, shape.m * shape.k);
    p.b = random_floats(&rng, shape.k * shape.n);
    p.c = random_floats(&rng, shape.m * p.c_row);
    p.bias = random_floats(&rng, shape.n);
    p.mask = random_floats(&rng, shape.m * p.c_row);
    for (size_t i = 0; i < shape.m * p.c_row; i++) {
        p.c[i] = GUARD;
    }
    if (shape.m > 0 && shape.n > 0) {
        p.mask[0] = NAN; /* not <= 0 */
    }
    return p;
}

static void free_product(product_t *p)
{
    free(p->a);
    free(p->b);
    free(p->c);
    free(p->bias);
    free(p->mask);
}

static void multiply(const product_t *p, size_t threads)
{
    lks_exec_config_t config = lks_exec_config_default();
    config.threads = threads;
    lks_exec_t *exec;
    assert_ok(lks_exec_create(lks_device_host(), &config, &exec));
    lks_gemm_t gemm = {
        .m = p->shape.m,
        .n = p->shape.n,
        .k = p->shape.k,
        .a = p->variant.a_transposed ? (lks_matrix_t){p->a, 1, p->shape.m}
                                     : (lks_matrix_t){p->a, p->shape.k, 1},
        .b = p->variant.b_transposed ? (lks_matrix_t){p->b, 1, p->shape.k}
                                     : (lks_matrix_t){p->b, p->shape.n, 1},
        .out = {.c = p->c,
                .c_row = p->c_row,
                .bias = p->variant.bias ? p->bias : NULL,
                .relu = p->variant.relu,
                .mask = p->variant.mask ? p->mask : NULL},
    };
    assert_ok(lks_gemm(exec, &gemm));
    lks_exec_destroy(exec);
}

/* Also the sum of magnitudes, in proportion to which float32 may err. */
static double wanted_element(const product_t *p, size_t i, size_t j, double *magnitude)
{
    shape_t s = p->shape;
    *magnitude = 1;
    double sum = p->variant.bias ? (double)p->bias[j] : 0;
    for (size_t q = 0; q < s.k; q++) {
        float a = p->a[p->variant.a_transposed ? q * s.m + i : i * s.k + q];
        float b = p->b[p->variant.b_transposed ? j * s.k + q : q * s.n + j];
        sum += (double)a * (double)b;
        *magnitude += fabs((double)a * (double)b);
    }
    if (p->variant.relu && sum < 0) {
        sum = 0;
    }
    return p->variant.mask && p->mask[i * p->c_row + j] <= 0 ? 0 : sum;
}

static void check_product(const product_t *p)
{
    shape_t s = p->shape;
    for (size_t i = 0; i < s.m; i++) {
        for (size_t j = 0; j < s.n; j++) {
            double magnitude, wanted = wanted_element(p, i, j, &magnitude);
            double got = (double)p->c[i * p->c_row + j];
            cr_assert(fabs(got - wanted) <= 1e-6 * magnitude,
                      "(%zu, %zu, %zu) at (%zu, %zu): %g, not %g", s.m, s.n, s.k, i, j, got,
                      wanted);
        }
        for (size_t j = s.n; j < p->c_row; j++) {
            cr_assert(p->c[i * p->c_row + j] == GUARD, "written beside C");
        }
    }
}

static void check_all(const char *isa)
{
    setenv("LOCKSTEP_ISA", isa, 1); /* this process has not asked for kernels yet */
    for (size_t s = 0; s < SHAPES; s++) {
        for (size_t v = 0; v < VARIANTS; v++) {
            product_t p = new_product(shapes[s], variants[v]);
            multiply(&p, 1);
            check_product(&p);
            free_product(&p);
        }
    }
}

Test(kernels_gemm, baseline_matches_float64)
{
    check_all("baseline");
}

Test(kernels_gemm, v3_matches_float64)
{
    check_all("v3");
}

Test(kernels_gemm, v4_matches_float64)
{
    check_all("v4");
}

Test(kernels_gemm, threads_do_not_change_a_bit)
{
    static const shape_t large[] = {
        {128, 1000, 80}, {200, 330, 1500}, {700, 33, 520}, {3000, 10, 64}, {5, 700, 600}};
    for (size_t s = 0; s < sizeof large / sizeof *large; s++) {
        for (size_t v = 0; v < VARIANTS; v++) {
            product_t one = new_product(large[s], variants[v]);
            multiply(&one, 1);
            for (size_t threads = 2; threads <= 5; threads++) {
                product_t many = new_product(large[s], variants[v]);
                multiply(&many, threads);
                cr_assert(memcmp(one.c, many.c, large[s].m * one.c_row * sizeof *one.c) == 0);
                free_product(&many);
            }
            free_product(&one);
        }
    }
}
