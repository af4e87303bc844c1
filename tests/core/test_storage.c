/* SPDX-License-Identifier: Apache-2.0 */
/* test_storage.c - the last reference gives the memory back, and no other. */
#include "core/storage.h"
#include "core/thread.h"
#include "support/support.h"

#include <lockstep/tensor.h>

static void count_release(void *context)
{
    ++*(int *)context;
}

Test(storage, owned_memory_can_be_written_to_its_end)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), 1000, &storage));
    cr_assert_eq(lks_storage_nbytes(storage), 1000);
    cr_assert_eq(lks_storage_device(storage), lks_device_host());
    memset(lks_storage_data(storage), 1, 1000);
    lks_storage_release(storage);
}

Test(storage, may_be_empty)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), 0, &storage));
    cr_assert_eq(lks_storage_nbytes(storage), 0);
    cr_assert_not_null(lks_storage_data(storage));
    lks_storage_release(storage);
}

Test(storage, too_large_is_no_memory_and_sets_nothing)
{
    lks_storage_t *storage = NULL;
    assert_fails(lks_storage_create(lks_device_host(), SIZE_MAX - 100, &storage), LKS_ERR_NO_MEMORY,
                 "18446744073709551515 bytes");
    cr_assert_null(storage);
}

Test(storage, wrapped_memory_is_released_with_the_last_reference)
{
    int released = 0;
    char memory[16];
    lks_storage_t *storage;
    assert_ok(lks_storage_wrap(lks_device_host(), memory, sizeof memory, count_release, &released,
                               &storage));
    cr_assert_eq(lks_storage_data(storage), (void *)memory);
    cr_assert_eq(lks_storage_retain(storage), storage);
    lks_storage_release(storage);
    cr_assert_eq(released, 0);
    lks_storage_release(storage);
    cr_assert_eq(released, 1);
}

Test(storage, wrapped_memory_may_have_nothing_to_release)
{
    char memory[16];
    lks_storage_t *storage;
    assert_ok(lks_storage_wrap(lks_device_host(), memory, sizeof memory, NULL, NULL, &storage));
    lks_storage_release(storage);
    lks_storage_release(NULL);
}

Test(storage, swapped_storages_have_each_others_memory)
{
    int released = 0;
    char memory[1000] = "wrapped";
    lks_storage_t *own, *wrapped;
    assert_ok(lks_storage_create(lks_device_host(), sizeof memory, &own));
    assert_ok(lks_storage_wrap(lks_device_host(), memory, sizeof memory, count_release, &released,
                               &wrapped));
    char *data = lks_storage_data(own);
    lks_storage_swap(own, wrapped);
    cr_assert_eq(lks_storage_data(own), (void *)memory);
    cr_assert_eq(lks_storage_data(wrapped), (void *)data);
    lks_storage_release(wrapped); /* which owns its memory now */
    cr_assert_eq(released, 0);
    lks_storage_release(own);
    cr_assert_eq(released, 1);
}

static void retain_and_release(void *context)
{
    for (int i = 0; i < 2000; i++) {
        lks_storage_release(lks_storage_retain(context));
    }
    lks_storage_release(context);
}

Test(storage, references_may_go_in_any_thread)
{
    int released = 0; /* plain: the last release is ordered after all others */
    lks_storage_t *storage;
    assert_ok(lks_storage_wrap(lks_device_host(), NULL, 0, count_release, &released, &storage));
    lks_thread_t *threads[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(lks_thread_create("refs", retain_and_release, lks_storage_retain(storage),
                                    &threads[i]));
    }
    lks_storage_release(storage);
    for (int i = 0; i < 3; i++) {
        lks_thread_join(threads[i]);
    }
    cr_assert_eq(released, 1);
}
