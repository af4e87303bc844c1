/* SPDX-License-Identifier: Apache-2.0 */
/* test_optim_kernels.c - one update by each instruction set's kernels against float64 formulas.
 * A processor without v3 or v4 runs the next lower table in their place. */
#include "support/support.h"

#include "runtime/kernels/table.h"

#include <math.h>
#include <stdlib.h>

enum { COUNT_MAX = 1000, ARRAYS = 5 };

/* value, grad, then the states; squares are not negative */
typedef struct arrays {
    float at[ARRAYS][COUNT_MAX];
} arrays_t;

static void fill(arrays_t *arrays)
{
    for (int a = 0; a < ARRAYS; a++) {
        for (int i = 0; i < COUNT_MAX; i++) {
            float x = (float)((i * (37 + 8 * a) + 11 * a) % 127 - 63) / 32;
            arrays->at[a][i] = a < 3 ? x : x * x;
        }
    }
}

static void assert_near(const char *what, int i, float found, double wanted)
{
    cr_assert(fabs((double)found - wanted) <= 1e-6 * fmax(1, fabs(wanted)),
              "%s[%d] is %.9g, not %.9g", what, i, (double)found, wanted);
}

static const lks_kernels_t *kernels_of(const char *isa)
{
    cr_assert_eq(setenv("LOCKSTEP_ISA", isa, 1), 0);
    return lks_kernels_get();
}

static const size_t counts[] = {0, 1, 15, 16, 17, 131, COUNT_MAX};
enum { COUNTS = sizeof counts / sizeof *counts };

static void check_sgd(const lks_kernels_t *kernels, size_t count, const lks_sgd_args_t *args,
                      bool with_buffer)
{
    static arrays_t in, out;
    fill(&in);
    out = in;
    kernels->sgd(out.at[0], out.at[1], with_buffer ? out.at[2] : NULL, count, args);
    for (int i = 0; i < (int)count; i++) {
        double value = (double)in.at[0][i], buffer = (double)in.at[2][i];
        double g = (double)(args->maximize ? -in.at[1][i] : in.at[1][i]);
        g += (double)args->weight_decay * value;
        if (with_buffer) {
            double momentum = (double)args->momentum;
            buffer = args->first ? g : momentum * buffer + (double)args->one_minus_dampening * g;
            g = args->nesterov ? g + momentum * buffer : buffer;
        }
        assert_near("value", i, out.at[0][i], value - (double)args->lr * g);
        assert_near("buffer", i, out.at[2][i], buffer);
    }
    for (size_t i = count; i < COUNT_MAX; i++) {
        cr_assert_eq(out.at[0][i], in.at[0][i], "a value past the end changed");
        cr_assert_eq(out.at[2][i], in.at[2][i], "a buffer past the end changed");
    }
}

static void check_all_sgd(const char *isa)
{
    const lks_kernels_t *kernels = kernels_of(isa);
    for (unsigned options = 0; options < 32; options++) {
        lks_sgd_args_t args = {
            .lr = 0.1f,
            .momentum = 0.9f,
            .one_minus_dampening = 0.75f,
            .weight_decay = options & 1 ? 0.25f : 0,
            .nesterov = options & 2,
            .maximize = options & 4,
            .first = options & 8,
        };
        for (size_t c = 0; c < COUNTS; c++) {
            check_sgd(kernels, counts[c], &args, options & 16);
        }
    }
}

static void check_adam(const lks_kernels_t *kernels, size_t count, const lks_adam_args_t *args,
                       bool with_max)
{
    static arrays_t in, out;
    fill(&in);
    out = in;
    kernels->adam(out.at[0], out.at[1], out.at[2], out.at[3], with_max ? out.at[4] : NULL, count,
                  args);
    for (int i = 0; i < (int)count; i++) {
        double value = (double)in.at[0][i] * (double)args->decay;
        double g = (double)(args->maximize ? -in.at[1][i] : in.at[1][i]);
        g += (double)args->weight_decay * value;
        double average =
            (double)args->beta1 * (double)in.at[2][i] + (double)args->one_minus_beta1 * g;
        double square =
            (double)args->beta2 * (double)in.at[3][i] + (double)args->one_minus_beta2 * g * g;
        double largest = with_max ? fmax(square, (double)in.at[4][i]) : square;
        double denom = sqrt(largest) * (double)args->inv_sqrt_bias2 + (double)args->eps;
        assert_near("value", i, out.at[0][i], value - (double)args->step_size * average / denom);
        assert_near("exp_avg", i, out.at[2][i], average);
        assert_near("exp_avg_sq", i, out.at[3][i], square);
        assert_near("max_exp_avg_sq", i, out.at[4][i], with_max ? largest : (double)in.at[4][i]);
    }
    for (int a = 0; a < ARRAYS; a++) {
        cr_assert_arr_eq(out.at[a] + count, in.at[a] + count, (COUNT_MAX - count) * sizeof(float),
                         "array %d changed past the end", a);
    }
}

