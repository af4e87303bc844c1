/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/source.h"
#include "support/support.h"

#include <sys/stat.h>

static lks_source_t *source;

Test(source, a_file_is_mapped)
{
    const char *path = test_temp_path("a");
    test_write_file(path, "hello", 5);
    assert_ok(lks_source_open(path, &source));
    cr_assert(source->size == 5 && memcmp(source->data, "hello", 5) == 0);
    cr_assert_str_eq(source->path, path);
    lks_source_release(source);
}

Test(source, storages_keep_the_map_alive)
{
    const char *path = test_temp_path("a");
    test_write_file(path, "hello", 5);
    lks_storage_t *storage;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_source_storage(source, 1, 3, &storage));
    lks_source_release(source);
    cr_assert_eq(lks_storage_nbytes(storage), 3);
    cr_assert(memcmp(lks_storage_data(storage), "ell", 3) == 0);
    lks_storage_release(storage);
}

Test(source, what_is_no_file_is_refused_in_a_sentence)
{
    assert_fails(lks_source_open("/no/such/file", &source), LKS_ERR_IO,
                 "cannot read '/no/such/file': No such file or directory");
    assert_fails(lks_source_open("/tmp", &source), LKS_ERR_IO, "it is a directory");
    assert_fails(lks_source_open("/dev/null", &source), LKS_ERR_IO, "not a regular file");
    const char *fifo = test_temp_path("fifo"), *empty = test_temp_path("empty");
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    assert_fails(lks_source_open(fifo, &source), LKS_ERR_IO, "not a regular file");
    test_write_file(empty, "", 0);
    assert_fails(lks_source_open(empty, &source), LKS_ERR_FORMAT, "is empty");
    lks_source_release(NULL);
}
