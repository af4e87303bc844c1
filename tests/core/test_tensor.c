/* SPDX-License-Identifier: Apache-2.0 */
/* test_tensor.c - making views and cutting them. */
#include "support/support.h"

#include <lockstep/tensor.h>

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

/* A float32 tensor that holds 0, 1, 2, ... */
static lks_tensor_t counting(int ndim, const int64_t *shape)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, ndim, shape, &tensor));
    float *data = lks_tensor_data(&tensor);
    for (int64_t i = 0; i < lks_tensor_numel(&tensor); i++) {
        data[i] = (float)i;
    }
    return tensor;
}

static float at2(const lks_tensor_t *tensor, int64_t i, int64_t j)
{
    const float *data = lks_tensor_data(tensor);
    return data[i * tensor->stride[0] + j * tensor->stride[1]];
}

static void check_shape(const lks_tensor_t *tensor, int ndim, const int64_t *shape)
{
    cr_assert_eq(tensor->ndim, ndim);
    for (int i = 0; i < ndim; i++) {
        cr_assert_eq(tensor->shape[i], shape[i], "dimension %d", i);
    }
}

Test(tensor, is_created_contiguous_with_its_own_storage)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_F64, 3, SHAPE(2, 3, 4), &tensor));
    check_shape(&tensor, 3, SHAPE(2, 3, 4));
    cr_assert_arr_eq(tensor.stride, SHAPE(12, 4, 1), 3 * sizeof(int64_t));
    cr_assert_eq(tensor.offset, 0);
    cr_assert_eq(lks_tensor_numel(&tensor), 24);
    cr_assert_eq(lks_tensor_nbytes(&tensor), 192);
    cr_assert_eq(lks_storage_nbytes(tensor.storage), 192);
    cr_assert(lks_tensor_is_contiguous(&tensor));
    lks_tensor_release(&tensor);
    cr_assert_null(tensor.storage);
    lks_tensor_release(&tensor);
}

Test(tensor, scalar_has_one_element)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_I64, 0, NULL, &tensor));
    cr_assert_eq(lks_tensor_numel(&tensor), 1);
    cr_assert_eq(lks_tensor_nbytes(&tensor), 8);
    cr_assert(lks_tensor_is_contiguous(&tensor));
    lks_tensor_release(&tensor);
}

Test(tensor, empty_has_none_whatever_its_other_sizes)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 3, SHAPE(INT64_MAX, INT64_MAX, 0),
                                &tensor));
    cr_assert_eq(lks_tensor_numel(&tensor), 0);
    cr_assert_eq(lks_tensor_nbytes(&tensor), 0);
    cr_assert(lks_tensor_is_contiguous(&tensor));
    lks_tensor_release(&tensor);
}

Test(tensor, shape_may_be_that_of_the_tensor_it_replaces)
{
    lks_tensor_t tensor = {.ndim = 2, .shape = {3, 5}};
    assert_ok(
        lks_tensor_create(lks_device_host(), LKS_DTYPE_U8, tensor.ndim, tensor.shape, &tensor));
    check_shape(&tensor, 2, SHAPE(3, 5));
    cr_assert_eq(lks_storage_nbytes(tensor.storage), 15);
    lks_tensor_release(&tensor);
}

Test(tensor, bad_shapes_are_refused_and_set_nothing)
{
    lks_device_t *host = lks_device_host();
    lks_tensor_t tensor = {.ndim = 77};
    assert_fails(lks_tensor_create(host, LKS_DTYPE_F32, -1, NULL, &tensor), LKS_ERR_INVALID_ARG,
                 "0 to 8 dimensions, not -1");
    assert_fails(
        lks_tensor_create(host, LKS_DTYPE_F32, 9, SHAPE(1, 1, 1, 1, 1, 1, 1, 1, 1), &tensor),
        LKS_ERR_INVALID_ARG, "not 9");
    assert_fails(lks_tensor_create(host, LKS_DTYPE_F32, 1, SHAPE(-3), &tensor), LKS_ERR_INVALID_ARG,
                 "negative size -3");
    assert_fails(lks_tensor_create(host, LKS_DTYPE_F32, 2, SHAPE(INT64_MAX, 2), &tensor),
                 LKS_ERR_INVALID_ARG, "2^63");
    assert_fails(lks_tensor_create(host, LKS_DTYPE_C128, 1, SHAPE(INT64_MAX), &tensor),
                 LKS_ERR_INVALID_ARG, "complex128 is too large");
    assert_fails(lks_tensor_create(host, LKS_DTYPE_COUNT, 1, SHAPE(1), &tensor),
                 LKS_ERR_INVALID_ARG, "no dtype has the number 29");
    assert_fails(lks_tensor_create(host, LKS_DTYPE_F32, 1, SHAPE((int64_t)1 << 61), &tensor),
                 LKS_ERR_NO_MEMORY, "9223372036854775808 bytes");
    cr_assert_eq(tensor.ndim, 77);
}