static void check_all_adam(const char *isa)
{
    const lks_kernels_t *kernels = kernels_of(isa);
    for (unsigned options = 0; options < 16; options++) {
        lks_adam_args_t args = {
            .beta1 = 0.9f,
            .beta2 = 0.75f,
            .eps = 0.125f,
            .one_minus_beta1 = 0.1f,
            .one_minus_beta2 = 0.25f,
            .step_size = 0.05f,
            .inv_sqrt_bias2 = 1.5f,
            .weight_decay = options & 1 ? 0.25f : 0,
            .decay = options & 2 ? 0.875f : 1,
            .maximize = options & 4,
        };
        for (size_t c = 0; c < COUNTS; c++) {
            check_adam(kernels, counts[c], &args, options & 8);
        }
    }
}

Test(optim_kernels, sgd_baseline_follows_the_formulas)
{
    check_all_sgd("baseline");
}

Test(optim_kernels, sgd_v3_follows_the_formulas)
{
    check_all_sgd("v3");
}

Test(optim_kernels, sgd_v4_follows_the_formulas)
{
    check_all_sgd("v4");
}

Test(optim_kernels, adam_baseline_follows_the_formulas)
{
    check_all_adam("baseline");
}

Test(optim_kernels, adam_v3_follows_the_formulas)
{
    check_all_adam("v3");
}

Test(optim_kernels, adam_v4_follows_the_formulas)
{
    check_all_adam("v4");
}

/* A step is cut at cache lines, once per thread: that must not show in the result. */
static void check_split(const char *isa)
{
    const lks_kernels_t *kernels = kernels_of(isa);
    const lks_sgd_args_t sgd = {
        .lr = 0.1f, .momentum = 0.9f, .one_minus_dampening = 0.7f, .weight_decay = 0.03f};
    const lks_adam_args_t adam = {.beta1 = 0.9f,
                                  .beta2 = 0.999f,
                                  .eps = 1e-8f,
                                  .one_minus_beta1 = 0.1f,
                                  .one_minus_beta2 = 0.001f,
                                  .step_size = 0.05f,
                                  .inv_sqrt_bias2 = 31.6f,
                                  .weight_decay = 0.03f,
                                  .decay = 0.99f};
    static arrays_t whole, parts;
    fill(&whole);
    parts = whole;
    kernels->sgd(whole.at[0], whole.at[1], whole.at[2], COUNT_MAX, &sgd);
    kernels->adam(whole.at[0], whole.at[1], whole.at[2], whole.at[3], whole.at[4], COUNT_MAX,
                  &adam);
    for (size_t begin = 0, size = 16; begin < COUNT_MAX; begin += size, size += 16) {
        size_t count = size < COUNT_MAX - begin ? size : COUNT_MAX - begin;
        float *part[ARRAYS];
        for (int a = 0; a < ARRAYS; a++) {
            part[a] = parts.at[a] + begin;
        }
        kernels->sgd(part[0], part[1], part[2], count, &sgd);
        kernels->adam(part[0], part[1], part[2], part[3], part[4], count, &adam);
    }
    cr_assert_arr_eq(&parts, &whole, sizeof whole);
}

Test(optim_kernels, splitting_a_step_changes_no_bit_in_baseline)
{
    check_split("baseline");
}

Test(optim_kernels, splitting_a_step_changes_no_bit_in_v3)
{
    check_split("v3");
}

Test(optim_kernels, splitting_a_step_changes_no_bit_in_v4)
{
    check_split("v4");
}

Test(optim_kernels, infinite_value_without_decay_stays)
{
    float value[16], grad[16] = {0}, average[16] = {0}, square[16] = {0};
    for (int i = 0; i < 16; i++) {
        value[i] = -INFINITY;
    }
    lks_kernels_get()->sgd(value, grad, NULL, 16, &(lks_sgd_args_t){.lr = 1});
    lks_kernels_get()->adam(value, grad, average, square, NULL, 16,
                            &(lks_adam_args_t){.eps = 1, .decay = 1});
    for (int i = 0; i < 16; i++) {
        cr_assert_eq(value[i], -INFINITY);
    }
}

Test(optim_kernels, nan_gradient_reaches_the_running_maximum)
{
    float value[16] = {0}, grad[16], average[16] = {0}, square[16] = {0}, largest[16];
    for (int i = 0; i < 16; i++) {
        grad[i] = NAN;
        largest[i] = 1;
    }
    lks_kernels_get()->adam(value, grad, average, square, largest, 16,
                            &(lks_adam_args_t){.one_minus_beta2 = 1, .eps = 1, .decay = 1});
    for (int i = 0; i < 16; i++) {
        cr_assert(isnan(largest[i]) && isnan(value[i]));
    }
}
