/* SPDX-License-Identifier: Apache-2.0 */
/* test_dtype.c - names and sizes. */
#include "support/support.h"

#include <lockstep/dtype.h>

Test(dtype, names_and_sizes_are_pytorchs)
{
    static const struct {
        lks_dtype_t dtype;
        const char *name;
        size_t size;
    } wanted[] = {
        {LKS_DTYPE_F64, "float64", 8},
        {LKS_DTYPE_F32, "float32", 4},
        {LKS_DTYPE_F16, "float16", 2},
        {LKS_DTYPE_BF16, "bfloat16", 2},
        {LKS_DTYPE_I64, "int64", 8},
        {LKS_DTYPE_I32, "int32", 4},
        {LKS_DTYPE_I16, "int16", 2},
        {LKS_DTYPE_I8, "int8", 1},
        {LKS_DTYPE_U8, "uint8", 1},
        {LKS_DTYPE_BOOL, "bool", 1},
        {LKS_DTYPE_C64, "complex64", 8},
        {LKS_DTYPE_C128, "complex128", 16},
        {LKS_DTYPE_C32, "complex32", 4},
        {LKS_DTYPE_U16, "uint16", 2},
        {LKS_DTYPE_U32, "uint32", 4},
        {LKS_DTYPE_U64, "uint64", 8},
        {LKS_DTYPE_F8_E5M2, "float8_e5m2", 1},
        {LKS_DTYPE_F8_E4M3FN, "float8_e4m3fn", 1},
        {LKS_DTYPE_F8_E5M2FNUZ, "float8_e5m2fnuz", 1},
        {LKS_DTYPE_F8_E4M3FNUZ, "float8_e4m3fnuz", 1},
        {LKS_DTYPE_F8_E8M0FNU, "float8_e8m0fnu", 1},
        {LKS_DTYPE_F4_E2M1FN_X2, "float4_e2m1fn_x2", 1},
        {LKS_DTYPE_F6_E2M3FN_X4, "float6_e2m3fn_x4", 3},
        {LKS_DTYPE_F6_E3M2FN_X4, "float6_e3m2fn_x4", 3},
        {LKS_DTYPE_QI8, "qint8", 1},
        {LKS_DTYPE_QU8, "quint8", 1},
        {LKS_DTYPE_QI32, "qint32", 4},
        {LKS_DTYPE_QU4X2, "quint4x2", 1},
        {LKS_DTYPE_QU2X4, "quint2x4", 1},
    };
    cr_assert_eq(sizeof wanted / sizeof *wanted, LKS_DTYPE_COUNT);
    for (size_t i = 0; i < LKS_DTYPE_COUNT; i++) {
        lks_dtype_t found;
        cr_assert_str_eq(lks_dtype_name(wanted[i].dtype), wanted[i].name);
        cr_assert_eq(lks_dtype_size(wanted[i].dtype), wanted[i].size);
        assert_ok(lks_dtype_from_name(wanted[i].name, &found));
        cr_assert_eq(found, wanted[i].dtype);
    }
}

Test(dtype, only_the_ten_real_ones_of_the_first_versions_convert)
{
    int convertible = 0, complex = 0, quantized = 0;
    for (int i = 0; i < LKS_DTYPE_COUNT; i++) {
        convertible += lks_dtype_is_convertible((lks_dtype_t)i);
        complex += lks_dtype_is_complex((lks_dtype_t)i);
        quantized += lks_dtype_is_quantized((lks_dtype_t)i);
    }
    cr_assert_eq(convertible, 10);
    cr_assert_eq(complex, 3);
    cr_assert_eq(quantized, 5);
    cr_assert(lks_dtype_is_quantized(LKS_DTYPE_QI32) && !lks_dtype_is_quantized(LKS_DTYPE_I32));
    cr_assert(lks_dtype_is_convertible(LKS_DTYPE_BOOL) && !lks_dtype_is_convertible(LKS_DTYPE_C64));
    cr_assert(!lks_dtype_is_convertible((lks_dtype_t)-1));
}

Test(dtype, numbers_that_are_no_dtype_have_no_size)
{
    cr_assert_eq(lks_dtype_size(LKS_DTYPE_COUNT), 0);
    cr_assert_eq(lks_dtype_size((lks_dtype_t)-1), 0);
    cr_assert_str_eq(lks_dtype_name(LKS_DTYPE_COUNT), "unknown");
    cr_assert_str_eq(lks_dtype_name((lks_dtype_t)-1), "unknown");
}

Test(dtype, an_unknown_name_is_not_found_and_changes_nothing)
{
    lks_dtype_t found = LKS_DTYPE_U8;
    assert_fails(lks_dtype_from_name("float", &found), LKS_ERR_NOT_FOUND, "'float'");
    assert_fails(lks_dtype_from_name("", &found), LKS_ERR_NOT_FOUND, "''");
    assert_fails(lks_dtype_from_name("float32 ", &found), LKS_ERR_NOT_FOUND, "'float32 '");
    cr_assert_eq(found, LKS_DTYPE_U8);
}
