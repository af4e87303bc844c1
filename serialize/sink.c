/* SPDX-License-Identifier: Apache-2.0 */
/* sink.c - see sink.h. Where the target lies is decided in sink_path.c. */
#include "serialize/sink.h"
#include "core/parallel.h"
#include "serialize/crc32.h"
#include "serialize/sink_path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)128 << 10)
/* Of a file that is copied: it is still in the cache when it is written. */
#define SLICE ((size_t)256 << 10)
#define THREADS_MAX ((size_t)8) /* more of them wait for each other in the file system */

struct lks_sink {
    lks_sink_path_t path;
    int fd;
    uint64_t flushed;  /* bytes in the file */
    uint64_t reserved; /* bytes taken beforehand */
    size_t buffered;   /* bytes in `buffer`, which follow them */
    size_t threads;
    const lks_source_t *source; /* with `source_fd`, -1 for none: what extents may lie in */
    int source_fd;
    atomic_bool failed;
    pthread_mutex_t lock; /* of the error, until `failed` is set */
    lks_error_t error;
    unsigned char buffer[BUFFER_SIZE];
};

/* The first one wins, whichever thread met it. */
static void keep_error(lks_sink_t *sink)
{
    (void)pthread_mutex_lock(&sink->lock);
    if (!sink->failed) {
        sink->error = *lks_last_error();
        sink->failed = true;
    }
    (void)pthread_mutex_unlock(&sink->lock);
}

static void fail_io(lks_sink_t *sink, const char *what, int reason)
{
    (void)lks_fail(LKS_ERR_IO, "cannot %s '%s': %s", what, sink->path.shown, strerror(reason));
    keep_error(sink);
}

lks_status_t lks_sink_create(const char *path, lks_sink_t **out)
{
    return lks_sink_create_shown(path, NULL, out);
}

lks_status_t lks_sink_create_shown(const char *path, const char *shown, lks_sink_t **out)
{
    lks_sink_t *sink = calloc(1, sizeof *sink);
    if (!sink) {
        return lks_fail(LKS_ERR_NO_MEMORY, "cannot write '%s': out of memory", path);
    }
    lks_status_t status = lks_sink_path_open(path, shown, &sink->path, &sink->fd);
    if (status != LKS_OK) {
        free(sink);
        return status;
    }
    (void)pthread_mutex_init(&sink->lock, NULL);
    sink->source_fd = -1;
    *out = sink;
    return LKS_OK;
}

lks_status_t lks_sink_reserve(lks_sink_t *sink, uint64_t nbytes)
{
    if (nbytes == 0 || fallocate(sink->fd, 0, 0, (off_t)nbytes) == 0) {
        sink->reserved = nbytes;
        return LKS_OK;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR) {
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_IO, "cannot write the %llu bytes of '%s': %s",
                    (unsigned long long)nbytes, sink->path.shown, strerror(errno));
}

/* Straight to the file at `offset`, past the buffer. */
static void write_at(lks_sink_t *sink, uint64_t offset, const void *data, size_t nbytes)
{
    const unsigned char *bytes = data;
    while (nbytes > 0 && !sink->failed) {
        ssize_t written = pwrite(sink->fd, bytes, nbytes, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            fail_io(sink, "write", written < 0 ? errno : ENOSPC);
            return;
        }
        bytes += written;
        offset += (uint64_t)written;
        nbytes -= (size_t)written;
    }
}

static void flush(lks_sink_t *sink)
{
    write_at(sink, sink->flushed, sink->buffer, sink->buffered);
    sink->flushed += sink->buffered;
    sink->buffered = 0;
}

void lks_sink_write(lks_sink_t *sink, const void *data, size_t nbytes)
{
    if (nbytes > BUFFER_SIZE - sink->buffered) {
        flush(sink);
    }
    if (nbytes > BUFFER_SIZE) {
        write_at(sink, sink->flushed, data, nbytes);
        sink->flushed += nbytes;
    } else if (nbytes > 0) {
        memcpy(sink->buffer + sink->buffered, data, nbytes);
        sink->buffered += nbytes;
    }
}

/* --- extents ------------------------------------------------------------------------------------ */

void lks_sink_set_threads(lks_sink_t *sink, size_t threads)
{
    sink->threads = threads;
}

size_t lks_sink_threads(const lks_sink_t *sink)
{
    if (sink->threads > 0) {
        return sink->threads;
    }
    size_t cores = lks_allowed_cores();
    return cores < THREADS_MAX ? cores : THREADS_MAX;
}

void lks_sink_set_source(lks_sink_t *sink, const lks_source_t *source)
{
    sink->source = source;
    sink->source_fd = source ? lks_source_reopen(source) : -1;
}

