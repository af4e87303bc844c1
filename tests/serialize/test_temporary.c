/* SPDX-License-Identifier: Apache-2.0 */
/* What killed saves left is swept by the next one; what is in the making, or only looks like it, stays. */
#include "serialize/folder.h"
#include "serialize/sink.h"
#include "serialize/temporary.h"
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

/* A temporary file of `target`, as a killed save leaves it. */
static char *leave_file(const char *target)
{
    char *name = lks_temporary_name(target);
    cr_assert(name);
    test_write_file(name, "half", 4);
    return name;
}

static bool any_part(const char *name)
{
    (void)name;
    return true;
}

Test(temporary, the_next_save_removes_what_a_killed_one_left)
{
    const char *target = test_temp_path("a.pt");
    char *left = leave_file(target);
    lks_sink_t *sink;
    assert_ok(lks_sink_create(target, &sink));
    cr_assert_not(exists(left));
    lks_sink_discard(sink);
    free(left);
}

Test(temporary, a_directory_goes_with_its_files)
{
    const char *target = test_temp_path("a");
    cr_assert_eq(mkdir(target, 0777), 0);
    char *left = lks_temporary_name(target);
    cr_assert_eq(mkdir(left, 0777), 0);
    char file[4096];
    (void)snprintf(file, sizeof file, "%s/part", left);
    test_write_file(file, "half", 4);
    lks_folder_t *folder;
    assert_ok(lks_folder_create(target, any_part, &folder));
    cr_assert_not(exists(left));
    lks_folder_discard(folder);
    free(left);
    cr_assert_eq(rmdir(target), 0);
}

/* Between the two renames of a file system that cannot exchange, it is the old checkpoint. */
Test(temporary, a_directory_stays_until_there_is_another)
{
    const char *target = test_temp_path("a");
    char *left = lks_temporary_name(target);
    cr_assert_eq(mkdir(left, 0777), 0);
    lks_folder_t *folder;
    assert_ok(lks_folder_create(target, any_part, &folder));
    cr_assert(exists(left));
    assert_ok(lks_folder_commit(folder, false));
    cr_assert_not(exists(left));
    free(left);
    cr_assert_eq(rmdir(target), 0);
}

Test(temporary, a_save_in_the_making_is_left_alone)
{
    const char *target = test_temp_path("a.pt");
    lks_sink_t *first, *second;
    assert_ok(lks_sink_create(target, &first));
    lks_sink_write(first, "first", 5);
    assert_ok(lks_sink_create(target, &second));
    lks_sink_write(second, "second", 6);
    assert_ok(lks_sink_commit(first, false));
    assert_ok(lks_sink_commit(second, false));
}

Test(temporary, two_directories_in_the_making_do_not_meet)
{
    const char *target = test_temp_path("a");
    lks_folder_t *first, *second;
    lks_sink_t *part;
    assert_ok(lks_folder_create(target, any_part, &first));
    assert_ok(lks_folder_create(target, any_part, &second));
    assert_ok(lks_folder_file(first, "part", &part));
    assert_ok(lks_sink_commit(part, false));
    assert_ok(lks_folder_commit(second, false));
    lks_folder_discard(first);
    cr_assert_eq(rmdir(target), 0);
}

Test(temporary, what_only_looks_like_it_stays)
{
    static const char *const names[] = {
        ".a.pt.0123456789abcdef.tmp2", ".a.pt.0123456789abcde.tmp",
        ".a.pt.0123456789ABCDEF.tmp",  ".b.pt.0123456789abcdef.tmp",
        ".a.pt2.0123456789abcdef.tmp", "a.pt.0123456789abcdef.tmp",
        ".a.pt.0123456789abcdef",      ".a.pt",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        test_write_file(test_temp_path(names[i]), "mine", 4);
    }
    const char *link = test_temp_path(".a.pt.0123456789abcdef.tmp");
    cr_assert_eq(symlink(test_temp_path(names[0]), link), 0);
    lks_temporary_sweep(test_temp_path("a.pt"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_assert(exists(test_temp_path(names[i])), "%s", names[i]);
    }
    cr_assert(exists(link));
}

Test(temporary, long_names_are_found_again)
{
    char name[256];
    memset(name, 'n', 250);
    name[250] = '\0';
    char *left = leave_file(test_temp_path(name));
    lks_temporary_sweep(test_temp_path(name));
    cr_assert_not(exists(left));
    free(left);
}

Test(temporary, a_name_without_a_directory_lies_here)
{
    cr_assert_eq(chdir(test_temp_dir()), 0);
    char *left = leave_file("a.pt");
    cr_assert(exists(left));
    lks_temporary_sweep("a.pt");
    cr_assert_not(exists(left));
    free(left);
}

Test(temporary, a_lock_taken_by_a_sweeper_asks_for_another_name)
{
    const char *path = test_temp_path(".a.pt.0123456789abcdef.tmp");
    test_write_file(path, "", 0);
    int maker = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(maker, 0);
    lks_temporary_sweep(test_temp_path("a.pt"));
    cr_assert_not(lks_temporary_lock(path, maker));
    (void)close(maker);
}
