/* SPDX-License-Identifier: Apache-2.0 */
/* test_tensor_copy.c - copies and conversions between views of every kind. */
#include "support/support.h"

#include <lockstep/tensor.h>
#include <math.h>

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})

static lks_tensor_t create(lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), dtype, ndim, shape, &tensor));
    memset(lks_storage_data(tensor.storage), 0x5a, lks_storage_nbytes(tensor.storage));
    return tensor;
}

/* Every byte of the storage is its own position, as far as a byte counts. */
static lks_tensor_t numbered(lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    lks_tensor_t tensor = create(dtype, ndim, shape);
    unsigned char *data = lks_storage_data(tensor.storage);
    for (size_t i = 0; i < lks_storage_nbytes(tensor.storage); i++) {
        data[i] = (unsigned char)(i * 7 + 1);
    }
    return tensor;
}

static const void *element(const lks_tensor_t *tensor, const int64_t *at)
{
    int64_t offset = 0;
    for (int i = 0; i < tensor->ndim; i++) {
        offset += at[i] * tensor->stride[i];
    }
    return (const char *)lks_tensor_data(tensor) + (size_t)offset * lks_dtype_size(tensor->dtype);
}

/* Compares element by element, by coordinates. */
static void check_equal(const lks_tensor_t *a, const lks_tensor_t *b)
{
    cr_assert(lks_tensor_same_shape(a, b));
    for (int64_t i = 0; i < lks_tensor_numel(a); i++) {
        int64_t at[LKS_MAX_NDIM], rest = i;
        for (int d = a->ndim - 1; d >= 0; d--) {
            at[d] = rest % a->shape[d];
            rest /= a->shape[d];
        }
        cr_assert_arr_eq(element(a, at), element(b, at), lks_dtype_size(a->dtype));
    }
}

Test(tensor_copy, copies_contiguous_tensors_of_every_dtype)
{
    for (int d = 0; d < LKS_DTYPE_COUNT; d++) {
        lks_tensor_t src = numbered((lks_dtype_t)d, 2, SHAPE(3, 5));
        lks_tensor_t dst = create((lks_dtype_t)d, 2, SHAPE(3, 5));
        assert_ok(lks_tensor_copy(&dst, &src));
        check_equal(&dst, &src);
        lks_tensor_release(&src);
        lks_tensor_release(&dst);
    }
}

Test(tensor_copy, copies_transposed_sources_of_every_dtype)
{
    for (int d = 0; d < LKS_DTYPE_COUNT; d++) {
        lks_tensor_t src = numbered((lks_dtype_t)d, 3, SHAPE(2, 3, 5)), turned;
        lks_tensor_t dst = create((lks_dtype_t)d, 3, SHAPE(5, 3, 2));
        assert_ok(lks_tensor_transpose(&src, 0, 2, &turned));
        assert_ok(lks_tensor_copy(&dst, &turned));
        check_equal(&dst, &turned);
        lks_tensor_release(&src);
        lks_tensor_release(&dst);
    }
}

