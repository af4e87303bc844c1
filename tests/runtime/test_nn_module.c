/* SPDX-License-Identifier: Apache-2.0 */
/* test_nn_module.c - trees of modules: names, memory, ownership, and what forward and backward refuse. */
#include "runtime/nn/module_ops.h"
#include "support/nn_support.h"

#include <math.h>
#include <stdint.h>

static lks_module_t *linear(int64_t in, int64_t out, bool bias)
{
    lks_module_t *module;
    assert_ok(lks_linear_create(in, out, bias, &module));
    return module;
}

static lks_module_t *relu(void)
{
    lks_module_t *module;
    assert_ok(lks_relu_create(&module));
    return module;
}

static lks_module_t *sequential(void)
{
    lks_module_t *module;
    assert_ok(lks_sequential_create(&module));
    return module;
}

/* Sequential(Linear(4, 3), ReLU, Sequential(ReLU, Linear(3, 5) without bias)) */
static lks_module_t *nested(void)
{
    lks_module_t *inner = sequential(), *outer = sequential();
    assert_ok(lks_sequential_append(inner, relu()));
    assert_ok(lks_sequential_append(inner, linear(3, 5, false)));
    assert_ok(lks_sequential_append(outer, linear(4, 3, true)));
    assert_ok(lks_sequential_append(outer, relu()));
    assert_ok(lks_sequential_append(outer, inner));
    return outer;
}

Test(nn_module, parameters_have_the_names_and_shapes_of_pytorch)
{
    lks_module_t *module = nested();
    cr_assert(lks_module_param_count(module) == 0); /* not materialized */
    test_prepare(module);
    cr_assert(lks_module_param_count(module) == 3);
    static const char *const names[] = {"0.weight", "0.bias", "2.1.weight"};
    static const int64_t shapes[][2] = {{3, 4}, {3}, {5, 3}};
    for (size_t i = 0; i < 3; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        cr_assert_str_eq(param->name, names[i]);
        cr_assert(param->kind == LKS_PARAM_WEIGHT);
        cr_assert(param->value.ndim == (i == 1 ? 1 : 2));
        cr_assert(param->value.shape[0] == shapes[i][0]);
        cr_assert(i == 1 || param->value.shape[1] == shapes[i][1]);
        cr_assert(lks_tensor_is_contiguous(&param->value));
        cr_assert(lks_tensor_same_shape(&param->value, &param->grad));
    }
    cr_assert_str_eq(lks_module_kind(module), "Sequential");
    cr_assert(lks_module_in_features(module) == 4 && lks_module_out_features(module) == 5);
    lks_module_destroy(module);
    lks_module_destroy(NULL);
}

Test(nn_module, flat_blocks_hold_aligned_parameters_and_zeros_between_them)
{
    lks_module_t *module = nested();
    test_prepare(module);
    lks_tensor_t values = lks_module_flat_values(module), grads = lks_module_flat_grads(module);
    cr_assert(values.ndim == 1 && lks_tensor_numel(&values) == 48);
    cr_assert(lks_tensor_same_shape(&values, &grads));
    bool used[48] = {false};
    for (size_t i = 0; i < 3; i++) {
        const lks_param_t *param = lks_module_param(module, i);
        cr_assert(param->value.offset % 16 == 0 && param->grad.offset == param->value.offset);
        cr_assert((uintptr_t)lks_tensor_data(&param->value) % 64 == 0);
        cr_assert(test_floats(&param->value) == test_floats(&values) + param->value.offset);
        for (int64_t j = 0; j < lks_tensor_numel(&param->value); j++) {
            used[param->value.offset + j] = true;
        }
    }
    for (size_t i = 0; i < 48; i++) {
        cr_assert(test_floats(&grads)[i] == 0);
        cr_assert((test_floats(&values)[i] != 0) == used[i]);
    }
    lks_tensor_t buffers = lks_module_flat_buffers(module);
    cr_assert(lks_tensor_numel(&buffers) == 0);
    lks_module_destroy(module);
}

/* One forward and backward; the sum of the gradients' magnitudes as they are found through the tensor. */
static double backward_once(lks_module_t *module, lks_exec_t *exec)
{
    lks_tensor_t input = test_matrix(7, 4, 5), loss_grad = test_matrix(7, 5, 6), output;
    assert_ok(lks_module_forward(module, exec, &input, &output));
    assert_ok(lks_module_backward(module, exec, &loss_grad, NULL));
    double sum = 0;
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        const lks_tensor_t *grad = &lks_module_param(module, i)->grad;
        for (int64_t k = 0; k < lks_tensor_numel(grad); k++) {
            sum += grad->dtype == LKS_DTYPE_F32 ? fabs((double)test_floats(grad)[k])
                                                : ((uint16_t *)lks_tensor_data(grad))[k] & 0x7fff;
        }
    }
    lks_tensor_release(&input);
    lks_tensor_release(&loss_grad);
    return sum;
}

