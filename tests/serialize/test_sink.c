/* SPDX-License-Identifier: Apache-2.0 */
/* A file appears whole or not at all, whatever fails, and nothing is left beside it. */
#include "serialize/crc32.h"
#include "serialize/sink.h"
#include "support/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static lks_sink_t *sink;

static void assert_holds(const char *path, const char *text)
{
    size_t nbytes;
    unsigned char *found = test_read_file(path, &nbytes);
    cr_assert_str_eq((char *)found, text);
    free(found);
}

/* Files in the test's directory, temporary ones included. */
static size_t file_count(void)
{
    size_t count = 0;
    DIR *dir = opendir(test_temp_dir());
    cr_assert(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    (void)closedir(dir);
    return count;
}

static void write_text(const char *path, const char *text)
{
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_write(sink, text, strlen(text));
    assert_ok(lks_sink_commit(sink, true));
}

static mode_t mode_of(const char *path)
{
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    return info.st_mode & 07777;
}

Test(sink, a_file_appears_at_commit)
{
    const char *path = test_temp_path("a");
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_write(sink, "hello", 5);
    cr_assert_eq(lks_sink_position(sink), 5);
    cr_assert_eq(access(path, F_OK), -1);
    assert_ok(lks_sink_commit(sink, true));
    assert_holds(path, "hello");
    cr_assert_eq(file_count(), 1);
}

Test(sink, writes_of_any_size_arrive_in_order)
{
    const char *path = test_temp_path("a");
    size_t total = 3000000, at = 0, nbytes;
    unsigned char *data = malloc(total);
    for (size_t i = 0; i < total; i++) {
        data[i] = (unsigned char)(i * 31 + i / 997);
    }
    assert_ok(lks_sink_create(path, &sink));
    for (size_t piece = 1; at < total; piece = piece * 3 % 600011) {
        size_t length = piece < total - at ? piece : total - at;
        lks_sink_write(sink, data + at, length);
        at += length;
    }
    cr_assert_eq(lks_sink_position(sink), total);
    assert_ok(lks_sink_commit(sink, false));
    unsigned char *found = test_read_file(path, &nbytes);
    cr_assert_eq(nbytes, total);
    cr_assert(memcmp(found, data, total) == 0);
    free(found);
    free(data);
}

Test(sink, extents_lie_where_the_position_skips_them)
{
    const char *path = test_temp_path("a");
    size_t total = 10000000, nbytes;
    unsigned char *data = malloc(total);
    for (size_t i = 0; i < total; i++) {
        data[i] = (unsigned char)(i * 31 + i / 997);
    }
    lks_extent_t extents[] = {{.data = data, .nbytes = total, .offset = 5},
                              {.data = data, .nbytes = 0, .offset = 7},
                              {.data = data + 3, .nbytes = 40000, .offset = total + 6}};
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_set_threads(sink, 3);
    assert_ok(lks_sink_write_extents(sink, extents, 3));
    cr_assert_eq(lks_sink_position(sink), 0);
    lks_sink_write(sink, "begin", 5);
    lks_sink_skip(sink, total);
    lks_sink_write(sink, "-", 1);
    lks_sink_skip(sink, 40000);
    lks_sink_write(sink, "end", 3);
    cr_assert_eq(lks_sink_position(sink), total + 40009);
    assert_ok(lks_sink_commit(sink, false));
    cr_assert_eq(extents[0].crc, lks_crc32(0, data, total));
    cr_assert_eq(extents[1].crc, 0);
    cr_assert_eq(extents[2].crc, lks_crc32(0, data + 3, 40000));
    unsigned char *found = test_read_file(path, &nbytes);
    cr_assert_eq(nbytes, total + 40009);
    cr_assert(memcmp(found, "begin", 5) == 0 && memcmp(found + 5, data, total) == 0);
    cr_assert(found[total + 5] == '-' && memcmp(found + total + 6, data + 3, 40000) == 0);
    cr_assert(memcmp(found + total + 40006, "end", 3) == 0);
    free(found);
    free(data);
}

#define SOURCE_BYTES ((size_t)9 << 20)

static unsigned char *source_bytes;
static lks_source_t *source;

static void open_source(const char *path)
{
    source_bytes = malloc(SOURCE_BYTES);
    for (size_t i = 0; i < SOURCE_BYTES; i++) {
        source_bytes[i] = (unsigned char)(i * 31 + i / 997);
    }
    test_write_file(path, source_bytes, SOURCE_BYTES);
    assert_ok(lks_source_open(path, &source));
}

static void close_source(void)
{
    lks_source_release(source);
    free(source_bytes);
}

static void assert_copied(const char *path)
{
    static const unsigned char other[70000] = {1, 2, 3};
    size_t most = SOURCE_BYTES - 3, nbytes;
    lks_extent_t extents[] = {{.data = source->data + 3, .nbytes = most},
                              {.data = other, .nbytes = sizeof other, .offset = most},
                              {.data = source->data, .nbytes = 1, .offset = most + sizeof other}};
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_set_threads(sink, 3);
    lks_sink_set_source(sink, source);
    assert_ok(lks_sink_write_extents(sink, extents, 3));
    lks_sink_skip(sink, most + sizeof other + 1);
    assert_ok(lks_sink_commit(sink, false));
    cr_assert_eq(extents[0].crc, lks_crc32(0, source_bytes + 3, most));
    cr_assert_eq(extents[1].crc, lks_crc32(0, other, sizeof other));
    cr_assert_eq(extents[2].crc, lks_crc32(0, source_bytes, 1));
    unsigned char *found = test_read_file(path, &nbytes);
    cr_assert_eq(nbytes, most + sizeof other + 1);
    cr_assert(memcmp(found, source_bytes + 3, most) == 0 &&
              memcmp(found + most, other, sizeof other) == 0 && found[nbytes - 1] == *source_bytes);
    free(found);
}

Test(sink, extents_of_a_mapped_file_are_copied)
{
    open_source(test_temp_path("from"));
    assert_copied(test_temp_path("a"));
    close_source();
}

Test(sink, extents_of_a_file_that_was_replaced_are_those_that_are_mapped)
{
    const char *from = test_temp_path("from"), *new = test_temp_path("new");
    open_source(from);
    test_write_file(new, "another", 7);
    cr_assert_eq(rename(new, from), 0);
    assert_copied(test_temp_path("a"));
    close_source();
}

Test(sink, a_mapped_file_that_becomes_shorter_is_reported_at_commit)
{
    const char *from = test_temp_path("from"), *path = test_temp_path("a");
    open_source(from);
    test_write_file(path, "old", 3);
    lks_extent_t extent = {.data = source->data, .nbytes = SOURCE_BYTES};
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_set_source(sink, source);
    cr_assert_eq(truncate(from, 1000000), 0);
    assert_ok(lks_sink_write_extents(sink, &extent, 1));
    assert_fails(lks_sink_commit(sink, true), LKS_ERR_IO, "from': it has become shorter");
    assert_holds(path, "old");
    cr_assert_eq(file_count(), 2);
    close_source();
}

Test(sink, a_failure_in_one_of_many_threads_is_reported_at_commit)
{
    const char *path = test_temp_path("a");
    size_t total = (size_t)64 << 20;
    test_write_file(path, "old", 3);
    unsigned char *data = calloc(total, 1);
    lks_extent_t extents[] = {{.data = data, .nbytes = total / 2},
                              {.data = data, .nbytes = total / 2, .offset = total / 2}};
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {.rlim_cur = 30 << 20, .rlim_max = 30 << 20};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t threads = 1; threads < 6; threads++) {
        assert_ok(lks_sink_create(path, &sink));
        lks_sink_set_threads(sink, threads);
        assert_ok(lks_sink_write_extents(sink, extents, 2));
        lks_sink_write(sink, "never", 5);
        assert_fails(lks_sink_commit(sink, true), LKS_ERR_IO, "a': File too large");
        assert_holds(path, "old");
        cr_assert_eq(file_count(), 1);
    }
    free(data);
}