Test(tensor_copy, copies_into_a_window_and_touches_nothing_else)
{
    lks_tensor_t src = numbered(LKS_DTYPE_I16, 2, SHAPE(2, 3));
    lks_tensor_t dst = create(LKS_DTYPE_I16, 2, SHAPE(4, 6)), window;
    assert_ok(lks_tensor_narrow(&dst, 0, 1, 2, &window));
    assert_ok(lks_tensor_narrow(&window, 1, 2, 3, &window));
    assert_ok(lks_tensor_copy(&window, &src));
    check_equal(&window, &src);
    const int16_t *data = lks_tensor_data(&dst);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 6; k++) {
            bool inside = i >= 1 && i < 3 && k >= 2 && k < 5;
            cr_assert(inside || data[6 * i + k] == 0x5a5a, "row %d, column %d", i, k);
        }
    }
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, repeats_expanded_sources)
{
    lks_tensor_t src = numbered(LKS_DTYPE_F32, 2, SHAPE(3, 1)), wide;
    lks_tensor_t dst = create(LKS_DTYPE_F32, 3, SHAPE(2, 3, 4));
    assert_ok(lks_tensor_expand(&src, 3, SHAPE(2, 3, 4), &wide));
    assert_ok(lks_tensor_copy(&dst, &wide));
    check_equal(&dst, &wide);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, copies_scalars_and_single_elements_of_any_stride)
{
    lks_tensor_t src = numbered(LKS_DTYPE_C128, 0, NULL), dst = create(LKS_DTYPE_C128, 0, NULL);
    assert_ok(lks_tensor_copy(&dst, &src));
    check_equal(&dst, &src);
    lks_tensor_t from, to;
    const int64_t *far = SHAPE(INT64_MAX, INT64_MAX);
    assert_ok(lks_tensor_view(src.storage, LKS_DTYPE_U8, 5, 2, SHAPE(1, 1), far, &from));
    assert_ok(lks_tensor_view(dst.storage, LKS_DTYPE_U8, 3, 2, SHAPE(1, 1), far, &to));
    assert_ok(lks_tensor_copy(&to, &from));
    check_equal(&to, &from);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, strided_dimension_of_one_in_the_last_place)
{
    lks_tensor_t src = numbered(LKS_DTYPE_F32, 1, SHAPE(8)), from;
    lks_tensor_t dst = create(LKS_DTYPE_F32, 2, SHAPE(4, 1));
    assert_ok(
        lks_tensor_view(src.storage, LKS_DTYPE_F32, 0, 2, SHAPE(4, 1), SHAPE(2, INT64_MAX), &from));
    assert_ok(lks_tensor_copy(&dst, &from));
    check_equal(&dst, &from);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, of_nothing_touches_nothing)
{
    lks_tensor_t base = create(LKS_DTYPE_F32, 2, SHAPE(3, 4)), src, dst;
    assert_ok(lks_tensor_narrow(&base, 1, 0, 0, &src));
    assert_ok(lks_tensor_narrow(&base, 1, 2, 0, &dst));
    assert_ok(lks_tensor_copy(&dst, &src));
    assert_ok(lks_tensor_convert(&dst, &src));
    const unsigned char *data = lks_tensor_data(&base);
    for (size_t i = 0; i < lks_tensor_nbytes(&base); i++) {
        cr_assert_eq(data[i], 0x5a);
    }
    lks_tensor_release(&base);
}

Test(tensor_copy, refuses_other_shapes_and_dtypes)
{
    lks_tensor_t a = create(LKS_DTYPE_F32, 2, SHAPE(2, 3)), b = create(LKS_DTYPE_F32, 1, SHAPE(6));
    lks_tensor_t c = create(LKS_DTYPE_I32, 2, SHAPE(2, 3));
    assert_fails(lks_tensor_copy(&a, &b), LKS_ERR_INVALID_ARG, "shape (6,) into one of (2, 3)");
    assert_fails(lks_tensor_copy(&a, &c), LKS_ERR_INVALID_ARG, "int32 into float32");
    assert_fails(lks_tensor_convert(&c, &b), LKS_ERR_INVALID_ARG, "shape (6,)");
    lks_tensor_release(&a);
    lks_tensor_release(&b);
    lks_tensor_release(&c);
}

/* --- conversion --------------------------------------------------------------------------------- */