Test(nn_module, gradients_move_with_what_they_hold_and_go_on_there)
{
    static const lks_dtype_t dtypes[] = {LKS_DTYPE_F32, LKS_DTYPE_BF16};
    for (size_t i = 0; i < 2; i++) {
        lks_module_t *module = nested();
        assert_ok(lks_module_set_dtype(module, dtypes[i]));
        test_prepare(module);
        lks_exec_t *exec = test_exec(1);
        double sum = backward_once(module, exec);
        cr_assert(sum > 0);
        lks_tensor_t grads = lks_module_flat_grads(module); /* stays valid */
        size_t nbytes = lks_tensor_nbytes(&grads);
        void *before = lks_tensor_data(&grads), *copy = malloc(nbytes);
        memcpy(copy, before, nbytes);
        lks_storage_t *other;
        assert_ok(lks_storage_create(lks_device_host(), nbytes, &other));
        void *after = lks_storage_data(other);
        lks_module_move_grads(module, other);
        cr_assert(lks_storage_data(other) == before && lks_tensor_data(&grads) == after);
        cr_assert(memcmp(after, copy, nbytes) == 0);
        lks_storage_release(other); /* asan would see a layer that writes there */
        memset(after, 0, nbytes);
        cr_assert(backward_once(module, exec) == sum);
        free(copy);
        lks_exec_destroy(exec);
        lks_module_destroy(module);
    }
}

Test(nn_module, module_without_parameters)
{
    lks_module_t *module = relu();
    test_prepare(module);
    lks_tensor_t values = lks_module_flat_values(module);
    cr_assert(lks_module_param_count(module) == 0 && lks_tensor_numel(&values) == 0);
    cr_assert(lks_module_in_features(module) == 0 && lks_module_out_features(module) == 0);
    lks_module_destroy(module);
}

Test(nn_module, initial_values_are_uniform_within_the_bound_and_follow_the_seed)
{
    lks_module_t *a = linear(100, 50, true), *b = linear(100, 50, true);
    test_prepare(a);
    test_prepare(b);
    lks_tensor_t va = lks_module_flat_values(a), vb = lks_module_flat_values(b);
    cr_assert(memcmp(test_floats(&va), test_floats(&vb), lks_tensor_nbytes(&va)) == 0);
    double sum = 0, squares = 0, largest = 0;
    const float *weight = test_floats(&lks_module_param(a, 0)->value);
    for (size_t i = 0; i < 5000; i++) {
        double w = (double)weight[i];
        sum += w;
        squares += w * w;
        largest = fmax(largest, fabs(w));
    }
    cr_assert(largest <= 0.1 && largest > 0.0999);
    cr_assert(fabs(sum / 5000) < 0.004);
    cr_assert(fabs(squares / 5000 - 0.01 / 3) < 1e-4); /* variance of a uniform distribution */
    assert_ok(lks_module_init(b, 4));
    cr_assert(memcmp(test_floats(&va), test_floats(&vb), lks_tensor_nbytes(&va)) != 0);
    lks_module_destroy(a);
    lks_module_destroy(b);
}

Test(nn_module, bad_sizes_and_probabilities_are_refused)
{
    lks_module_t *module;
    assert_fails(lks_linear_create(0, 3, true, &module), LKS_ERR_INVALID_ARG, "0 features in");
    assert_fails(lks_linear_create(3, -1, true, &module), LKS_ERR_INVALID_ARG, "-1 out");
    assert_fails(lks_dropout_create(1.5, &module), LKS_ERR_INVALID_ARG, "1.5");
    assert_fails(lks_dropout_create(NAN, &module), LKS_ERR_INVALID_ARG, "nan");
    lks_module_t *huge = linear(INT64_MAX, 2, false);
    assert_fails(lks_module_materialize(huge, lks_device_host()), LKS_ERR_INVALID_ARG, "elements");
    lks_module_destroy(huge);
    huge = linear((int64_t)1 << 60, 2, false);
    assert_fails(lks_module_materialize(huge, lks_device_host()), LKS_ERR_NO_MEMORY, "memory");
    lks_module_destroy(huge);
}

