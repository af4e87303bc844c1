/* SPDX-License-Identifier: Apache-2.0 */
/* test_shape.c - arithmetic on shapes, up to where it overflows. */
#include "support/support.h"

#include <lockstep/tensor.h>

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

Test(shape, numel_multiplies)
{
    int64_t numel;
    assert_ok(lks_shape_numel(3, SHAPE(2, 3, 4), &numel));
    cr_assert_eq(numel, 24);
    assert_ok(lks_shape_numel(0, NULL, &numel));
    cr_assert_eq(numel, 1);
    assert_ok(lks_shape_numel(1, SHAPE(INT64_MAX), &numel));
    cr_assert_eq(numel, INT64_MAX);
}

Test(shape, numel_of_an_empty_shape_is_zero_whatever_its_other_sizes)
{
    int64_t numel;
    assert_ok(lks_shape_numel(3, SHAPE(INT64_MAX, INT64_MAX, 0), &numel));
    cr_assert_eq(numel, 0);
    assert_ok(lks_shape_numel(2, SHAPE(0, 5), &numel));
    cr_assert_eq(numel, 0);
}

Test(shape, numel_refuses_negative_sizes_and_overflow)
{
    int64_t numel = -7;
    assert_fails(lks_shape_numel(2, SHAPE(3, -1), &numel), LKS_ERR_INVALID_ARG, "dimension 1");
    assert_fails(lks_shape_numel(2, SHAPE(-1, 0), &numel), LKS_ERR_INVALID_ARG, "-1");
    assert_fails(lks_shape_numel(2, SHAPE((int64_t)1 << 32, (int64_t)1 << 31), &numel),
                 LKS_ERR_INVALID_ARG, "2^63");
    cr_assert_eq(numel, -7);
}

Test(shape, span_reaches_the_last_element)
{
    int64_t span;
    assert_ok(lks_shape_span(2, SHAPE(2, 3), SHAPE(3, 1), &span));
    cr_assert_eq(span, 6);
    assert_ok(lks_shape_span(2, SHAPE(2, 3), SHAPE(10, 2), &span));
    cr_assert_eq(span, 15);
    assert_ok(lks_shape_span(2, SHAPE(1000, 3), SHAPE(0, 1), &span));
    cr_assert_eq(span, 3);
    assert_ok(lks_shape_span(0, NULL, NULL, &span));
    cr_assert_eq(span, 1);
    assert_ok(lks_shape_span(2, SHAPE(0, 3), SHAPE(INT64_MAX, INT64_MAX), &span));
    cr_assert_eq(span, 0);
    assert_ok(lks_shape_span(2, SHAPE(1, 1), SHAPE(INT64_MAX, INT64_MAX), &span));
    cr_assert_eq(span, 1);
}

Test(shape, span_refuses_negative_strides_and_overflow)
{
    int64_t span = -7;
    assert_fails(lks_shape_span(1, SHAPE(2), SHAPE(-1), &span), LKS_ERR_INVALID_ARG, "dimension 0");
    assert_fails(lks_shape_span(1, SHAPE(0), SHAPE(-1), &span), LKS_ERR_INVALID_ARG, "-1");
    assert_fails(lks_shape_span(1, SHAPE(3), SHAPE(INT64_MAX), &span), LKS_ERR_INVALID_ARG, "2^63");
    assert_fails(lks_shape_span(1, SHAPE(2), SHAPE(INT64_MAX), &span), LKS_ERR_INVALID_ARG, "2^63");
    assert_fails(lks_shape_span(2, SHAPE(2, 2), SHAPE(INT64_MAX - 1, 2), &span),
                 LKS_ERR_INVALID_ARG, "2^63");
    assert_fails(lks_shape_span(1, SHAPE(-2), SHAPE(1), &span), LKS_ERR_INVALID_ARG, "size -2");
    cr_assert_eq(span, -7);
}

Test(shape, contiguous_strides_are_pytorchs)
{
    int64_t stride[3];
    lks_shape_contiguous_stride(3, SHAPE(2, 3, 4), stride);
    cr_assert_arr_eq(stride, SHAPE(12, 4, 1), sizeof stride);
    lks_shape_contiguous_stride(3, SHAPE(2, 0, 4), stride); /* torch.empty(2, 0, 4).stride() */
    cr_assert_arr_eq(stride, SHAPE(4, 4, 1), sizeof stride);
    lks_shape_contiguous_stride(3, SHAPE(0, INT64_MAX, INT64_MAX), stride);
    cr_assert_arr_eq(stride, SHAPE(INT64_MAX, INT64_MAX, 1), sizeof stride);
}

Test(shape, prints_as_python_prints_tuples)
{
    char text[64];
    cr_assert_str_eq(lks_shape_format(text, sizeof text, 0, NULL), "()");
    cr_assert_str_eq(lks_shape_format(text, sizeof text, 1, SHAPE(3)), "(3,)");
    cr_assert_str_eq(lks_shape_format(text, sizeof text, 2, SHAPE(3, 4)), "(3, 4)");
    cr_assert_str_eq(lks_shape_format(text, sizeof text, 1, SHAPE(INT64_MIN)),
                     "(-9223372036854775808,)");
}

Test(shape, print_is_cut_to_its_room)
{
    char text[8];
    for (size_t size = 0; size <= sizeof text; size++) {
        memset(text, '#', sizeof text);
        (void)lks_shape_format(text, size, 3, SHAPE(10, 20, 30));
        cr_assert(size == 0 || strlen(text) == size - 1);
        cr_assert_eq(strncmp(text, "(10, 20, 30)", size ? size - 1 : 0), 0);
        for (size_t i = size; i < sizeof text; i++) {
            cr_assert_eq(text[i], '#', "byte %zu of %zu", i, size);
        }
    }
}