Test(sink, discarding_leaves_the_old_file_and_nothing_else)
{
    const char *path = test_temp_path("a");
    test_write_file(path, "old", 3);
    assert_ok(lks_sink_create(path, &sink));
    lks_sink_write(sink, "new", 3);
    lks_sink_discard(sink);
    lks_sink_discard(NULL);
    assert_holds(path, "old");
    cr_assert_eq(file_count(), 1);
}

Test(sink, what_was_reserved_and_not_used_is_given_back)
{
    const char *path = test_temp_path("a");
    struct stat info;
    assert_ok(lks_sink_create(path, &sink));
    assert_ok(lks_sink_reserve(sink, 100000));
    lks_sink_write(sink, "hello", 5);
    assert_ok(lks_sink_commit(sink, true));
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_size, 5);
}

Test(sink, a_new_file_gets_the_mode_that_umask_leaves)
{
    (void)umask(027);
    write_text(test_temp_path("a"), "x");
    cr_assert_eq(mode_of(test_temp_path("a")), 0640);
}

Test(sink, a_replaced_file_keeps_its_mode_and_owner)
{
    const char *path = test_temp_path("a");
    test_write_file(path, "old", 3);
    cr_assert_eq(chmod(path, 0604), 0);
    if (geteuid() == 0) {
        cr_assert_eq(chown(path, 1234, 4321), 0);
        cr_assert_eq(chmod(path, 0604), 0);
    }
    write_text(path, "new");
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0604);
    cr_assert(geteuid() != 0 || (info.st_uid == 1234 && info.st_gid == 4321));
    assert_holds(path, "new");
}