static void put(lks_tensor_t *tensor, int64_t i, double value)
{
    void *at = (char *)lks_tensor_data(tensor) + (size_t)i * lks_dtype_size(tensor->dtype);
    switch (tensor->dtype) {
    case LKS_DTYPE_F64: *(double *)at = value; return;
    case LKS_DTYPE_F32: *(float *)at = (float)value; return;
    case LKS_DTYPE_F16: *(uint16_t *)at = lks_f32_to_f16((float)value); return;
    case LKS_DTYPE_BF16: *(uint16_t *)at = lks_f32_to_bf16((float)value); return;
    case LKS_DTYPE_I64: *(int64_t *)at = (int64_t)value; return;
    case LKS_DTYPE_I32: *(int32_t *)at = (int32_t)value; return;
    case LKS_DTYPE_I16: *(int16_t *)at = (int16_t)value; return;
    case LKS_DTYPE_I8: *(int8_t *)at = (int8_t)value; return;
    case LKS_DTYPE_BOOL: *(uint8_t *)at = value != 0; return;
    default: *(uint8_t *)at = (uint8_t)value; return;
    }
}

static double get(const lks_tensor_t *tensor, int64_t i)
{
    const void *at =
        (const char *)lks_tensor_data(tensor) + (size_t)i * lks_dtype_size(tensor->dtype);
    switch (tensor->dtype) {
    case LKS_DTYPE_F64: return *(const double *)at;
    case LKS_DTYPE_F32: return (double)*(const float *)at;
    case LKS_DTYPE_F16: return (double)lks_f16_to_f32(*(const uint16_t *)at);
    case LKS_DTYPE_BF16: return (double)lks_bf16_to_f32(*(const uint16_t *)at);
    case LKS_DTYPE_I64: return (double)*(const int64_t *)at;
    case LKS_DTYPE_I32: return *(const int32_t *)at;
    case LKS_DTYPE_I16: return *(const int16_t *)at;
    case LKS_DTYPE_I8: return *(const int8_t *)at;
    default: return *(const uint8_t *)at;
    }
}

/* 0, 1 and 100 are exact in every real dtype, except that bool knows no 100. */
Test(tensor_copy, converts_between_all_real_dtypes)
{
    static const double values[] = {0, 1, 100};
    for (int from = 0; from <= LKS_DTYPE_BOOL; from++) {
        for (int to = 0; to <= LKS_DTYPE_BOOL; to++) {
            lks_tensor_t src = create((lks_dtype_t)from, 1, SHAPE(3));
            lks_tensor_t dst = create((lks_dtype_t)to, 1, SHAPE(3));
            for (int i = 0; i < 3; i++) {
                put(&src, i, values[i]);
            }
            assert_ok(lks_tensor_convert(&dst, &src));
            for (int i = 0; i < 3; i++) {
                bool truth = to == LKS_DTYPE_BOOL || from == LKS_DTYPE_BOOL;
                cr_assert_eq(get(&dst, i), truth ? values[i] != 0 : values[i], "%s to %s",
                             lks_dtype_name((lks_dtype_t)from), lks_dtype_name((lks_dtype_t)to));
            }
            lks_tensor_release(&src);
            lks_tensor_release(&dst);
        }
    }
}

/* Converts one value and returns what came out. */
static double convert_one(lks_dtype_t from, double value, lks_dtype_t to)
{
    lks_tensor_t src = create(from, 0, NULL), dst = create(to, 0, NULL);
    put(&src, 0, value);
    assert_ok(lks_tensor_convert(&dst, &src));
    double result = get(&dst, 0);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
    return result;
}

Test(tensor_copy, floats_truncate_toward_zero)
{
    static const lks_dtype_t integers[] = {LKS_DTYPE_I64, LKS_DTYPE_I32, LKS_DTYPE_I16,
                                           LKS_DTYPE_I8};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
        cr_assert_eq(convert_one(LKS_DTYPE_F64, 2.9, integers[i]), 2);
        cr_assert_eq(convert_one(LKS_DTYPE_F64, -2.9, integers[i]), -2);
        cr_assert_eq(convert_one(LKS_DTYPE_F16, -0.5, integers[i]), 0);
    }
    cr_assert_eq(convert_one(LKS_DTYPE_F32, 255.9, LKS_DTYPE_U8), 255);
}

