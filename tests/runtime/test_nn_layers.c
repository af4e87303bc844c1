/* SPDX-License-Identifier: Apache-2.0 */
/* test_nn_layers.c - each layer and a whole perceptron: values against float64 loops, gradients against finite
 * differences, dropout against its contract, and the same bits in every run. */
#include "support/nn_support.h"

#include <math.h>
#include <stdlib.h>

static lks_tensor_t forward(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *x)
{
    lks_tensor_t y;
    lks_exec_reset(exec);
    assert_ok(lks_module_forward(module, exec, x, &y));
    return y;
}

/* Sum of the outputs, each times a fixed weight. */
static double weighted_output(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *x,
                              const lks_tensor_t *weights)
{
    lks_tensor_t y = forward(module, exec, x);
    double sum = 0;
    for (int64_t i = 0; i < lks_tensor_numel(&y); i++) {
        sum += (double)test_floats(&y)[i] * (double)test_floats(weights)[i];
    }
    return sum;
}

/* The gradient of weighted_output at values[0..count) is grad[0..count): the slope to one side at least, since
 * a ReLU may bend within the step. */
static void check_gradient(const char *name, lks_module_t *module, lks_exec_t *exec,
                           const lks_tensor_t *x, const lks_tensor_t *weights, float *values,
                           const float *grad, int64_t count)
{
    const float step = 0x1p-9f;
    for (int64_t i = 0; i < count; i += 1 + count / 50) {
        float before = values[i];
        double here = weighted_output(module, exec, x, weights);
        values[i] = before + step;
        double above = (weighted_output(module, exec, x, weights) - here) / (double)step;
        values[i] = before - step;
        double below = (here - weighted_output(module, exec, x, weights)) / (double)step;
        values[i] = before;
        double got = (double)grad[i], miss = fmin(fabs(got - above), fabs(got - below));
        cr_assert(miss < 2e-3 * (1 + fabs(got)), "%s[%d]: gradient %g, slopes %g and %g", name,
                  (int)i, got, above, below);
    }
}

static void check_gradients(lks_module_t *module, int64_t batch, int64_t in)
{
    lks_exec_t *exec = test_exec(2);
    lks_exec_set_position(exec, 11, 5, 30);
    lks_tensor_t x = test_matrix(batch, in, 7), y = forward(module, exec, &x), dx;
    lks_tensor_t dy = test_matrix(batch, y.shape[1], 8);
    assert_ok(lks_module_backward(module, exec, &dy, &dx));
    cr_assert(lks_tensor_same_shape(&x, &dx));
    float *dx_copy = malloc(lks_tensor_nbytes(&dx) + 1);
    cr_assert(dx_copy);
    memcpy(dx_copy, test_floats(&dx), lks_tensor_nbytes(&dx));
    check_gradient("input", module, exec, &x, &dy, test_floats(&x), dx_copy, lks_tensor_numel(&x));
    for (size_t p = 0; p < lks_module_param_count(module); p++) {
        const lks_param_t *param = lks_module_param(module, p);
        check_gradient(param->name, module, exec, &x, &dy, test_floats(&param->value),
                       test_floats(&param->grad), lks_tensor_numel(&param->value));
    }
    free(dx_copy);
    lks_tensor_release(&x);
    lks_tensor_release(&dy);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_layers, gradients_of_linear)
{
    static const int64_t sizes[][3] = {{1, 1, 1}, {3, 5, 17}, {17, 33, 5}, {20, 40, 64}, {2, 3, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int bias = 0; bias < 2; bias++) {
            lks_module_t *module;
            assert_ok(lks_linear_create(sizes[i][1], sizes[i][2], bias, &module));
            test_prepare(module);
            check_gradients(module, sizes[i][0], sizes[i][1]);
        }
    }
}

Test(nn_layers, gradients_of_relu)
{
    lks_module_t *module;
    assert_ok(lks_relu_create(&module));
    test_prepare(module);
    check_gradients(module, 5, 33);
}

Test(nn_layers, gradients_of_dropout)
{
    lks_module_t *module;
    assert_ok(lks_dropout_create(0.4, &module));
    test_prepare(module);
    check_gradients(module, 5, 33);
}

Test(nn_layers, gradients_of_perceptrons)
{
    static const char *const models[] = {"mlp:4,16,3", "mlp:7,20,33,5", "mlp:5,18,3,dropout=0.3",
                                         "mlp:3,2"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        lks_module_t *module = test_model(models[i]);
        check_gradients(module, 9, lks_module_in_features(module));
    }
}