Test(tensor, view_stays_inside_its_storage)
{
    lks_tensor_t base = counting(1, SHAPE(20)), view = {.ndim = 77};
    lks_storage_t *storage = base.storage;
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 2, 2, SHAPE(3, 4), SHAPE(6, 1), &view));
    cr_assert_eq(at2(&view, 0, 0), 2.0f);
    cr_assert_eq(at2(&view, 2, 3), 17.0f);
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 2, 2, SHAPE(3, 4), SHAPE(7, 1), &view));
    cr_assert_eq(at2(&view, 2, 3), 19.0f);
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 3, 2, SHAPE(3, 4), SHAPE(7, 1), &view),
                 LKS_ERR_INVALID_ARG, "18 elements at offset 3 does not fit a storage of 20");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F64, 0, 1, SHAPE(11), NULL, &view),
                 LKS_ERR_INVALID_ARG, "storage of 10 elements");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, -1, 1, SHAPE(1), NULL, &view),
                 LKS_ERR_INVALID_ARG, "offset -1");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 20, 0, NULL, NULL, &view),
                 LKS_ERR_INVALID_ARG, "offset 20");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, INT64_MAX, 1, SHAPE(1), NULL, &view),
                 LKS_ERR_INVALID_ARG, "offset 9223372036854775807");
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 20, 1, SHAPE(0), NULL, &view));
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 19, 0, NULL, NULL, &view));
    cr_assert_eq(*(float *)lks_tensor_data(&view), 19.0f);
    lks_tensor_release(&base);
}

Test(tensor, view_refuses_bad_numbers)
{
    lks_tensor_t base = counting(1, SHAPE(4)), view = {.ndim = 77};
    lks_storage_t *storage = base.storage;
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 1, SHAPE(2), SHAPE(-1), &view),
                 LKS_ERR_INVALID_ARG, "negative stride");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 1, SHAPE(-2), NULL, &view),
                 LKS_ERR_INVALID_ARG, "negative size");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 9, NULL, NULL, &view),
                 LKS_ERR_INVALID_ARG, "not 9");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_COUNT, 0, 1, SHAPE(1), NULL, &view),
                 LKS_ERR_INVALID_ARG, "no dtype");
    assert_fails(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 1, SHAPE(INT64_MAX), SHAPE(0), &view),
                 LKS_ERR_INVALID_ARG, "too large");
    cr_assert_eq(view.ndim, 77);
    lks_tensor_release(&base);
}

Test(tensor, contiguity_ignores_dimensions_of_one)
{
    lks_tensor_t base = counting(1, SHAPE(12)), view;
    assert_ok(
        lks_tensor_view(base.storage, LKS_DTYPE_F32, 0, 3, SHAPE(3, 1, 4), SHAPE(4, 99, 1), &view));
    cr_assert(lks_tensor_is_contiguous(&view));
    assert_ok(lks_tensor_view(base.storage, LKS_DTYPE_F32, 0, 2, SHAPE(3, 2), SHAPE(4, 1), &view));
    cr_assert_not(lks_tensor_is_contiguous(&view));
    assert_ok(lks_tensor_view(base.storage, LKS_DTYPE_F32, 0, 1, SHAPE(3), SHAPE(0), &view));
    cr_assert_not(lks_tensor_is_contiguous(&view));
    lks_tensor_release(&base);
}

