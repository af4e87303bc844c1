/* SPDX-License-Identifier: Apache-2.0 */
/* support.c - temporary directories and files for tests. */
#include "support/support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char temp_dir[64];

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static void remove_temp_dir(void)
{
    (void)nftw(temp_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_temp_dir(void)
{
    if (!temp_dir[0]) {
        (void)snprintf(temp_dir, sizeof temp_dir, "/tmp/lockstep-test-XXXXXX");
        cr_assert(mkdtemp(temp_dir), "no temporary directory");
        (void)atexit(remove_temp_dir);
    }
    return temp_dir;
}

const char *test_temp_path(const char *name)
{
    static char paths[32][192];
    static unsigned count;
    cr_assert(count < 32, "too many temporary paths in one test");
    char *path = paths[count++];
    (void)snprintf(path, sizeof paths[0], "%s/%s", test_temp_dir(), name);
    return path;
}

void test_write_file(const char *path, const void *data, size_t nbytes)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file, "cannot write %s", path);
    cr_assert(fwrite(data, 1, nbytes, file) == nbytes);
    cr_assert(fclose(file) == 0);
}

unsigned char *test_read_file(const char *path, size_t *nbytes)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file, "cannot read %s", path);
    cr_assert(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    cr_assert(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
    unsigned char *data = malloc((size_t)size + 1);
    cr_assert(data && fread(data, 1, (size_t)size, file) == (size_t)size);
    data[size] = 0;
    (void)fclose(file);
    *nbytes = (size_t)size;
    return data;
}