Test(sink, symbolic_links_are_followed)
{
    const char *target = test_temp_path("target"), *link = test_temp_path("link");
    const char *link2 = test_temp_path("link2"), *dangling = test_temp_path("dangling");
    test_write_file(target, "old", 3);
    cr_assert_eq(symlink("target", link), 0);
    cr_assert_eq(symlink(link, link2), 0);
    write_text(link2, "new");
    assert_holds(target, "new");
    struct stat info;
    cr_assert(lstat(link2, &info) == 0 && S_ISLNK(info.st_mode));
    cr_assert_eq(symlink("created", dangling), 0);
    write_text(dangling, "made");
    assert_holds(test_temp_path("created"), "made");
}

Test(sink, a_loop_of_links_is_refused)
{
    const char *a = test_temp_path("a"), *b = test_temp_path("b");
    cr_assert(symlink(a, b) == 0 && symlink(b, a) == 0);
    assert_fails(lks_sink_create(a, &sink), LKS_ERR_IO, "symbolic links");
}

Test(sink, targets_that_cannot_be_files_are_refused)
{
    assert_fails(lks_sink_create("/no/such/dir/a.pt", &sink), LKS_ERR_IO,
                 "cannot write '/no/such/dir/a.pt': No such file or directory");
    assert_fails(lks_sink_create(test_temp_dir(), &sink), LKS_ERR_IO, "it is a directory");
    assert_fails(lks_sink_create("/no-such-directory/", &sink), LKS_ERR_IO, "it is a directory");
    assert_fails(lks_sink_create("", &sink), LKS_ERR_IO, "it is a directory");
    assert_fails(lks_sink_create("/dev/null", &sink), LKS_ERR_IO, "not a regular file");
    struct stat info;
    cr_assert(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
}

Test(sink, the_longest_file_name_still_has_a_temporary_one)
{
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", test_temp_dir(), name);
    write_text(path, "x");
    assert_holds(path, "x");
}

/* Runs `body` in a child; its exit status is the result. */
static int in_child(void (*body)(void))
{
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static char locked_path[256];

static void write_as_nobody(void)
{
    lks_sink_t *mine;
    if (setgid(65534) != 0 || setuid(65534) != 0) {
        _exit(2);
    }
    if (lks_sink_create(locked_path, &mine) != LKS_ERR_IO ||
        !strstr(lks_last_error()->message, "Permission denied")) {
        _exit(1);
    }
}

Test(sink, a_directory_without_permission_is_an_io_error)
{
    if (geteuid() != 0) {
        cr_skip_test("only root can become somebody else");
    }
    test_write_file(test_temp_path("a"), "old", 3);
    (void)snprintf(locked_path, sizeof locked_path, "%s/a", test_temp_dir());
    cr_assert_eq(chmod(test_temp_dir(), 0755), 0);
    cr_assert_eq(in_child(write_as_nobody), 0);
    assert_holds(locked_path, "old");
    cr_assert_eq(file_count(), 1);
}

/* A limit on file sizes stands for a full disk: the same writes fail, at the same places. */
static void limit_files_to(rlim_t nbytes)
{
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {.rlim_cur = nbytes, .rlim_max = nbytes};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(sink, a_full_disk_is_found_when_space_is_reserved)
{
    const char *path = test_temp_path("a");
    test_write_file(path, "old", 3);
    limit_files_to(100000);
    assert_ok(lks_sink_create(path, &sink));
    assert_fails(lks_sink_reserve(sink, 200000), LKS_ERR_IO, "File too large");
    lks_sink_discard(sink);
    assert_holds(path, "old");
    cr_assert_eq(file_count(), 1);
}

Test(sink, a_disk_that_fills_up_while_writing_is_reported_at_commit)
{
    static char data[90000];
    const char *path = test_temp_path("a");
    test_write_file(path, "old", 3);
    limit_files_to(400000);
    assert_ok(lks_sink_create(path, &sink));
    for (int i = 0; i < 10; i++) {
        lks_sink_write(sink, data, sizeof data);
    }
    assert_fails(lks_sink_commit(sink, true), LKS_ERR_IO, "cannot write");
    assert_holds(path, "old");
    cr_assert_eq(file_count(), 1);
}

Test(sink, a_file_is_copied)
{
    const char *from = test_temp_path("from"), *to = test_temp_path("to");
    char *data = calloc(1, 500000);
    memcpy(data + 499990, "the end", 8);
    test_write_file(from, data, 500000);
    int fd = open(from, O_RDONLY);
    assert_ok(lks_sink_create(to, &sink));
    lks_sink_copy_file(sink, fd, 500000);
    assert_ok(lks_sink_commit(sink, true));
    size_t nbytes;
    unsigned char *found = test_read_file(to, &nbytes);
    cr_assert(nbytes == 500000 && memcmp(found, data, nbytes) == 0);
    assert_ok(lks_sink_create(to, &sink));
    lks_sink_copy_file(sink, fd, 500001);
    assert_fails(lks_sink_commit(sink, true), LKS_ERR_IO, "copy");
    (void)close(fd);
    free(found);
    free(data);
}