/* Returns the checksum. */
static uint32_t copy_slices(lks_sink_t *sink, uint64_t from, uint64_t to, size_t nbytes,
                            unsigned char *slice)
{
    uint32_t crc = 0;
    for (size_t done = 0, n; done < nbytes && !sink->failed; done += n) {
        n = nbytes - done < SLICE ? nbytes - done : SLICE;
        int reason = lks_source_read(sink->source_fd, from + done, slice, n);
        if (reason != 0) {
            (void)lks_fail(LKS_ERR_IO, "cannot read '%s': %s", sink->source->path,
                           lks_source_reason(reason));
            keep_error(sink);
            break;
        }
        crc = lks_crc32(crc, slice, n);
        write_at(sink, to + done, slice, n);
    }
    return crc;
}

static uint32_t write_block(void *context, const lks_extent_t *extent, size_t at, size_t nbytes)
{
    lks_sink_t *sink = context;
    if (sink->failed) {
        return 0;
    }
    const unsigned char *data = extent->data + at;
    uint64_t to = extent->offset + at;
    bool copied = sink->source_fd >= 0 && lks_source_holds(sink->source, data);
    unsigned char *slice = copied ? malloc(SLICE) : NULL;
    uint32_t crc;
    if (slice) {
        crc = copy_slices(sink, (uint64_t)(data - sink->source->data), to, nbytes, slice);
    } else {
        crc = lks_crc32(0, data, nbytes);
        write_at(sink, to, data, nbytes);
    }
    free(slice);
    return crc;
}

lks_status_t lks_sink_write_extents(lks_sink_t *sink, lks_extent_t *extents, size_t count)
{
    return lks_extents_pass(extents, count, lks_sink_threads(sink), write_block, sink);
}

void lks_sink_skip(lks_sink_t *sink, uint64_t nbytes)
{
    flush(sink);
    sink->flushed += nbytes;
}

bool lks_sink_failed(const lks_sink_t *sink)
{
    return sink->failed;
}

uint64_t lks_sink_position(const lks_sink_t *sink)
{
    return sink->flushed + sink->buffered;
}

/* --- copying a file ----------------------------------------------------------------------------- */

static bool copy_by_kernel(lks_sink_t *sink, int fd, uint64_t nbytes)
{
    off_t from = 0;
    while (sink->flushed < nbytes) {
        off_t to = (off_t)sink->flushed;
        ssize_t copied = copy_file_range(fd, &from, sink->fd, &to, nbytes - sink->flushed, 0);
        if (copied <= 0) {
            return false;
        }
        sink->flushed += (uint64_t)copied;
    }
    return true;
}

bool lks_sink_clone_file(lks_sink_t *sink, int fd, uint64_t nbytes)
{
    if (ioctl(sink->fd, FICLONE, fd) != 0) {
        return false;
    }
    sink->flushed = nbytes;
    return true;
}

int lks_sink_descriptor(const lks_sink_t *sink)
{
    return sink->fd;
}

void lks_sink_copy_file(lks_sink_t *sink, int fd, uint64_t nbytes)
{
    if (lks_sink_clone_file(sink, fd, nbytes)) {
        return;
    }
    if (lks_sink_reserve(sink, nbytes) != LKS_OK) {
        keep_error(sink);
        return;
    }
    if (copy_by_kernel(sink, fd, nbytes)) {
        return;
    }
    while (sink->flushed < nbytes && !sink->failed) {
        ssize_t got = pread(fd, sink->buffer, BUFFER_SIZE, (off_t)sink->flushed);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            fail_io(sink, "copy to", got < 0 ? errno : EIO);
            return;
        }
        sink->buffered = (size_t)got;
        flush(sink);
    }
}

/* --- the end ------------------------------------------------------------------------------------ */

/* Some file systems tell of a failed write when a descriptor is closed. Ours stays open: its lock must outlast the
 * rename. */
static bool close_a_copy(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 || close(copy) == 0;
}

static void finish_file(lks_sink_t *sink, bool sync)
{
    flush(sink);
    if (!sink->failed && sink->reserved > sink->flushed &&
        ftruncate(sink->fd, (off_t)sink->flushed) != 0) {
        fail_io(sink, "write", errno);
    }
    if (!sink->failed && sync && fsync(sink->fd) != 0) {
        fail_io(sink, "write", errno);
    }
    if (!sink->failed && !close_a_copy(sink->fd)) {
        fail_io(sink, "write", errno);
    }
}

static void sink_free(lks_sink_t *sink)
{
    if (sink->source_fd >= 0) {
        (void)close(sink->source_fd);
    }
    (void)close(sink->fd);
    lks_sink_path_fini(&sink->path);
    (void)pthread_mutex_destroy(&sink->lock);
    free(sink);
}

lks_status_t lks_sink_commit(lks_sink_t *sink, bool sync)
{
    finish_file(sink, sync);
    if (!sink->failed) {
        lks_status_t status = lks_sink_path_replace(&sink->path, sync);
        sink_free(sink);
        return status;
    }
    lks_status_t status = lks_error_raise(&sink->error);
    lks_sink_discard(sink);
    return status;
}

void lks_sink_discard(lks_sink_t *sink)
{
    if (!sink) {
        return;
    }
    lks_sink_path_remove(&sink->path);
    sink_free(sink);
}
