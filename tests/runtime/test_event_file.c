/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_file.c - records, names, flushing, and disks that are full. */
#include "runtime/train/event_file.h"
#include "serialize/bytes.h"
#include "serialize/crc32.h"
#include "support/support.h"

#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static lks_event_file_t *open_events(const char *dir, int64_t restart)
{
    lks_event_file_t *file;
    assert_ok(lks_event_file_open(dir, restart, &file));
    return file;
}

static const char *copy_path(const lks_event_file_t *file)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s", lks_event_file_path(file));
    return path;
}

static uint32_t unmask(uint32_t masked)
{
    uint32_t turned = masked - 0xa282ead8u;
    return turned >> 17 | turned << 15;
}

/* How many records a file has; it must consist of whole ones with right checksums. */
static size_t count_records(const char *path)
{
    size_t nbytes, count = 0;
    unsigned char *data = test_read_file(path, &nbytes);
    lks_bytes_t bytes = lks_bytes_of(data, nbytes);
    for (; lks_bytes_left(&bytes) > 0; count++) {
        const unsigned char *head = bytes.data + bytes.at;
        uint64_t length = lks_bytes_uint(&bytes, 8);
        cr_assert_eq(unmask(lks_bytes_u32(&bytes)), lks_crc32c(0, head, 8));
        const unsigned char *event = lks_bytes_take(&bytes, length);
        cr_assert_eq(unmask(lks_bytes_u32(&bytes)), lks_crc32c(0, event, length));
        cr_assert(bytes.ok, "record %zu is cut", count);
    }
    free(data);
    return count;
}

static lks_status_t add(lks_event_file_t *file, double wall_time, int64_t step)
{
    const lks_scalar_t scalars[] = {{"train/loss", 1.0 / (double)step}, {"train/lr", 0.01}};
    return lks_event_file_add(file, wall_time, step, scalars, 2);
}

Test(event_file, a_new_file_says_its_version)
{
    const char *dir = test_temp_path("tb");
    size_t nbytes;
    lks_event_file_t *file = open_events(dir, 0);
    unsigned char *data = test_read_file(lks_event_file_path(file), &nbytes);
    cr_assert_eq(nbytes, 40);
    cr_assert_arr_eq(data, "\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09", 13);
    cr_assert_arr_eq(data + 21,
                     "\x1a\x0d"
                     "brain.Event:2",
                     15);
    free(data);
    assert_ok(lks_event_file_close(file));
}

Test(event_file, is_named_as_tensorboard_expects)
{
    const char *dir = test_temp_path("tb");
    regex_t pattern;
    cr_assert_eq(regcomp(&pattern,
                         "/tb/events\\.out\\.tfevents\\.[0-9]{10}\\..*\\.[0-9]+\\.[0-9]+$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    lks_event_file_t *first = open_events(dir, 0), *second = open_events(dir, 0);
    cr_assert_eq(regexec(&pattern, lks_event_file_path(first), 0, NULL, 0), 0);
    cr_assert_eq(regexec(&pattern, lks_event_file_path(second), 0, NULL, 0), 0);
    cr_assert_str_neq(lks_event_file_path(first), lks_event_file_path(second));
    regfree(&pattern);
    assert_ok(lks_event_file_close(first));
    assert_ok(lks_event_file_close(second));
    assert_ok(lks_event_file_close(NULL));
}

Test(event_file, a_restart_is_the_second_record)
{
    lks_event_file_t *file = open_events(test_temp_path("tb"), 300);
    size_t nbytes;
    unsigned char *data = test_read_file(lks_event_file_path(file), &nbytes);
    cr_assert_eq(count_records(lks_event_file_path(file)), 2);
    cr_assert_arr_eq(data + nbytes - 11, "\x10\xac\x02\x3a\x02\x08\x01", 7);
    free(data);
    assert_ok(lks_event_file_close(file));
}

Test(event_file, records_wait_for_two_seconds_or_a_flush)
{
    lks_event_file_t *file = open_events(test_temp_path("tb"), 0);
    const char *path = copy_path(file);
    double start = lks_event_time();
    assert_ok(add(file, start, 1));
    assert_ok(add(file, start + 1.0, 2));
    cr_assert_eq(count_records(path), 1);
    assert_ok(add(file, start + 2.1, 3));
    cr_assert_eq(count_records(path), 4);
    assert_ok(add(file, start + 2.2, 4));
    cr_assert_eq(count_records(path), 4);
    assert_ok(lks_event_file_flush(file));
    cr_assert_eq(count_records(path), 5);
    assert_ok(add(file, start + 2.3, 5));
    assert_ok(lks_event_file_close(file));
    cr_assert_eq(count_records(path), 6);
}

Test(event_file, many_records_do_not_pile_up_in_memory)
{
    lks_event_file_t *file = open_events(test_temp_path("tb"), 0);
    double now = lks_event_time();
    for (int64_t step = 1; step <= 1000; step++) {
        assert_ok(add(file, now, step));
    }
    cr_assert(count_records(lks_event_file_path(file)) > 500);
    assert_ok(lks_event_file_close(file));
}

static void limit_files(rlim_t nbytes)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = nbytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The limit is in the middle of a record, as the end of a disk is. */
Test(event_file, what_has_no_room_is_reported_and_written_later)
{
    lks_event_file_t *file = open_events(test_temp_path("tb"), 0);
    const char *path = copy_path(file);
    double now = lks_event_time();
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_ok(add(file, now, 1));
    assert_ok(lks_event_file_flush(file));
    limit_files(200);
    assert_ok(add(file, now, 2));
    assert_fails(lks_event_file_flush(file), LKS_ERR_IO, path);
    cr_assert_eq(count_records(path), 2);
    assert_fails(add(file, now + 10.0, 3), LKS_ERR_IO, path);
    cr_assert_eq(count_records(path), 2);
    limit_files(RLIM_INFINITY);
    assert_ok(lks_event_file_flush(file));
    cr_assert_eq(count_records(path), 4);
    limit_files(400);
    assert_ok(add(file, now, 4));
    assert_fails(lks_event_file_close(file), LKS_ERR_IO, path);
    cr_assert_eq(count_records(path), 4);
}

Test(event_file, a_head_without_room_leaves_no_file)
{
    const char *dir = test_temp_path("tb");
    lks_event_file_t *file;
    (void)signal(SIGXFSZ, SIG_IGN);
    limit_files(20);
    assert_fails(lks_event_file_open(dir, 0, &file), LKS_ERR_IO, "cannot write '");
    cr_assert_eq(rmdir(dir), 0);
}

Test(event_file, a_folder_that_cannot_be_is_an_error)
{
    const char *obstacle = test_temp_path("file");
    lks_event_file_t *file;
    test_write_file(obstacle, "", 0);
    assert_fails(lks_event_file_open(obstacle, 0, &file), LKS_ERR_IO, "it is not a folder");
    assert_fails(lks_event_file_open(test_temp_path("no/such"), 0, &file), LKS_ERR_IO,
                 "cannot create the folder");
    assert_fails(lks_event_file_open("/proc/self", 0, &file), LKS_ERR_IO, "/proc/self");
}
