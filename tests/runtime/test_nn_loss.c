/* SPDX-License-Identifier: Apache-2.0 */
/* test_nn_loss.c - losses over parts of a batch, their gradients, and bad input. The kernels behind them are
 * compared with float64 in test_kernels_host.c. */
#include "support/nn_support.h"

#include <math.h>
#include <stdlib.h>

/* Finite differences of a loss: *loss is evaluated by `evaluate`, gradient is `grad`. */
static void check_gradient(lks_exec_t *exec, lks_tensor_t *at, const lks_tensor_t *other,
                           bool cross_entropy, const float *grad)
{
    const float step = 0x1p-8f;
    for (int64_t i = 0; i < lks_tensor_numel(at); i++) {
        double loss[2];
        for (int side = 0; side < 2; side++) {
            float before = test_floats(at)[i];
            test_floats(at)[i] = before + (side ? step : -step);
            assert_ok(cross_entropy ? lks_cross_entropy(exec, at, other, 7, &loss[side], NULL, NULL)
                                    : lks_mse_loss(exec, at, other, 7, &loss[side], NULL));
            test_floats(at)[i] = before;
        }
        double wanted = (loss[1] - loss[0]) / (2 * (double)step);
        cr_assert(fabs((double)grad[i] - wanted) < 2e-5, "%d: %g, not %g", (int)i, (double)grad[i],
                  wanted);
    }
}

Test(nn_loss, gradients_match_finite_differences)
{
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(5, 4, 1), target = test_matrix(5, 4, 2);
    lks_tensor_t labels = test_labels(5, 4, 3), grad;
    double loss;
    assert_ok(lks_cross_entropy(exec, &x, &labels, 7, &loss, &grad, NULL));
    check_gradient(exec, &x, &labels, true, test_floats(&grad));
    assert_ok(lks_mse_loss(exec, &x, &target, 7, &loss, &grad));
    check_gradient(exec, &x, &target, false, test_floats(&grad));
    lks_tensor_release(&x);
    lks_tensor_release(&target);
    lks_tensor_release(&labels);
    lks_exec_destroy(exec);
}

Test(nn_loss, cross_entropy_of_known_logits)
{
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t logits = test_matrix(2, 2, 1), labels = test_labels(2, 2, 1), grad;
    const float values[] = {0, 0, 3, 1};
    memcpy(test_floats(&logits), values, sizeof values);
    ((int64_t *)lks_tensor_data(&labels))[0] = 1;
    ((int64_t *)lks_tensor_data(&labels))[1] = 0;
    double loss;
    int64_t correct;
    assert_ok(lks_cross_entropy(exec, &logits, &labels, 2, &loss, &grad, &correct));
    cr_assert(fabs(loss - (log(2) + log1p(exp(-2))) / 2) < 1e-7);
    cr_assert(correct == 1); /* the first row is a tie, which class 0 wins */
    cr_assert(fabsf(test_floats(&grad)[0] - 0.25f) < 1e-7f);
    cr_assert(fabsf(test_floats(&grad)[1] + 0.25f) < 1e-7f);
    lks_tensor_release(&logits);
    lks_tensor_release(&labels);
    lks_exec_destroy(exec);
}

Test(nn_loss, parts_of_a_batch_sum_to_the_whole)
{
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t logits = test_matrix(37, 5, 1), labels = test_labels(37, 5, 1);
    lks_tensor_t target = test_matrix(37, 5, 2), grad, part_grad;
    double whole[2], sum[2] = {0}, loss;
    int64_t correct, hits, hit_sum = 0;
    assert_ok(lks_mse_loss(exec, &logits, &target, 37, &whole[1], NULL));
    assert_ok(lks_cross_entropy(exec, &logits, &labels, 37, &whole[0], &grad, &correct));
    static const int64_t ends[] = {10, 10, 30, 37}; /* one part is empty */
    int64_t first = 0;
    for (size_t i = 0; i < 4; i++) {
        lks_tensor_t z, l, t;
        assert_ok(lks_tensor_narrow(&logits, 0, first, ends[i] - first, &z));
        assert_ok(lks_tensor_narrow(&labels, 0, first, ends[i] - first, &l));
        assert_ok(lks_tensor_narrow(&target, 0, first, ends[i] - first, &t));
        assert_ok(lks_mse_loss(exec, &z, &t, 37, &loss, NULL));
        sum[1] += loss;
        assert_ok(lks_cross_entropy(exec, &z, &l, 37, &loss, &part_grad, &hits));
        sum[0] += loss;
        hit_sum += hits;
        cr_assert(lks_tensor_same_shape(&z, &part_grad));
        cr_assert(memcmp(test_floats(&part_grad), test_floats(&grad) + first * 5,
                         lks_tensor_nbytes(&part_grad)) == 0);
        first = ends[i];
    }
    cr_assert(fabs(sum[0] - whole[0]) < 1e-12 && fabs(sum[1] - whole[1]) < 1e-12);
    cr_assert(hit_sum == correct);
    lks_tensor_release(&logits);
    lks_tensor_release(&labels);
    lks_tensor_release(&target);
    lks_exec_destroy(exec);
}