Test(tensor, same_shape_compares_every_dimension)
{
    lks_tensor_t a = {.ndim = 2, .shape = {2, 3}}, b = {.ndim = 2, .shape = {2, 3}};
    cr_assert(lks_tensor_same_shape(&a, &b));
    b.shape[1] = 4;
    cr_assert_not(lks_tensor_same_shape(&a, &b));
    b = (lks_tensor_t){.ndim = 1, .shape = {2}};
    cr_assert_not(lks_tensor_same_shape(&a, &b));
}

Test(tensor, narrow_takes_a_range_of_a_dimension)
{
    lks_tensor_t base = counting(2, SHAPE(4, 5)), view;
    assert_ok(lks_tensor_narrow(&base, 1, 2, 3, &view));
    check_shape(&view, 2, SHAPE(4, 3));
    cr_assert_eq(at2(&view, 1, 0), 7.0f);
    assert_ok(lks_tensor_narrow(&view, 0, 3, 1, &view)); /* in place, and of a view */
    check_shape(&view, 2, SHAPE(1, 3));
    cr_assert_eq(at2(&view, 0, 2), 19.0f);
    lks_tensor_release(&base);
}

Test(tensor, narrow_to_nothing_stays_inside_the_storage)
{
    lks_tensor_t base = counting(2, SHAPE(4, 5)), view;
    assert_ok(lks_tensor_narrow(&base, 0, 4, 0, &view));
    check_shape(&view, 2, SHAPE(0, 5));
    cr_assert_leq(view.offset, 20);
    assert_ok(lks_tensor_view(base.storage, LKS_DTYPE_F32, 0, 2, SHAPE(9, 0), SHAPE(INT64_MAX, 1),
                              &view));
    assert_ok(lks_tensor_narrow(&view, 0, 5, 2, &view));
    cr_assert_eq(view.offset, 0);
    lks_tensor_release(&base);
}

Test(tensor, narrow_refuses_what_is_outside)
{
    lks_tensor_t base = counting(2, SHAPE(4, 5)), view = {.ndim = 77};
    assert_fails(lks_tensor_narrow(&base, 2, 0, 1, &view), LKS_ERR_INVALID_ARG, "no dimension 2");
    assert_fails(lks_tensor_narrow(&base, -1, 0, 1, &view), LKS_ERR_INVALID_ARG, "no dimension -1");
    assert_fails(lks_tensor_narrow(&base, 0, 2, 3, &view), LKS_ERR_INVALID_ARG,
                 "3 elements from 2");
    assert_fails(lks_tensor_narrow(&base, 0, 5, 0, &view), LKS_ERR_INVALID_ARG, "outside");
    assert_fails(lks_tensor_narrow(&base, 0, -1, 1, &view), LKS_ERR_INVALID_ARG, "outside");
    assert_fails(lks_tensor_narrow(&base, 0, 1, -1, &view), LKS_ERR_INVALID_ARG, "outside");
    assert_fails(lks_tensor_narrow(&base, 0, INT64_MAX, INT64_MAX, &view), LKS_ERR_INVALID_ARG,
                 "outside");
    cr_assert_eq(view.ndim, 77);
    lks_tensor_release(&base);
}

Test(tensor, transpose_swaps_two_dimensions)
{
    lks_tensor_t base = counting(3, SHAPE(2, 3, 4)), view;
    assert_ok(lks_tensor_transpose(&base, 0, 2, &view));
    check_shape(&view, 3, SHAPE(4, 3, 2));
    cr_assert_arr_eq(view.stride, SHAPE(1, 4, 12), 3 * sizeof(int64_t));
    assert_ok(lks_tensor_transpose(&view, 2, 0, &view));
    check_shape(&view, 3, SHAPE(2, 3, 4));
    cr_assert(lks_tensor_is_contiguous(&view));
    assert_ok(lks_tensor_transpose(&base, 1, 1, &view));
    check_shape(&view, 3, SHAPE(2, 3, 4));
    assert_fails(lks_tensor_transpose(&base, 0, 3, &view), LKS_ERR_INVALID_ARG, "no dimension 3");
    assert_fails(lks_tensor_transpose(&base, -1, 0, &view), LKS_ERR_INVALID_ARG, "no dimension -1");
    lks_tensor_release(&base);
}