Test(tensor_copy, floats_beyond_int64_become_its_smallest_number)
{
    static const double beyond[] = {1e300, -1e300, NAN, INFINITY, -INFINITY, 0x1p63};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        cr_assert_eq(convert_one(LKS_DTYPE_F64, beyond[i], LKS_DTYPE_I64), -0x1p63, "%g",
                     beyond[i]);
    }
}

Test(tensor_copy, integers_keep_their_lower_bits)
{
    cr_assert_eq(convert_one(LKS_DTYPE_I32, 300, LKS_DTYPE_U8), 44);
    cr_assert_eq(convert_one(LKS_DTYPE_I16, -1, LKS_DTYPE_U8), 255);
    cr_assert_eq(convert_one(LKS_DTYPE_U8, 255, LKS_DTYPE_I8), -1);
    cr_assert_eq(convert_one(LKS_DTYPE_I64, 0x100000007p0, LKS_DTYPE_I32), 7);
    cr_assert_eq(convert_one(LKS_DTYPE_F64, -1, LKS_DTYPE_U8), 255);
}

Test(tensor_copy, whatever_is_not_zero_is_true)
{
    cr_assert_eq(convert_one(LKS_DTYPE_F32, 0.001, LKS_DTYPE_BOOL), 1);
    cr_assert_eq(convert_one(LKS_DTYPE_F32, NAN, LKS_DTYPE_BOOL), 1);
    cr_assert_eq(convert_one(LKS_DTYPE_F32, -0.0, LKS_DTYPE_BOOL), 0);
    cr_assert_eq(convert_one(LKS_DTYPE_I64, 256, LKS_DTYPE_BOOL), 1);
}

Test(tensor_copy, any_other_byte_of_a_bool_is_true)
{
    lks_tensor_t src = create(LKS_DTYPE_BOOL, 0, NULL), dst = create(LKS_DTYPE_F32, 0, NULL);
    *(uint8_t *)lks_tensor_data(&src) = 7;
    assert_ok(lks_tensor_convert(&dst, &src));
    cr_assert_eq(get(&dst, 0), 1);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, int64_does_not_go_through_a_float)
{
    lks_tensor_t src = create(LKS_DTYPE_I64, 1, SHAPE(2)), dst = create(LKS_DTYPE_I32, 1, SHAPE(2));
    ((int64_t *)lks_tensor_data(&src))[0] = INT64_MAX; /* no double holds it */
    ((int64_t *)lks_tensor_data(&src))[1] = INT64_MAX - 1;
    assert_ok(lks_tensor_convert(&dst, &src));
    cr_assert_eq(((int32_t *)lks_tensor_data(&dst))[0], -1);
    cr_assert_eq(((int32_t *)lks_tensor_data(&dst))[1], -2);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, floats_round_to_nearest_even_and_keep_infinities)
{
    cr_assert_eq(convert_one(LKS_DTYPE_F64, 1 + 0x1p-24, LKS_DTYPE_F32), 1);
    cr_assert_eq(convert_one(LKS_DTYPE_F64, 1 + 0x3p-24, LKS_DTYPE_F32), 1 + 0x1p-22);
    cr_assert_eq(convert_one(LKS_DTYPE_F32, 1 + 0x1p-11, LKS_DTYPE_F16), 1);
    cr_assert_eq(convert_one(LKS_DTYPE_F32, 1 + 0x1p-8, LKS_DTYPE_BF16), 1);
    cr_assert_eq(convert_one(LKS_DTYPE_F64, 1e300, LKS_DTYPE_F32), INFINITY);
    cr_assert_eq(convert_one(LKS_DTYPE_F32, 1e6, LKS_DTYPE_F16), INFINITY);
    cr_assert(isnan(convert_one(LKS_DTYPE_F32, NAN, LKS_DTYPE_F16)));
    cr_assert(isnan(convert_one(LKS_DTYPE_BF16, NAN, LKS_DTYPE_F64)));
    /* PyTorch goes to float16 through float32: this lies above a tie, but the float32 lies on it. */
    cr_assert_eq(convert_one(LKS_DTYPE_F64, 1 + 0x1p-11 + 0x1p-40, LKS_DTYPE_F16), 1);
}