Test(nn_loss, empty_part_has_no_loss)
{
    lks_exec_t *exec = test_exec(2);
    lks_tensor_t x = test_matrix(0, 3, 1), labels = test_labels(0, 3, 1), grad;
    double loss = 1;
    int64_t correct = 1;
    assert_ok(lks_cross_entropy(exec, &x, &labels, 8, &loss, &grad, &correct));
    cr_assert(loss == 0 && correct == 0 && grad.shape[0] == 0 && grad.shape[1] == 3);
    loss = 1;
    assert_ok(lks_mse_loss(exec, &x, &x, 8, &loss, &grad));
    cr_assert(loss == 0 && grad.shape[0] == 0);
    lks_tensor_release(&x);
    lks_tensor_release(&labels);
    lks_exec_destroy(exec);
}

Test(nn_loss, threads_do_not_change_a_bit)
{
    lks_tensor_t logits = test_matrix(3000, 40, 1), labels = test_labels(3000, 40, 1);
    lks_tensor_t target = test_matrix(3000, 40, 2), grad;
    double first[2], loss[2];
    float *first_grad = malloc(lks_tensor_nbytes(&logits));
    cr_assert(first_grad);
    for (size_t threads = 1; threads <= 4; threads++) {
        lks_exec_t *exec = test_exec(threads);
        assert_ok(lks_mse_loss(exec, &logits, &target, 3000, &loss[1], NULL));
        assert_ok(lks_cross_entropy(exec, &logits, &labels, 3000, &loss[0], &grad, NULL));
        if (threads == 1) {
            memcpy(first, loss, sizeof first);
            memcpy(first_grad, test_floats(&grad), lks_tensor_nbytes(&grad));
        }
        cr_assert(memcmp(first, loss, sizeof first) == 0);
        cr_assert(memcmp(first_grad, test_floats(&grad), lks_tensor_nbytes(&grad)) == 0);
        lks_exec_destroy(exec);
    }
    free(first_grad);
    lks_tensor_release(&logits);
    lks_tensor_release(&labels);
    lks_tensor_release(&target);
}

Test(nn_loss, bad_labels_and_shapes_are_named)
{
    lks_exec_t *exec = test_exec(1);
    lks_tensor_t x = test_matrix(4, 3, 1), wide = test_matrix(4, 5, 1), flat;
    lks_tensor_t labels = test_labels(4, 3, 1), few = test_labels(3, 3, 1), grad;
    double loss;
    ((int64_t *)lks_tensor_data(&labels))[2] = 3;
    assert_fails(lks_cross_entropy(exec, &x, &labels, 4, &loss, &grad, NULL), LKS_ERR_INVALID_ARG,
                 "label 3 of row 2 is outside [0, 3)");
    ((int64_t *)lks_tensor_data(&labels))[2] = -1;
    assert_fails(lks_cross_entropy(exec, &x, &labels, 4, &loss, &grad, NULL), LKS_ERR_INVALID_ARG,
                 "label -1 of row 2");
    assert_fails(lks_cross_entropy(exec, &x, &few, 4, &loss, &grad, NULL), LKS_ERR_INVALID_ARG,
                 "labels are int64 (3,); they must be int64 (4,)");
    assert_fails(lks_cross_entropy(exec, &x, &x, 4, &loss, &grad, NULL), LKS_ERR_INVALID_ARG,
                 "labels are float32 (4, 3)");
    assert_fails(lks_cross_entropy(exec, &x, &labels, 3, &loss, &grad, NULL), LKS_ERR_INVALID_ARG,
                 "4 samples are not part of 3");
    assert_fails(lks_mse_loss(exec, &x, &wide, 4, &loss, &grad), LKS_ERR_INVALID_ARG,
                 "targets are (4, 5), outputs (4, 3)");
    assert_ok(lks_tensor_reshape(&x, 1, (int64_t[]){12}, &flat));
    assert_fails(lks_mse_loss(exec, &flat, &flat, 4, &loss, &grad), LKS_ERR_INVALID_ARG,
                 "outputs are float32 (12,)");
    lks_tensor_release(&x);
    lks_tensor_release(&wide);
    lks_tensor_release(&labels);
    lks_tensor_release(&few);
    lks_exec_destroy(exec);
}
