/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/bucket_plan.h"
#include "support/support.h"

#define F32 LKS_DTYPE_F32
#define F16 LKS_DTYPE_F16

static void check(const size_t *nbytes, const lks_dtype_t *dtypes, const size_t *order,
                  size_t count, size_t first_limit, size_t limit, size_t buckets,
                  const size_t *wanted)
{
    size_t bucket_of[16];
    cr_assert_eq(lks_bucket_plan(nbytes, dtypes, order, count, first_limit, limit, bucket_of),
                 buckets);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(bucket_of[i], wanted[i], "tensor %zu: bucket %zu, wanted %zu", i, bucket_of[i],
                     wanted[i]);
    }
}

static const lks_dtype_t all_f32[8] = {F32, F32, F32, F32, F32, F32, F32, F32};

Test(bucket_plan, closes_a_bucket_that_has_reached_its_limit)
{
    const size_t nbytes[] = {400, 200, 100, 50, 60}, order[] = {4, 3, 2, 1, 0};
    check(nbytes, all_f32, order, 5, 100, 250, 3, (size_t[]){2, 1, 1, 0, 0});
}

Test(bucket_plan, a_tensor_beyond_the_limit_is_in_a_bucket_with_those_before_it)
{
    const size_t nbytes[] = {10, 9000, 10}, order[] = {2, 1, 0};
    check(nbytes, all_f32, order, 3, 100, 100, 2, (size_t[]){1, 0, 0});
}

Test(bucket_plan, limits_of_one_byte_give_each_tensor_its_own)
{
    const size_t nbytes[] = {4, 4, 4}, order[] = {1, 2, 0};
    check(nbytes, all_f32, order, 3, 1, 1, 3, (size_t[]){2, 0, 1});
}

Test(bucket_plan, a_bucket_holds_one_dtype)
{
    const size_t nbytes[] = {60, 60, 60, 60}, order[] = {3, 2, 1, 0};
    const lks_dtype_t dtypes[] = {F32, F16, F32, F16};
    check(nbytes, dtypes, order, 4, 100, 100, 2, (size_t[]){1, 0, 1, 0});
}

Test(bucket_plan, what_is_left_is_numbered_by_its_last_tensor)
{
    const size_t nbytes[] = {1, 1, 1}, order[] = {0, 1, 2};
    const lks_dtype_t dtypes[] = {F32, F16, F32};
    check(nbytes, dtypes, order, 3, 100, 100, 2, (size_t[]){1, 0, 1});
}

Test(bucket_plan, no_tensors_no_buckets)
{
    check(NULL, NULL, NULL, 0, 1, 1, 0, NULL);
}
