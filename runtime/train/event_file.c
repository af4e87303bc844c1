/* SPDX-License-Identifier: Apache-2.0 */
/* event_file.c - see event_file.h. */
#include "runtime/train/event_file.h"
#include "runtime/train/output_dir.h"
#include "serialize/bytes.h"
#include "serialize/crc32.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PENDING_MAX ((size_t)64 << 10)
#define FLUSH_SECONDS 2.0

struct lks_event_file {
    int fd;
    uint64_t flushed;  /* bytes in the file */
    double flushed_at; /* what was added until then is in it */
    lks_strbuf_t path;
    lks_strbuf_t event;   /* the one in the making */
    lks_strbuf_t pending; /* records behind those in the file */
};

double lks_event_time(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

const char *lks_event_file_path(const lks_event_file_t *file)
{
    return lks_strbuf_text(&file->path);
}

/* --- records ------------------------------------------------------------------------------------ */

static void append_checksum(lks_strbuf_t *out, const void *data, size_t nbytes)
{
    unsigned char bytes[4];
    uint32_t crc = lks_crc32c(0, data, nbytes);
    (void)lks_put_uint(bytes, (crc >> 15 | crc << 17) + 0xa282ead8u, sizeof bytes);
    lks_strbuf_append(out, bytes, sizeof bytes);
}

/* The event in the making becomes a record that waits for the next flush. */
static lks_status_t append_record(lks_event_file_t *file)
{
    unsigned char length[8];
    lks_strbuf_t *out = &file->pending, *event = &file->event;
    size_t before = out->length;
    (void)lks_put_uint(length, event->length, sizeof length);
    lks_strbuf_append(out, length, sizeof length);
    append_checksum(out, length, sizeof length);
    lks_strbuf_append(out, event->data, event->length);
    append_checksum(out, event->data, event->length);
    bool whole = lks_strbuf_ok(out) && lks_strbuf_ok(event);
    lks_strbuf_clear(event);
    if (!whole) {
        lks_strbuf_truncate(out, before);
        return lks_fail(LKS_ERR_NO_MEMORY, "writing '%s': out of memory",
                        lks_event_file_path(file));
    }
    return LKS_OK;
}

/* Writes what is pending behind what is there; false, with errno, where not all of it has room. */
static bool write_pending(const lks_event_file_t *file)
{
    const lks_strbuf_t *pending = &file->pending;
    for (size_t done = 0; done < pending->length;) {
        ssize_t written = pwrite(file->fd, pending->data + done, pending->length - done,
                                 (off_t)(file->flushed + done));
        if (written > 0) {
            done += (size_t)written;
        } else if (written == 0 || errno != EINTR) {
            errno = written == 0 ? ENOSPC : errno;
            return false;
        }
    }
    return true;
}

lks_status_t lks_event_file_flush(lks_event_file_t *file)
{
    if (!write_pending(file)) {
        int reason = errno;
        (void)ftruncate(file->fd, (off_t)file->flushed); /* no half a record */
        return lks_fail(LKS_ERR_IO, "cannot write '%s': %s", lks_event_file_path(file),
                        strerror(reason));
    }
    file->flushed += file->pending.length;
    lks_strbuf_clear(&file->pending);
    return LKS_OK;
}

lks_status_t lks_event_file_add(lks_event_file_t *file, double wall_time, int64_t step,
                                const lks_scalar_t *scalars, size_t count)
{
    lks_event_append_scalars(&file->event, wall_time, step, scalars, count);
    LKS_TRY(append_record(file));
    if (file->pending.length < PENDING_MAX && wall_time < file->flushed_at + FLUSH_SECONDS) {
        return LKS_OK;
    }
    file->flushed_at = wall_time;
    return lks_event_file_flush(file);
}

/* --- opening and closing ------------------------------------------------------------------------ */

static void append_path(lks_strbuf_t *path, const char *dir)
{
    static _Atomic unsigned number;
    char host[256] = "";
    (void)gethostname(host, sizeof host - 1);
    lks_strbuf_appendf(path, "%s/events.out.tfevents.%010lld.%s.%lld.%u", dir,
                       (long long)time(NULL), host, (long long)getpid(),
                       atomic_fetch_add(&number, 1));
}

/* Where a process had the same number in the same second, as containers may, the next name is free. */
static lks_status_t create_file(lks_event_file_t *file, const char *dir)
{
    do {
        lks_strbuf_clear(&file->path);
        append_path(&file->path, dir);
        if (!lks_strbuf_ok(&file->path)) {
            return lks_fail(LKS_ERR_NO_MEMORY, "events in '%s': out of memory", dir);
        }
        file->fd = open(lks_event_file_path(file), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (file->fd < 0 && errno == EEXIST);
    if (file->fd < 0) {
        return lks_fail(LKS_ERR_IO, "cannot create '%s': %s", lks_event_file_path(file),
                        strerror(errno));
    }
    return LKS_OK;
}

/* Readers need the version, and a disk that is full should say so before the first step. */
static lks_status_t write_head(lks_event_file_t *file, int64_t restart)
{
    file->flushed_at = lks_event_time();
    lks_event_append_version(&file->event, file->flushed_at);
    LKS_TRY(append_record(file));
    if (restart > 0) {
        lks_event_append_restart(&file->event, file->flushed_at, restart);
        LKS_TRY(append_record(file));
    }
    lks_status_t status = lks_event_file_flush(file);
    if (status != LKS_OK) {
        (void)unlink(lks_event_file_path(file));
    }
    return status;
}

static void free_file(lks_event_file_t *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    lks_strbuf_fini(&file->path);
    lks_strbuf_fini(&file->event);
    lks_strbuf_fini(&file->pending);
    free(file);
}

lks_status_t lks_event_file_open(const char *dir, int64_t restart, lks_event_file_t **out)
{
    LKS_TRY(lks_output_dir_make(dir));
    lks_event_file_t *file = calloc(1, sizeof *file);
    if (!file) {
        return lks_fail(LKS_ERR_NO_MEMORY, "events in '%s': out of memory", dir);
    }
    file->fd = -1;
    lks_status_t status;
    LKS_GOTO(create_file(file, dir), fail);
    LKS_GOTO(write_head(file, restart), fail);
    *out = file;
    return LKS_OK;
fail:
    free_file(file);
    return status;
}

lks_status_t lks_event_file_close(lks_event_file_t *file)
{
    if (!file) {
        return LKS_OK;
    }
    lks_status_t status = lks_event_file_flush(file);
    if (close(file->fd) != 0 && status == LKS_OK) { /* some file systems say it only now */
        status = lks_fail(LKS_ERR_IO, "cannot write '%s': %s", lks_event_file_path(file),
                          strerror(errno));
    }
    file->fd = -1;
    free_file(file);
    return status;
}
