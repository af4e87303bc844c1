/* SPDX-License-Identifier: Apache-2.0 */
/* test_host.c - the host's memory. */
#include "support/support.h"

#include <lockstep/device.h>
#include <stdint.h>

static void *alloc(size_t nbytes)
{
    void *data;
    assert_ok(lks_device_alloc(lks_device_host(), nbytes, &data));
    return data;
}

Test(host, blocks_are_aligned_and_writable_to_their_end)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4095, (4 << 20) - 1, 4 << 20, (4 << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *data = alloc(sizes[i]);
        cr_assert_not_null(data);
        cr_assert_eq((uintptr_t)data % 64, 0, "%zu bytes", sizes[i]);
        memset(data, 1, sizes[i]);
        lks_device_free(lks_device_host(), data);
    }
}

Test(host, large_blocks_are_aligned_for_huge_pages)
{
    void *data = alloc(4 << 20);
    cr_assert_eq((uintptr_t)data % (2 << 20), 0);
    lks_device_free(lks_device_host(), data);
}

Test(host, no_memory_names_the_byte_count_and_sets_nothing)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *data = &data;
        assert_fails(lks_device_alloc(lks_device_host(), sizes[i], &data), LKS_ERR_NO_MEMORY,
                     "host: out of memory allocating");
        assert_fails(lks_device_alloc(lks_device_host(), sizes[i], &data), LKS_ERR_NO_MEMORY,
                     i == 0 ? "18446744073709551615 bytes" : " bytes");
        cr_assert_eq(data, &data);
    }
}

Test(host, copies_and_fills)
{
    lks_device_t *host = lks_device_host();
    char from[8] = "abcdefg", to[8] = "-------";
    assert_ok(lks_device_copy(host, to + 1, host, from, 3, NULL));
    cr_assert_str_eq(to, "-abc---");
    assert_ok(lks_device_fill(host, to + 5, 'z', 1, NULL));
    cr_assert_str_eq(to, "-abc-z-");
}

Test(host, nothing_may_be_nowhere)
{
    lks_device_t *host = lks_device_host();
    assert_ok(lks_device_copy(host, NULL, host, NULL, 0, NULL));
    assert_ok(lks_device_fill(host, NULL, 0, 0, NULL));
    lks_device_free(host, NULL);
}