Test(nn_module, each_module_has_one_place_and_is_materialized_once)
{
    lks_module_t *module = sequential(), *layer = linear(2, 2, true);
    assert_fails(lks_sequential_append(layer, relu()), LKS_ERR_INVALID_ARG, "only a Sequential");
    assert_ok(lks_sequential_append(module, layer));
    assert_fails(lks_sequential_append(module, layer), LKS_ERR_INVALID_ARG, "has a place");
    assert_fails(lks_sequential_append(module, module), LKS_ERR_INVALID_ARG, "has a place");
    assert_fails(lks_module_materialize(layer, lks_device_host()), LKS_ERR_INVALID_ARG,
                 "part of another");
    assert_fails(lks_module_init(module, 1), LKS_ERR_INVALID_ARG, "before materialize");
    test_prepare(module);
    assert_fails(lks_module_materialize(module, lks_device_host()), LKS_ERR_INVALID_ARG, "twice");
    assert_fails(lks_sequential_append(module, relu()), LKS_ERR_INVALID_ARG, "materialized");
    lks_module_destroy(module);
}

Test(nn_module, forward_refuses_what_is_no_batch_of_its_features)
{
    lks_exec_t *exec = test_exec(1);
    lks_module_t *module = nested();
    lks_tensor_t x = test_matrix(2, 4, 1), wide = test_matrix(2, 5, 1), y;
    assert_fails(lks_module_forward(module, exec, &x, &y), LKS_ERR_INVALID_ARG, "materialize");
    test_prepare(module);
    assert_fails(lks_module_forward(module, exec, &wide, &y), LKS_ERR_INVALID_ARG,
                 "module 0: Linear: the input has 5 features, wanted 4");
    lks_tensor_t strided, flat, labels = test_labels(2, 2, 1);
    assert_ok(lks_tensor_narrow(&wide, 1, 0, 4, &strided));
    assert_fails(lks_module_forward(module, exec, &strided, &y), LKS_ERR_INVALID_ARG, "strided");
    assert_ok(lks_tensor_reshape(&x, 1, (int64_t[]){8}, &flat));
    assert_fails(lks_module_forward(module, exec, &flat, &y), LKS_ERR_INVALID_ARG, "(8,)");
    assert_fails(lks_module_forward(module, exec, &labels, &y), LKS_ERR_INVALID_ARG, "int64");
    lks_tensor_release(&x);
    lks_tensor_release(&wide);
    lks_tensor_release(&labels);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_module, backward_wants_a_training_forward_since_the_last_reset)
{
    lks_exec_t *exec = test_exec(1);
    lks_module_t *module = nested();
    test_prepare(module);
    lks_tensor_t x = test_matrix(2, 4, 1), dy = test_matrix(2, 5, 2), bad = test_matrix(3, 5, 2), y;
    assert_fails(lks_module_backward(module, exec, &dy, NULL), LKS_ERR_INVALID_ARG,
                 "without a forward");
    lks_exec_set_training(exec, false);
    assert_ok(lks_module_forward(module, exec, &x, &y));
    assert_fails(lks_module_backward(module, exec, &dy, NULL), LKS_ERR_INVALID_ARG,
                 "without a forward");
    lks_exec_set_training(exec, true);
    assert_ok(lks_module_forward(module, exec, &x, &y));
    assert_fails(lks_module_backward(module, exec, &bad, NULL), LKS_ERR_INVALID_ARG,
                 "is (3, 5); the output was (2, 5)");
    assert_ok(lks_module_backward(module, exec, &dy, NULL));
    lks_exec_reset(exec);
    assert_fails(lks_module_backward(module, exec, &dy, NULL), LKS_ERR_INVALID_ARG,
                 "since the last reset");
    lks_tensor_release(&x);
    lks_tensor_release(&dy);
    lks_tensor_release(&bad);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

Test(nn_module, evaluation_between_forward_and_backward_does_not_disturb)
{
    lks_exec_t *exec = test_exec(1);
    lks_module_t *module = nested();
    test_prepare(module);
    lks_tensor_t x = test_matrix(2, 4, 1), other = test_matrix(7, 4, 5), dy = test_matrix(2, 5, 2),
                 y;
    lks_tensor_t grads = lks_module_flat_grads(module);
    float wanted[48];
    assert_ok(lks_module_forward(module, exec, &x, &y));
    assert_ok(lks_module_backward(module, exec, &dy, NULL));
    memcpy(wanted, test_floats(&grads), sizeof wanted);
    lks_exec_reset(exec);
    assert_ok(lks_module_forward(module, exec, &x, &y));
    lks_exec_set_training(exec, false);
    assert_ok(lks_module_forward(module, exec, &other, &y));
    lks_exec_set_training(exec, true);
    assert_ok(lks_module_backward(module, exec, &dy, NULL));
    cr_assert(memcmp(wanted, test_floats(&grads), sizeof wanted) == 0);
    lks_tensor_release(&x);
    lks_tensor_release(&other);
    lks_tensor_release(&dy);
    lks_module_destroy(module);
    lks_exec_destroy(exec);
}

/* --- parameters of 16 bits ---------------------------------------------------------------------- */

static uint16_t to_half(lks_dtype_t dtype, float x)
{
    return dtype == LKS_DTYPE_F16 ? lks_f32_to_f16(x) : lks_f32_to_bf16(x);
}

/* A float32 module with the values of one of 16 bits. */
static void copy_values(lks_module_t *to, const lks_module_t *from)
{
    for (size_t i = 0; i < lks_module_param_count(to); i++) {
        const lks_tensor_t *value = &lks_module_param(to, i)->value;
        assert_ok(lks_tensor_convert(value, &lks_module_param(from, i)->value));
    }
}

static void assert_rounded(const lks_module_t *half, const lks_module_t *single, lks_dtype_t dtype)
{
    for (size_t i = 0; i < lks_module_param_count(half); i++) {
        const lks_tensor_t *a = &lks_module_param(half, i)->grad;
        const lks_tensor_t *b = &lks_module_param(single, i)->grad;
        const uint16_t *got = lks_tensor_data(a);
        cr_assert_eq(a->dtype, dtype);
        for (int64_t k = 0; k < lks_tensor_numel(a); k++) {
            cr_assert_eq(got[k], to_half(dtype, test_floats(b)[k]), "%s[%d]",
                         lks_module_param(half, i)->name, (int)k);
        }
    }
}

static void check_16_bits(lks_dtype_t dtype)
{
    lks_exec_t *exec = test_exec(2);
    lks_module_t *half, *single = test_model("mlp:40,130,70,5,dropout=0.3");
    assert_ok(lks_model_create("mlp:40,130,70,5,dropout=0.3", &half));
    assert_ok(lks_module_set_dtype(half, dtype));
    test_prepare(half);
    copy_values(single, half);
    lks_tensor_t x = test_matrix(33, 40, 1), dy = test_matrix(33, 5, 2), a, b, dx, dz;
    for (int step = 0; step < 2; step++) {
        lks_exec_reset(exec);
        assert_ok(lks_module_forward(half, exec, &x, &a));
        assert_ok(lks_module_forward(single, exec, &x, &b));
        cr_assert_arr_eq(test_floats(&a), test_floats(&b), lks_tensor_nbytes(&a));
        assert_ok(lks_module_backward(half, exec, &dy, step ? &dx : NULL));
        assert_ok(lks_module_backward(single, exec, &dy, step ? &dz : NULL));
        assert_rounded(half, single, dtype);
    }
    cr_assert_arr_eq(test_floats(&dx), test_floats(&dz), lks_tensor_nbytes(&dx));
    lks_tensor_release(&x);
    lks_tensor_release(&dy);
    lks_module_destroy(half);
    lks_module_destroy(single);
    lks_exec_destroy(exec);
}

Test(nn_module, parameters_of_16_bits_are_read_widened_and_their_gradients_rounded)
{
    check_16_bits(LKS_DTYPE_F16);
    check_16_bits(LKS_DTYPE_BF16);
}

Test(nn_module, initial_values_of_16_bits_are_those_of_float32_rounded)
{
    lks_module_t *half = nested(), *single = nested();
    assert_ok(lks_module_set_dtype(half, LKS_DTYPE_BF16));
    test_prepare(half);
    test_prepare(single);
    for (size_t i = 0; i < lks_module_param_count(half); i++) {
        const lks_tensor_t *a = &lks_module_param(half, i)->value;
        const lks_tensor_t *b = &lks_module_param(single, i)->value;
        const uint16_t *got = lks_tensor_data(a);
        cr_assert_eq((uintptr_t)got % 64, 0);
        for (int64_t k = 0; k < lks_tensor_numel(a); k++) {
            cr_assert_eq(got[k], lks_f32_to_bf16(test_floats(b)[k]));
        }
    }
    lks_module_destroy(half);
    lks_module_destroy(single);
}

Test(nn_module, the_dtype_is_decided_before_there_are_parameters)
{
    lks_module_t *module = nested();
    assert_fails(lks_module_set_dtype(module, LKS_DTYPE_F64), LKS_ERR_INVALID_ARG,
                 "float32, float16 or bfloat16, not float64");
    test_prepare(module);
    assert_fails(lks_module_set_dtype(module, LKS_DTYPE_F16), LKS_ERR_INVALID_ARG,
                 "materialized before");
    lks_module_destroy(module);
}