Test(tensor, reshape_keeps_the_order_of_elements)
{
    lks_tensor_t base = counting(2, SHAPE(4, 6)), rows, view;
    assert_ok(lks_tensor_narrow(&base, 0, 1, 2, &rows));
    assert_ok(lks_tensor_reshape(&rows, 2, SHAPE(3, 4), &view));
    cr_assert_eq(at2(&view, 0, 0), 6.0f);
    cr_assert_eq(at2(&view, 2, 3), 17.0f);
    assert_ok(lks_tensor_narrow(&base, 0, 0, 1, &rows));
    assert_ok(lks_tensor_narrow(&rows, 1, 0, 1, &rows));
    assert_ok(lks_tensor_reshape(&rows, 0, NULL, &view));
    cr_assert_eq(view.ndim, 0);
    lks_tensor_release(&base);
}

Test(tensor, reshape_refuses_other_counts_and_strided_tensors)
{
    lks_tensor_t base = counting(2, SHAPE(4, 6)), turned, view = {.ndim = 77};
    assert_fails(lks_tensor_reshape(&base, 1, SHAPE(23), &view), LKS_ERR_INVALID_ARG,
                 "24 elements does not reshape to 23");
    assert_fails(lks_tensor_reshape(&base, 2, SHAPE(-4, -6), &view), LKS_ERR_INVALID_ARG,
                 "negative");
    assert_fails(lks_tensor_reshape(&base, 9, NULL, &view), LKS_ERR_INVALID_ARG, "not 9");
    assert_ok(lks_tensor_transpose(&base, 0, 1, &turned));
    assert_fails(lks_tensor_reshape(&turned, 1, SHAPE(24), &view), LKS_ERR_INVALID_ARG,
                 "contiguous");
    cr_assert_eq(view.ndim, 77);
    lks_tensor_release(&base);
}

Test(tensor, expand_repeats_dimensions_of_one)
{
    lks_tensor_t base = counting(2, SHAPE(3, 1)), view;
    assert_ok(lks_tensor_expand(&base, 3, SHAPE(2, 3, 4), &view));
    check_shape(&view, 3, SHAPE(2, 3, 4));
    cr_assert_arr_eq(view.stride, SHAPE(0, 1, 0), 3 * sizeof(int64_t));
    assert_ok(lks_tensor_expand(&base, 2, SHAPE(3, 0), &view));
    cr_assert_eq(lks_tensor_numel(&view), 0);
    assert_ok(lks_tensor_expand(&base, 2, base.shape, &base)); /* to itself, in place */
    check_shape(&base, 2, SHAPE(3, 1));
    lks_tensor_release(&base);
}

Test(tensor, expand_refuses_other_changes)
{
    lks_tensor_t base = counting(2, SHAPE(3, 1)), view = {.ndim = 77};
    assert_fails(lks_tensor_expand(&base, 2, SHAPE(4, 1), &view), LKS_ERR_INVALID_ARG,
                 "dimension 0 of size 3 does not expand to 4");
    assert_fails(lks_tensor_expand(&base, 1, SHAPE(3), &view), LKS_ERR_INVALID_ARG,
                 "2 dimensions do not expand to 1");
    assert_fails(lks_tensor_expand(&base, 2, SHAPE(3, -1), &view), LKS_ERR_INVALID_ARG, "negative");
    assert_fails(lks_tensor_expand(&base, 9, NULL, &view), LKS_ERR_INVALID_ARG, "not 9");
    assert_fails(lks_tensor_expand(&base, 2, SHAPE(3, INT64_MAX), &view), LKS_ERR_INVALID_ARG,
                 "2^63");
    assert_fails(lks_tensor_expand(&base, 2, SHAPE(3, INT64_MAX / 4), &view), LKS_ERR_INVALID_ARG,
                 "too large");
    cr_assert_eq(view.ndim, 77);
    lks_tensor_release(&base);
}
