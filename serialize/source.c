/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - opening and mapping files. */
#include "serialize/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static lks_status_t check_regular(const char *path, int fd, size_t *size)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return lks_fail(LKS_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    }
    if (S_ISDIR(info.st_mode)) {
        return lks_fail(LKS_ERR_IO, "cannot read '%s': it is a directory", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return lks_fail(LKS_ERR_IO, "cannot read '%s': it is not a regular file", path);
    }
    *size = (size_t)info.st_size;
    return LKS_OK;
}

lks_status_t lks_file_open_read(const char *path, int *fd, size_t *size)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) {
        return lks_fail(LKS_ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    }
    lks_status_t status = check_regular(path, opened, size);
    if (status != LKS_OK) {
        (void)close(opened);
        return status;
    }
    *fd = opened;
    return LKS_OK;
}

/* Maps a file; the rest of `out` is left alone. */
static lks_status_t map_file(const char *path, lks_source_t *out)
{
    int fd;
    LKS_TRY(lks_file_open_read(path, &fd, &out->size));
    if (out->size == 0) {
        (void)close(fd);
        return lks_fail(LKS_ERR_FORMAT, "'%s' is empty", path);
    }
    struct stat info = {0};
    (void)fstat(fd, &info);
    void *data = mmap(NULL, out->size, PROT_READ, MAP_PRIVATE, fd, 0);
    int reason = errno;
    (void)close(fd);
    if (data == MAP_FAILED) {
        return lks_fail(LKS_ERR_IO, "cannot map '%s': %s", path, strerror(reason));
    }
    out->data = data;
    out->device = info.st_dev;
    out->inode = info.st_ino;
    return LKS_OK;
}

void lks_source_drop_pages(const lks_source_t *source)
{
    if (source->mapped) {
        /* Nothing is ever written there, so that nothing is lost. */
        (void)madvise((void *)(uintptr_t)source->data, source->size, MADV_DONTNEED);
    }
}

int lks_source_reopen(const lks_source_t *source)
{
    int fd = source->mapped ? open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat info;
    if (fd >= 0 &&
        (fstat(fd, &info) != 0 || info.st_dev != source->device || info.st_ino != source->inode)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

int lks_source_read(int fd, uint64_t offset, void *out, size_t nbytes)
{
    unsigned char *at = out;
    while (nbytes > 0) {
        ssize_t got = pread(fd, at, nbytes, (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : LKS_SOURCE_SHORTER;
        }
        at += got;
        offset += (uint64_t)got;
        nbytes -= (size_t)got;
    }
    return 0;
}

const char *lks_source_reason(int reason)
{
    return reason == LKS_SOURCE_SHORTER ? "it has become shorter" : strerror(reason);
}

/* A source over bytes that the caller sees to. */
static lks_status_t create(const char *name, const void *data, size_t nbytes, lks_source_t **out)
{
    lks_source_t *source = calloc(1, sizeof *source);
    char *copy = strdup(name);
    if (!source || !copy) {
        free(source);
        free(copy);
        return lks_fail(LKS_ERR_NO_MEMORY, "opening '%s': out of memory", name);
    }
    source->data = data;
    source->size = nbytes;
    source->path = copy;
    atomic_init(&source->references, 1);
    *out = source;
    return LKS_OK;
}

lks_status_t lks_source_open(const char *path, lks_source_t **out)
{
    lks_source_t map = {0};
    LKS_TRY(map_file(path, &map));
    lks_status_t status = create(path, map.data, map.size, out);
    if (status != LKS_OK) {
        (void)munmap((void *)(uintptr_t)map.data, map.size);
        return status;
    }
    (*out)->mapped = true;
    (*out)->device = map.device;
    (*out)->inode = map.inode;
    return LKS_OK;
}

lks_status_t lks_source_wrap(const void *data, size_t nbytes, const char *name, lks_source_t **out)
{
    if (nbytes == 0) {
        return lks_fail(LKS_ERR_FORMAT, "'%s' is empty", name);
    }
    return create(name, data, nbytes, out);
}

lks_status_t lks_source_slice(lks_source_t *source, size_t offset, size_t nbytes, const char *name,
                              lks_source_t **out)
{
    LKS_TRY(lks_source_wrap(source->data + offset, nbytes, name, out));
    lks_source_retain(source);
    (*out)->whole = source;
    return LKS_OK;
}

void lks_source_retain(lks_source_t *source)
{
    atomic_fetch_add_explicit(&source->references, 1, memory_order_relaxed);
}

void lks_source_release(lks_source_t *source)
{
    if (!source || atomic_fetch_sub_explicit(&source->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (source->mapped) {
        (void)munmap((void *)(uintptr_t)source->data, source->size);
    }
    lks_source_release(source->whole);
    free(source->path);
    free(source);
}

static void release_source(void *context)
{
    lks_source_release(context);
}

lks_status_t lks_source_storage(lks_source_t *source, size_t offset, size_t nbytes,
                                lks_storage_t **out)
{
    void *data = (void *)(uintptr_t)(source->data + offset);
    LKS_TRY(lks_storage_wrap(lks_device_host(), data, nbytes, release_source, source, out));
    lks_source_retain(source);
    return LKS_OK;
}