Test(tensor_copy, converts_strided_and_expanded_views)
{
    lks_tensor_t src = create(LKS_DTYPE_I32, 2, SHAPE(3, 2)), turned, wide;
    for (int i = 0; i < 6; i++) {
        put(&src, i, i);
    }
    lks_tensor_t dst = create(LKS_DTYPE_F64, 2, SHAPE(2, 3));
    assert_ok(lks_tensor_transpose(&src, 0, 1, &turned));
    assert_ok(lks_tensor_convert(&dst, &turned));
    static const double wanted[] = {0, 2, 4, 1, 3, 5};
    cr_assert_arr_eq(lks_tensor_data(&dst), wanted, sizeof wanted);
    assert_ok(lks_tensor_narrow(&turned, 1, 2, 1, &wide));
    assert_ok(lks_tensor_expand(&wide, 2, SHAPE(2, 3), &wide));
    assert_ok(lks_tensor_convert(&dst, &wide));
    static const double repeated[] = {4, 4, 4, 5, 5, 5};
    cr_assert_arr_eq(lks_tensor_data(&dst), repeated, sizeof repeated);
    lks_tensor_release(&src);
    lks_tensor_release(&dst);
}

Test(tensor_copy, converts_long_rows_packed_and_strided)
{
    enum { COUNT = 1300 };
    static const lks_dtype_t sources[] = {LKS_DTYPE_I32, LKS_DTYPE_F64};
    for (size_t k = 0; k < 2; k++) {
        lks_tensor_t src = create(sources[k], 2, SHAPE(COUNT, 2)), column;
        lks_tensor_t packed = create(LKS_DTYPE_F32, 2, SHAPE(COUNT, 2));
        lks_tensor_t dst = create(LKS_DTYPE_I16, 1, SHAPE(COUNT));
        for (int i = 0; i < 2 * COUNT; i++) {
            put(&src, i, i);
        }
        assert_ok(lks_tensor_view(src.storage, src.dtype, 1, 1, SHAPE(COUNT), SHAPE(2), &column));
        assert_ok(lks_tensor_convert(&packed, &src));
        assert_ok(lks_tensor_convert(&dst, &column));
        for (int i = 0; i < COUNT; i++) {
            cr_assert_eq(get(&dst, i), 2 * i + 1);
            cr_assert_eq(get(&packed, 2 * i), 2 * i);
            cr_assert_eq(get(&packed, 2 * i + 1), 2 * i + 1);
        }
        lks_tensor_release(&src);
        lks_tensor_release(&packed);
        lks_tensor_release(&dst);
    }
}

Test(tensor_copy, complex_numbers_convert_to_themselves_only)
{
    lks_tensor_t c64 = numbered(LKS_DTYPE_C64, 1, SHAPE(2)),
                 same = create(LKS_DTYPE_C64, 1, SHAPE(2));
    lks_tensor_t c128 = create(LKS_DTYPE_C128, 1, SHAPE(2)),
                 f32 = create(LKS_DTYPE_F32, 1, SHAPE(2));
    assert_ok(lks_tensor_convert(&same, &c64));
    check_equal(&same, &c64);
    assert_fails(lks_tensor_convert(&c128, &c64), LKS_ERR_UNSUPPORTED, "complex64 to complex128");
    assert_fails(lks_tensor_convert(&f32, &c64), LKS_ERR_UNSUPPORTED, "complex64 to float32");
    assert_fails(lks_tensor_convert(&c64, &f32), LKS_ERR_UNSUPPORTED, "float32 to complex64");
    lks_tensor_release(&c64);
    lks_tensor_release(&same);
    lks_tensor_release(&c128);
    lks_tensor_release(&f32);
}