/* ReLU first, twice in a row, and last; a Sequential between a Linear and its ReLU. */
Test(nn_layers, gradients_where_relu_cannot_be_fused_or_only_on_one_side)
{
    lks_module_t *module, *inner, *layer;
    assert_ok(lks_sequential_create(&module));
    assert_ok(lks_sequential_create(&inner));
    assert_ok(lks_relu_create(&layer));
    assert_ok(lks_sequential_append(module, layer));
    assert_ok(lks_linear_create(6, 20, true, &layer));
    assert_ok(lks_sequential_append(inner, layer));
    assert_ok(lks_sequential_append(module, inner));
    for (int i = 0; i < 2; i++) {
        assert_ok(lks_relu_create(&layer));
        assert_ok(lks_sequential_append(module, layer));
    }
    assert_ok(lks_linear_create(20, 4, true, &layer));
    assert_ok(lks_sequential_append(module, layer));
    assert_ok(lks_relu_create(&layer));
    assert_ok(lks_sequential_append(module, layer));
    test_prepare(module);
    check_gradients(module, 5, 6);
}

/* Output o of sample s: the perceptron mlp:6,18,3 in float64. */
static double naive_perceptron(const lks_module_t *module, const float *x, int64_t o)
{
    const float *w0 = test_floats(&lks_module_param(module, 0)->value);
    const float *b0 = test_floats(&lks_module_param(module, 1)->value);
    const float *w1 = test_floats(&lks_module_param(module, 2)->value);
    const float *b1 = test_floats(&lks_module_param(module, 3)->value);
    double y = (double)b1[o];
    for (int64_t h = 0; h < 18; h++) {
        double hidden = (double)b0[h];
        for (int64_t i = 0; i < 6; i++) {
            hidden += (double)w0[h * 6 + i] * (double)x[i];
        }
        y += (double)w1[o * 18 + h] * fmax(hidden, 0);
    }
    return y;
}

