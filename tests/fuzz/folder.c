/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - the directory of a process; see fuzz.h. */
#include "fuzz.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[PATH_MAX / 2];

static void remove_folder(void)
{
    char command[PATH_MAX];
    (void)snprintf(command, sizeof command, "rm -rf '%s'", folder);
    (void)!system(command);
}

const char *fuzz_folder(void)
{
    if (!folder[0]) {
        const char *base = getenv("TMPDIR");
        (void)snprintf(folder, sizeof folder, "%s/fuzz-XXXXXX", base ? base : "/dev/shm");
        fuzz_require(mkdtemp(folder) != NULL, "there is a directory to work in");
        (void)atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_path(const char *name)
{
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    return path;
}

void fuzz_write_file(const char *name, const void *data, size_t nbytes)
{
    int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_require(fd >= 0 && write(fd, data, nbytes) == (ssize_t)nbytes && close(fd) == 0,
                 "files can be written");
}
