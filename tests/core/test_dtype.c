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
        {LKS_DTYPE_F64, "float64", 8},   {LKS_DTYPE_F32, "float32", 4},
        {LKS_DTYPE_F16, "float16", 2},   {LKS_DTYPE_BF16, "bfloat16", 2},
        {LKS_DTYPE_I64, "int64", 8},     {LKS_DTYPE_I32, "int32", 4},
        {LKS_DTYPE_I16, "int16", 2},     {LKS_DTYPE_I8, "int8", 1},
        {LKS_DTYPE_U8, "uint8", 1},      {LKS_DTYPE_BOOL, "bool", 1},
        {LKS_DTYPE_C64, "complex64", 8}, {LKS_DTYPE_C128, "complex128", 16},
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
