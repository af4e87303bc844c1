/* SPDX-License-Identifier: Apache-2.0 */
/* test_checked.c - arithmetic that says when a result does not fit. */
#include "core/checked.h"
#include "support/support.h"

Test(checked, sizes_up_to_the_largest)
{
    size_t out = 7;
    cr_assert(lks_add_size(SIZE_MAX - 1, 1, &out));
    cr_assert_eq(out, SIZE_MAX);
    cr_assert(lks_mul_size(SIZE_MAX / 2, 2, &out));
    cr_assert_eq(out, SIZE_MAX - 1);
    cr_assert(lks_mul_size(0, SIZE_MAX, &out));
    cr_assert_eq(out, 0);
}

Test(checked, sizes_beyond_leave_the_output_alone)
{
    size_t out = 7;
    cr_assert_not(lks_add_size(SIZE_MAX, 1, &out));
    cr_assert_not(lks_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    cr_assert_eq(out, 7);
}

Test(checked, signed_numbers_up_to_both_ends)
{
    int64_t out = 7;
    cr_assert(lks_add_i64(INT64_MIN, INT64_MAX, &out));
    cr_assert_eq(out, -1);
    cr_assert(lks_mul_i64(INT64_MIN / 2, 2, &out));
    cr_assert_eq(out, INT64_MIN);
    cr_assert_not(lks_add_i64(INT64_MAX, 1, &out));
    cr_assert_not(lks_add_i64(INT64_MIN, -1, &out));
    cr_assert_not(lks_mul_i64(INT64_MIN, -1, &out));
    cr_assert_eq(out, INT64_MIN);
}
