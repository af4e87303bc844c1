/* SPDX-License-Identifier: Apache-2.0 */
/* test_leaf.c - where leaf libraries are looked for, and what is wrong with those that will not open. */
#include "core/leaf.h"
#include "core/thread.h"
#include "support/support.h"

#include <stdlib.h>

enum { BESIDE_PROGRAM = 1, IN_LEAVES = 2 };

static int open_probe(void)
{
    const void *table;
    assert_ok(lks_leaf_open("probe", 3, &table));
    return *(const int *)table;
}

Test(leaf, is_found_beside_the_library)
{
    (void)unsetenv("LOCKSTEP_LIBDIR");
    cr_assert_eq(open_probe(), BESIDE_PROGRAM);
}

Test(leaf, is_found_in_the_folder_of_the_environment_first)
{
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", LEAVES_DIR, 1), 0);
    cr_assert_eq(open_probe(), IN_LEAVES);
}

Test(leaf, a_folder_without_it_is_passed_over)
{
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", test_temp_dir(), 1), 0);
    cr_assert_eq(open_probe(), BESIDE_PROGRAM);
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", "", 1), 0);
    cr_assert_eq(open_probe(), BESIDE_PROGRAM);
}

Test(leaf, opens_again_with_the_same_table)
{
    const void *first, *second;
    assert_ok(lks_leaf_open("probe", 3, &first));
    assert_ok(lks_leaf_open("probe", 3, &second));
    cr_assert_eq(first, second);
}

Test(leaf, absent_is_unsupported_with_the_loaders_reason)
{
    const void *table = &table;
    assert_fails(lks_leaf_open("absent", 1, &table), LKS_ERR_UNSUPPORTED,
                 "liblockstep_absent.so: cannot open shared object file");
    cr_assert_eq(table, (const void *)&table);
}

Test(leaf, of_another_version_is_unsupported)
{
    const void *table = &table;
    assert_fails(lks_leaf_open("probe", 4, &table), LKS_ERR_UNSUPPORTED, "no table of version 4");
    cr_assert_eq(table, (const void *)&table);
}

Test(leaf, without_its_function_is_unsupported)
{
    const void *table = &table;
    assert_fails(lks_leaf_open("empty", 1, &table), LKS_ERR_UNSUPPORTED,
                 "no function lks_leaf_empty");
    cr_assert_eq(table, (const void *)&table);
}

/* There is a good one beside the program, but the folder of the environment was meant. */
Test(leaf, a_broken_file_is_not_passed_over)
{
    test_write_file(test_temp_path("liblockstep_probe.so"), "no library", 10);
    cr_assert_eq(setenv("LOCKSTEP_LIBDIR", test_temp_dir(), 1), 0);
    const void *table = &table;
    assert_fails(lks_leaf_open("probe", 3, &table), LKS_ERR_UNSUPPORTED, test_temp_dir());
    cr_assert_eq(table, (const void *)&table);
}

static void open_in_thread(void *context)
{
    const void *table;
    if (lks_leaf_open("probe", 3, &table) == LKS_OK) {
        *(const void **)context = table;
    }
}

Test(leaf, may_be_opened_by_many_threads_at_once)
{
    const void *tables[3] = {NULL};
    lks_thread_t *threads[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(lks_thread_create("opens", open_in_thread, &tables[i], &threads[i]));
    }
    for (int i = 0; i < 3; i++) {
        lks_thread_join(threads[i]);
    }
    cr_assert_not_null(tables[0]);
    cr_assert(tables[1] == tables[0] && tables[2] == tables[0]);
}