Test(nn_layers, perceptron_matches_float64_in_training_and_evaluation)
{
    lks_module_t *module = test_model("mlp:6,18,3");
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(35, 6, 4);
    for (int training = 0; training < 2; training++) {
        lks_exec_set_training(exec, training);
        lks_tensor_t y = forward(module, exec, &x);
        for (int64_t s = 0; s < 35; s++) {
            for (int64_t o = 0; o < 3; o++) {
                double wanted = naive_perceptron(module, test_floats(&x) + s * 6, o);
                cr_assert(fabs((double)test_floats(&y)[s * 3 + o] - wanted) < 1e-6);
            }
        }
    }
    lks_tensor_release(&x);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_layers, nan_passes_through_relu)
{
    lks_module_t *module = test_model("mlp:2,3,1");
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(1, 2, 4);
    test_floats(&x)[0] = NAN;
    lks_tensor_t y = forward(module, exec, &x);
    cr_assert(isnan(test_floats(&y)[0]));
    lks_tensor_release(&x);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_layers, empty_batch_has_zero_gradients)
{
    lks_module_t *module = test_model("mlp:4,40,3,dropout=0.5");
    lks_exec_t *exec = test_exec(2);
    lks_tensor_t grads = lks_module_flat_grads(module), dx;
    for (int64_t i = 0; i < lks_tensor_numel(&grads); i++) {
        test_floats(&grads)[i] = 1;
    }
    lks_tensor_t x = test_matrix(0, 4, 1), y = forward(module, exec, &x);
    cr_assert(y.shape[0] == 0 && y.shape[1] == 3);
    assert_ok(lks_module_backward(module, exec, &y, &dx));
    cr_assert(dx.shape[0] == 0 && dx.shape[1] == 4);
    for (size_t p = 0; p < lks_module_param_count(module); p++) {
        const lks_tensor_t *grad = &lks_module_param(module, p)->grad;
        for (int64_t i = 0; i < lks_tensor_numel(grad); i++) {
            cr_assert(test_floats(grad)[i] == 0);
        }
    }
    lks_tensor_release(&x);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

/* ---- dropout ---- */

/* y is x under the mask of p = 1/4 of seed 77, step 9, samples from 40 on, in layer `layer`. */
static void check_mask(const lks_tensor_t *x, const lks_tensor_t *y, uint32_t layer)
{
    uint32_t cols = (uint32_t)x->shape[1];
    for (uint32_t i = 0; i < (uint32_t)lks_tensor_numel(x); i++) {
        const uint32_t counter[4] = {9, layer, 40 + i / cols, i % cols / 4};
        uint32_t words[4];
        lks_philox(77, counter, words);
        bool kept = lks_uniform_f32(words[i % cols % 4]) >= 0.25f;
        cr_assert(test_floats(y)[i] == (kept ? test_floats(x)[i] * (float)(1 / 0.75) : 0));
    }
}

Test(nn_layers, dropout_follows_its_contract)
{
    lks_exec_t *exec = test_exec(1);
    lks_exec_set_position(exec, 77, 9, 40);
    lks_tensor_t x = test_matrix(6, 70, 3), y;
    for (int64_t i = 0; i < lks_tensor_numel(&x); i++) {
        test_floats(&x)[i] = fabsf(test_floats(&x)[i]); /* a ReLU changes nothing */
    }
    for (uint32_t relus = 0; relus < 3; relus++) {
        lks_module_t *module, *layer;
        assert_ok(lks_sequential_create(&module));
        for (uint32_t i = 0; i < relus; i++) {
            assert_ok(lks_relu_create(&layer));
            assert_ok(lks_sequential_append(module, layer));
        }
        assert_ok(lks_dropout_create(0.25, &layer));
        assert_ok(lks_sequential_append(module, layer));
        test_prepare(module);
        y = forward(module, exec, &x);
        check_mask(&x, &y, relus + 1);
        lks_module_destroy(module);
    }
    lks_tensor_release(&x);
    lks_exec_destroy(exec);
}

Test(nn_layers, dropout_does_not_depend_on_how_the_batch_is_split)
{
    lks_module_t *module = test_model("mlp:6,50,5,dropout=0.5");
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(10, 6, 3), part;
    lks_exec_set_position(exec, 1, 2, 100);
    lks_tensor_t y = forward(module, exec, &x);
    float whole[50];
    memcpy(whole, test_floats(&y), sizeof whole);
    for (int64_t first = 0; first < 10; first += 4) {
        int64_t count = first + 4 < 10 ? 4 : 10 - first;
        assert_ok(lks_tensor_narrow(&x, 0, first, count, &part));
        lks_exec_set_position(exec, 1, 2, 100 + first);
        y = forward(module, exec, &part);
        cr_assert(memcmp(whole + first * 5, test_floats(&y), lks_tensor_nbytes(&y)) == 0);
    }
    lks_exec_set_position(exec, 1, 3, 100); /* another step: another mask */
    y = forward(module, exec, &x);
    cr_assert(memcmp(whole, test_floats(&y), sizeof whole) != 0);
    lks_tensor_release(&x);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_layers, dropout_of_nothing_of_everything_and_in_evaluation)
{
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(4, 9, 3), dx;
    for (int p = 0; p < 2; p++) {
        lks_module_t *module;
        assert_ok(lks_dropout_create(p, &module));
        test_prepare(module);
        lks_exec_set_training(exec, true);
        test_floats(&x)[5] = p ? NAN : 1;
        lks_tensor_t y = forward(module, exec, &x);
        assert_ok(lks_module_backward(module, exec, &x, &dx));
        for (int i = 0; i < 36; i++) {
            float wanted = p ? 0 : test_floats(&x)[i];
            cr_assert(test_floats(&y)[i] == wanted && test_floats(&dx)[i] == wanted);
        }
        lks_exec_set_training(exec, false);
        y = forward(module, exec, &x);
        cr_assert(memcmp(test_floats(&x), test_floats(&y), lks_tensor_nbytes(&x)) == 0);
        lks_module_destroy(module);
    }
    lks_tensor_release(&x);
    lks_exec_destroy(exec);
}

/* ---- determinism ---- */

/* Outputs, then all gradients, of one step with `threads`. */
static void run_step(size_t threads, float *outputs, float *gradients)
{
    lks_module_t *module = test_model("mlp:100,300,200,10,dropout=0.1");
    lks_exec_t *exec = test_exec(threads);
    lks_tensor_t x = test_matrix(130, 100, 5), y = forward(module, exec, &x);
    lks_tensor_t dy = test_matrix(130, 10, 6);
    assert_ok(lks_module_backward(module, exec, &dy, NULL));
    memcpy(outputs, test_floats(&y), lks_tensor_nbytes(&y));
    lks_tensor_t grads = lks_module_flat_grads(module);
    memcpy(gradients, test_floats(&grads), lks_tensor_nbytes(&grads));
    lks_tensor_release(&x);
    lks_tensor_release(&dy);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_layers, runs_and_threads_do_not_change_a_bit)
{
    enum { OUTPUTS = 130 * 10, GRADS = 300 * 100 + 304 + 200 * 300 + 208 + 10 * 200 + 16 };
    static float outputs[OUTPUTS], first_outputs[OUTPUTS], grads[GRADS], first_grads[GRADS];
    run_step(1, first_outputs, first_grads);
    for (size_t threads = 1; threads <= 3; threads++) {
        for (int run = 0; run < 2; run++) {
            run_step(threads, outputs, grads);
            cr_assert(memcmp(outputs, first_outputs, sizeof outputs) == 0);
            cr_assert(memcmp(grads, first_grads, sizeof grads) == 0);
        }
    }
}
