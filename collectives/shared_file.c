/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/shared_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

lks_shared_file_t lks_shared_file_make(size_t nbytes)
{
    lks_shared_file_t made = {.pid = getpid(), .nbytes = (int64_t)nbytes};
    made.file = memfd_create("lockstep", MFD_CLOEXEC);
    if (made.file < 0 || ftruncate((int)made.file, (off_t)nbytes) != 0) {
        made.error = errno;
    }
    return made;
}

void lks_shared_file_close(const lks_shared_file_t *file)
{
    if (file->file >= 0) {
        (void)close((int)file->file);
    }
}

int lks_shared_file_map(const lks_shared_file_t *file, void **out)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)file->pid, (int)file->file);
    int opened = open(path, O_RDWR | O_CLOEXEC);
    if (opened < 0) {
        return errno;
    }
    size_t nbytes = (size_t)file->nbytes;
    void *data = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
    int error = data == MAP_FAILED ? errno : 0;
    (void)close(opened);
    if (!error) {
        (void)madvise(data, nbytes, MADV_HUGEPAGE); /* a wish */
        *out = data;
    }
    return error;
}
