/* SPDX-License-Identifier: Apache-2.0 */
/* Saves in the background write what a save at once would, and their failures are told to somebody. */
#include "serialize/named_tensors.h"

#include <lockstep/checkpoint.h>
#include <lockstep/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FLOATS = 8 << 20 }; /* 32 MiB: long enough for a second save to come meanwhile */

static float *numbers;
static lks_save_handle_t *handle;
static lks_save_options_t options;

static void begin(void)
{
    numbers = calloc(FLOATS, sizeof *numbers);
    cr_assert(numbers);
    options = lks_save_options_default();
    options.sync = false;
}

static void end(void)
{
    lks_save_handle_destroy(handle);
    free(numbers);
}

TestSuite(async_save, .init = begin, .fini = end);

static lks_tree_t *make_tree(size_t count)
{
    lks_tree_t *tree;
    lks_storage_t *storage;
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), numbers, count * sizeof *numbers, NULL, NULL,
                               &storage));
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_str(
        tree, root, "weight",
        test_tensor(tree, index, 0, LKS_DTYPE_F32, 1, (const int64_t[]){(int64_t)count}));
    lks_tree_set_root(tree, root);
    return tree;
}

/* Starts a save of `count` numbers. */
static lks_status_t save(const char *path, size_t count)
{
    lks_tree_t *tree = make_tree(count);
    lks_status_t status = lks_checkpoint_save_async(path, tree, &options, &handle);
    lks_tree_destroy(tree);
    return status;
}

static void assert_equal_files(const char *a, const char *b)
{
    size_t a_size, b_size;
    unsigned char *a_bytes = test_read_file(a, &a_size), *b_bytes = test_read_file(b, &b_size);
    cr_assert_eq(a_size, b_size);
    cr_assert(memcmp(a_bytes, b_bytes, a_size) == 0);
    free(a_bytes);
    free(b_bytes);
}

/* Under the same name, which the records of the archive carry. */
Test(async_save, writes_the_bytes_of_a_save_at_once)
{
    const char *now = test_temp_path("a.pt"), *copy = test_temp_path("copy");
    for (size_t i = 0; i < 100000; i++) {
        numbers[i] = (float)i;
    }
    lks_tree_t *tree = make_tree(100000);
    assert_ok(lks_checkpoint_save(now, tree, &options));
    cr_assert_eq(rename(now, copy), 0);
    assert_ok(lks_checkpoint_save_async(now, tree, &options, &handle));
    lks_tree_destroy(tree);
    memset(numbers, 0, 100000 * sizeof *numbers); /* training goes on */
    assert_ok(lks_save_handle_wait(handle));
    assert_equal_files(now, copy);
}

Test(async_save, copies_follow_the_first_file)
{
    const char *first = test_temp_path("best.pt");
    const char *const copies[] = {test_temp_path("epoch.pt"), test_temp_path("last.pt")};
    options.copies = copies;
    options.copy_count = 2;
    assert_ok(save(first, 1000));
    assert_ok(lks_save_handle_wait(handle));
    assert_equal_files(first, copies[0]);
    assert_equal_files(first, copies[1]);
}

Test(async_save, a_second_save_waits_for_the_first)
{
    const char *first = test_temp_path("a.pt"), *second = test_temp_path("b.pt");
    assert_ok(save(first, FLOATS));
    assert_ok(save(second, 10));
    cr_assert_eq(access(first, F_OK), 0);
    assert_ok(lks_save_handle_wait(handle));
    cr_assert_eq(access(second, F_OK), 0);
}

Test(async_save, a_second_save_is_refused_if_asked)
{
    const char *first = test_temp_path("a.pt"), *second = test_temp_path("b.pt");
    options.refuse_if_busy = true;
    lks_status_t status = LKS_OK;
    for (int i = 0; i < 50 && status == LKS_OK; i++) {
        assert_ok(save(first, FLOATS));
        status = save(second, 10);
        bool refused = status != LKS_OK;
        cr_assert(!refused || strstr(lks_last_error()->message, second));
        assert_ok(lks_save_handle_wait(handle));
    }
    cr_assert_eq(status, LKS_ERR_BUSY);
}

Test(async_save, test_says_when_it_is_done)
{
    const char *path = test_temp_path("a.pt");
    assert_ok(save(path, 1000));
    bool done = false;
    for (int i = 0; i < 10000 && !done; i++) {
        assert_ok(lks_save_handle_test(handle, &done));
        (void)usleep(1000);
    }
    cr_assert(done);
    cr_assert_eq(access(path, F_OK), 0);
}

/* --- failures ----------------------------------------------------------------------------------- */

#define NOWHERE "/nonexistent/a.pt"

Test(async_save, wait_tells_a_failure_each_time)
{
    assert_ok(save(NOWHERE, 10));
    assert_fails(lks_save_handle_wait(handle), LKS_ERR_IO, NOWHERE);
    bool done;
    assert_fails(lks_save_handle_test(handle, &done), LKS_ERR_IO, NOWHERE);
    assert_ok(save(test_temp_path("a.pt"), 10));
    assert_ok(lks_save_handle_wait(handle));
}

Test(async_save, a_failure_nobody_was_told_stops_the_next_save)
{
    const char *path = test_temp_path("a.pt");
    assert_ok(save(NOWHERE, 10));
    assert_fails(save(path, 10), LKS_ERR_IO, NOWHERE);
    cr_assert_eq(access(path, F_OK), -1);
    assert_ok(save(path, 10));
    assert_ok(lks_save_handle_wait(handle));
    cr_assert_eq(access(path, F_OK), 0);
}

static char logged[1024];

static void keep_line(void *context, lks_log_level_t level, const char *message)
{
    (void)context;
    (void)level;
    (void)strncat(logged, message, sizeof logged - strlen(logged) - 1);
}

Test(async_save, destroy_logs_a_failure_nobody_was_told)
{
    lks_log_set_sink(keep_line, NULL);
    assert_ok(save(NOWHERE, 10));
    lks_save_handle_destroy(handle);
    cr_assert(strstr(logged, NOWHERE), "'%s'", logged);
    logged[0] = '\0';
    handle = NULL;
    assert_ok(save(NOWHERE, 10));
    cr_assert_neq(lks_save_handle_wait(handle), LKS_OK);
    lks_save_handle_destroy(handle);
    cr_assert_str_empty(logged, "'%s' was told twice", logged);
    handle = NULL;
    lks_log_set_sink(NULL, NULL);
}

Test(async_save, what_cannot_be_saved_is_refused_at_once)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    assert_fails(lks_checkpoint_save_async("a.pt", tree, NULL, &handle), LKS_ERR_INVALID_ARG,
                 "the tree has no root");
    lks_tree_destroy(tree);
    options.format = "papyrus";
    assert_fails(save("a.pt", 1), LKS_ERR_NOT_FOUND, "papyrus");
    cr_assert_null(handle);
}
