/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/source.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
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

/* kB of a mapping that are in memory, as /proc/self/smaps says. */
static long mapped_kb(const void *data)
{
    char start[32], line[256];
    long kb = -1;
    bool here = false;
    (void)snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)data);
    FILE *file = fopen("/proc/self/smaps", "r");
    while (file && kb < 0 && fgets(line, sizeof line, file)) {
        here |= strncmp(line, start, strlen(start)) == 0;
        if (here && strncmp(line, "Rss:", 4) == 0) {
            kb = strtol(line + 4, NULL, 10);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return kb;
}

Test(source, pages_are_given_back_and_come_again)
{
    static unsigned char bytes[1 << 20];
    const char *path = test_temp_path("a");
    memset(bytes, 7, sizeof bytes);
    test_write_file(path, bytes, sizeof bytes);
    assert_ok(lks_source_open(path, &source));
    cr_assert_eq(memcmp(source->data, bytes, sizeof bytes), 0);
    cr_assert_eq(mapped_kb(source->data), 1024);
    lks_source_drop_pages(source);
    cr_assert_eq(mapped_kb(source->data), 0);
    cr_assert_eq(memcmp(source->data, bytes, sizeof bytes), 0);
    lks_source_release(source);
}
