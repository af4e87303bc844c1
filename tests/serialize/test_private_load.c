/* SPDX-License-Identifier: Apache-2.0 */
/* Storages move to private memory: verified, independent of the file, all or nothing. */
#include "serialize/sized_tensors.h"
#include "serialize/source.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t sizes[] = {100, 20000000, 0, 9000000, 7, 70000};
enum { COUNT = sizeof sizes / sizeof *sizes };

static const char *path;
static lks_checkpoint_t *checkpoint;

static void setup(void)
{
    path = test_temp_path("a.pt");
    test_save_tensors(path, sizes, COUNT);
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
}

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
}

TestSuite(private_load, .init = setup, .fini = teardown);

static void assert_holds_tensor(size_t index)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, test_tensor_at(checkpoint, index), "t", &tensor));
    cr_assert_eq(lks_tensor_nbytes(&tensor), sizes[index]);
    const unsigned char *data = lks_tensor_data(&tensor);
    for (size_t at = 0; at < sizes[index]; at++) {
        if (data[at] != test_byte(index, at)) {
            cr_assert_fail("byte %zu of tensor %zu is wrong", at, index);
        }
    }
}

static const void *address(size_t index)
{
    return lks_storage_data(lks_tree_storage(lks_checkpoint_tree(checkpoint), index)->storage);
}

/* The file's bytes are gone; a mapped page would give zeros or SIGBUS. */
static void destroy_file(void)
{
    cr_assert_eq(truncate(path, 0), 0);
    cr_assert_eq(unlink(path), 0);
}

Test(private_load, tensors_survive_their_file)
{
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    destroy_file();
    for (size_t i = 0; i < COUNT; i++) {
        assert_holds_tensor(i);
        cr_assert_eq((uintptr_t)address(i) % 64, 0);
    }
    *(unsigned char *)(uintptr_t)address(0) = 1; /* it may be written to */
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    cr_assert_eq(*(const unsigned char *)address(0), 1);
}

Test(private_load, any_number_of_threads_reads_the_same)
{
    for (size_t threads = 1; threads < 6; threads++) {
        teardown();
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        const lks_load_options_t options = {.threads = threads};
        assert_ok(lks_checkpoint_load_private(checkpoint, &options));
        for (size_t i = 0; i < COUNT; i++) {
            assert_holds_tensor(i);
        }
    }
}

Test(private_load, only_what_is_asked_for_is_read)
{
    const size_t wanted[] = {3, 0, 3};
    const lks_load_options_t options = {.storages = wanted, .count = 3};
    const void *mapped = address(1);
    assert_ok(lks_checkpoint_load_private(checkpoint, &options));
    cr_assert_eq(address(1), mapped);
    destroy_file();
    assert_holds_tensor(0);
    assert_holds_tensor(3);
}

Test(private_load, an_index_that_is_none_is_refused)
{
    const size_t wanted[] = {0, COUNT};
    const lks_load_options_t options = {.storages = wanted, .count = 2};
    const void *mapped = address(0);
    assert_fails(lks_checkpoint_load_private(checkpoint, &options), LKS_ERR_INVALID_ARG,
                 "there are 6 storages, no number 6");
    cr_assert_eq(address(0), mapped);
}

Test(private_load, the_memory_outlives_the_checkpoint)
{
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    lks_storage_t *storage =
        lks_storage_retain(lks_tree_storage(lks_checkpoint_tree(checkpoint), 5)->storage);
    teardown();
    destroy_file();
    cr_assert_eq(((unsigned char *)lks_storage_data(storage))[69999], test_byte(5, 69999));
    lks_storage_release(storage);
}

Test(private_load, a_file_that_was_replaced_is_read_as_it_was_when_opened)
{
    static const size_t others[] = {1, 2, 3};
    test_save_tensors(path, others, 3); /* renamed over it */
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    for (size_t i = 0; i < COUNT; i++) {
        assert_holds_tensor(i);
    }
}

Test(private_load, a_file_that_became_shorter_is_an_error)
{
    cr_assert_eq(truncate(path, 10000000), 0);
    const void *mapped = address(0);
    assert_fails(lks_checkpoint_load_private(checkpoint, NULL), LKS_ERR_IO,
                 "a.pt': it has become shorter");
    cr_assert_eq(address(0), mapped);
}

Test(private_load, a_corrupt_tensor_changes_nothing_and_is_named)
{
    lks_source_t *source;
    lks_zip_t zip;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_zip_open(source->data, source->size, &zip));
    size_t at = (size_t)lks_zip_find(&zip, "a/data/3", 8)->data + 8999999;
    lks_zip_close(&zip);
    lks_source_release(source);
    test_damage(path, at);
    const void *mapped = address(0);
    assert_fails(lks_checkpoint_load_private(checkpoint, NULL), LKS_ERR_CORRUPT,
                 "tensor 't.3' (record data/3) is corrupt");
    cr_assert_eq(address(0), mapped);
    const size_t good[] = {0, 1, 2, 4, 5};
    const lks_load_options_t options = {.storages = good, .count = 5};
    assert_ok(lks_checkpoint_load_private(checkpoint, &options));
    assert_holds_tensor(1);
}

/* Four floats in a record that is deflated, or lies where floats cannot be. */
static void check_unpacked(bool deflate)
{
    static const char pickle[] = "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"
                                 "FloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85\x89"
                                 "ccollections\nOrderedDict\n)RtR.";
    static const float numbers[4] = {1.5f, -2, 3e10f, 0};
    const test_record_t records[] = {
        {.name = "archive/x", .data = "y", .nbytes = 1},
        {.name = "archive/data/0", .data = numbers, .nbytes = sizeof numbers, .deflate = deflate}};
    lks_strbuf_t archive = test_torch_zip(pickle, sizeof pickle - 1, records, 2);
    teardown();
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    cr_assert_eq(truncate(path, 0), 0);
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_tree_root(lks_checkpoint_tree(checkpoint)), "t",
                                    &tensor));
    cr_assert(memcmp(lks_tensor_data(&tensor), numbers, sizeof numbers) == 0);
}

Test(private_load, records_that_must_be_unpacked_are)
{
    check_unpacked(true);
    check_unpacked(false);
}

Test(private_load, a_private_tree_can_be_saved)
{
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    assert_ok(lks_checkpoint_save(path, lks_checkpoint_tree(checkpoint), NULL));
    teardown();
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    for (size_t i = 0; i < COUNT; i++) {
        assert_holds_tensor(i);
    }
}

Test(private_load, bytes_in_memory_are_copied)
{
    size_t nbytes;
    unsigned char *bytes = test_read_file(path, &nbytes);
    teardown();
    assert_ok(lks_checkpoint_open_memory(bytes, nbytes, "memory", NULL, &checkpoint));
    assert_ok(lks_checkpoint_load_private(checkpoint, NULL));
    memset(bytes, 0, nbytes);
    assert_holds_tensor(1);
    assert_holds_tensor(5);
    teardown();
    free(bytes);
}
