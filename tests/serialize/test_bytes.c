/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/bytes.h"
#include "support/support.h"

Test(bytes, numbers_are_little_endian)
{
    const unsigned char data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    lks_bytes_t bytes = lks_bytes_of(data, sizeof data);
    cr_assert_eq(lks_bytes_u8(&bytes), 0x01);
    cr_assert_eq(lks_bytes_u16(&bytes), 0x0302);
    cr_assert_eq(lks_bytes_u32(&bytes), 0x07060504);
    cr_assert_eq(lks_bytes_u64(&bytes), UINT64_C(0x0f0e0d0c0b0a0908));
    cr_assert(bytes.ok);
    cr_assert_eq(lks_bytes_left(&bytes), 0);
}

Test(bytes, a_read_past_the_end_gives_zero_and_sticks)
{
    const unsigned char data[] = {1, 2, 3};
    lks_bytes_t bytes = lks_bytes_of(data, sizeof data);
    cr_assert_eq(lks_bytes_u32(&bytes), 0);
    cr_assert_not(bytes.ok);
    cr_assert_eq(lks_bytes_left(&bytes), 0, "loops over what is left must end");
    cr_assert_eq(lks_bytes_u8(&bytes), 0, "the cursor does not recover");
    cr_assert_null(lks_bytes_take(&bytes, 0));
}

Test(bytes, lengths_up_to_2_64_do_not_wrap)
{
    const unsigned char data[] = {1, 2, 3};
    lks_bytes_t bytes = lks_bytes_of(data, sizeof data);
    (void)lks_bytes_u8(&bytes);
    cr_assert_null(lks_bytes_take(&bytes, UINT64_MAX));
    bytes = lks_bytes_of(data, sizeof data);
    cr_assert_not(lks_bytes_part(&bytes, 1, UINT64_MAX).ok);
    cr_assert_not(lks_bytes_part(&bytes, UINT64_MAX, 1).ok);
    cr_assert(lks_bytes_part(&bytes, 3, 0).ok);
    cr_assert_eq(lks_bytes_part(&bytes, 1, 2).data, data + 1);
}

Test(bytes, lines_end_at_a_newline)
{
    size_t nbytes = 0;
    lks_bytes_t bytes = lks_bytes_of("ab\n\ncd", 6);
    cr_assert(memcmp(lks_bytes_line(&bytes, &nbytes), "ab", 2) == 0 && nbytes == 2);
    cr_assert(lks_bytes_line(&bytes, &nbytes) && nbytes == 0);
    cr_assert_null(lks_bytes_line(&bytes, &nbytes));
    cr_assert_not(bytes.ok);
}

Test(bytes, put_writes_what_uint_reads)
{
    unsigned char data[8];
    for (unsigned width = 1; width <= 8; width++) {
        uint64_t value = UINT64_C(0x8877665544332211) & (UINT64_MAX >> (64 - 8 * width));
        cr_assert_eq(lks_put_uint(data, value, width), data + width);
        lks_bytes_t bytes = lks_bytes_of(data, width);
        cr_assert_eq(lks_bytes_uint(&bytes, width), value);
    }
}
