/* SPDX-License-Identifier: Apache-2.0 */
/* zip_update.c - see zip_update.h: first everything is worked out in memory, then written. */
#include "serialize/zip_update.h"
#include "serialize/bytes.h"
#include "serialize/crc32.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512
#define HEADER_MAX                                                                                 \
    1024 /* of the local headers that torch and lockstep write: a short name, and padding */

/* What is written behind the old archive. */
typedef struct tail {
    uint64_t start;                /* offset of the records */
    lks_strbuf_t bytes;            /* records and directory */
    lks_zip_directory_t directory; /* the new one; it ends where the end records begin */
} tail_t;

static uint64_t end_of(const tail_t *tail)
{
    return tail->start + tail->bytes.length;
}

/* --- in memory ---------------------------------------------------------------------------------- */

/* A record of the old directory as it stands there: names lie behind the fixed part of their entry. */
static const char *central_of(const lks_zip_t *zip, size_t index)
{
    return index < zip->count ? zip->entries[index].name - ZIP_CENTRAL_SIZE
                              : (const char *)zip->data + zip->directory + zip->directory_size;
}

static void put_records(const lks_zip_update_t *update, tail_t *tail)
{
    for (size_t i = 0; i < update->addition_count; i++) {
        lks_zip_record_t *record = &update->additions[i].record;
        record->header = end_of(tail);
        record->crc = lks_crc32(0, update->additions[i].data, (size_t)record->size);
        lks_zip_put_local(&tail->bytes, record);
        lks_strbuf_append(&tail->bytes, update->additions[i].data, (size_t)record->size);
    }
}

/* In the map each look would be a page fault: that was a quarter of the time of an update of 932 records. */
static lks_status_t check_header(const lks_zip_t *zip, const lks_zip_entry_t *entry, int fd,
                                 const char *path)
{
    unsigned char head[HEADER_MAX];
    size_t nbytes = (size_t)(entry->data - entry->header);
    if (nbytes > sizeof head) {
        return lks_zip_check(zip, entry);
    }
    ssize_t got;
    do {
        got = pread(fd, head, nbytes, (off_t)entry->header);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return lks_fail(LKS_ERR_IO, "cannot read record '%.*s' of '%s': %s", LKS_ZIP_NAME(entry),
                        path, strerror(errno));
    }
    return lks_zip_check_copy(zip, entry, head, (size_t)got);
}

/* The old directory told where most payloads lie without a look at the headers before them. Readers of the new one may
 * have to look. */
static lks_status_t check_kept(const lks_zip_update_t *update, int fd, const char *path)
{
    const lks_zip_t *zip = update->zip;
    for (size_t i = 0; i < zip->count; i++) {
        if (!update->drop[i]) {
            LKS_TRY(check_header(zip, &zip->entries[i], fd, path));
        }
    }
    return LKS_OK;
}

/* New records come last: offsets ascend, and readers that predict where payloads lie may go on doing so. */
static void put_directory(const lks_zip_update_t *update, tail_t *tail)
{
    const lks_zip_t *zip = update->zip;
    tail->directory = (lks_zip_directory_t){.offset = end_of(tail)};
    for (size_t i = 0; i < zip->count; i++) {
        if (!update->drop[i]) {
            const char *central = central_of(zip, i);
            lks_strbuf_append(&tail->bytes, central, (size_t)(central_of(zip, i + 1) - central));
            tail->directory.count++;
        }
    }
    for (size_t i = 0; i < update->addition_count; i++) {
        lks_zip_put_central(&tail->bytes, &update->additions[i].record);
        tail->directory.count++;
    }
    tail->directory.size = end_of(tail) - tail->directory.offset;
}

static uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

/* Puts the tail where its end lies within a sector. Moving it changes its length only where an offset outgrows four
 * bytes, so this is done once or twice. */
static lks_status_t compose(const lks_zip_update_t *update, tail_t *tail)
{
    tail->start = round_up(update->zip->size, ZIP_ALIGNMENT);
    for (uint64_t over = SECTOR; over > 0;) {
        lks_strbuf_clear(&tail->bytes);
        put_records(update, tail);
        put_directory(update, tail);
        if (!lks_strbuf_ok(&tail->bytes)) {
            return lks_fail(LKS_ERR_NO_MEMORY, "zip archive: out of memory");
        }
        uint64_t at = end_of(tail) % SECTOR;
        over = at + LKS_ZIP_END_SIZE > SECTOR ? round_up(SECTOR - at, ZIP_ALIGNMENT) : 0;
        tail->start += over;
    }
    return LKS_OK;
}

/* --- on the disk -------------------------------------------------------------------------------- */

/* 0 or the reason, as all of these. */
static int write_at(int fd, uint64_t offset, const void *data, size_t nbytes)
{
    const unsigned char *bytes = data;
    while (nbytes > 0) {
        ssize_t written = pwrite(fd, bytes, nbytes, (off_t)offset);
        if (written < 0 && errno != EINTR) {
            return errno;
        }
        if (written == 0) {
            return ENOSPC;
        }
        if (written > 0) {
            bytes += written;
            offset += (uint64_t)written;
            nbytes -= (size_t)written;
        }
    }
    return 0;
}

/* Space is taken beforehand, so that a full disk is met with nothing done. Not all file systems can. */
static int reserve(int fd, uint64_t from, uint64_t to)
{
    while (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) != 0) {
        if (errno != EINTR) {
            return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
        }
    }
    return 0;
}

static int write_end(int fd, uint64_t at, const lks_zip_directory_t *directory)
{
    unsigned char end[LKS_ZIP_END_SIZE];
    lks_zip_put_end(end, directory, at);
    return write_at(fd, at, end, sizeof end);
}

static int settle(int fd, bool sync)
{
    return sync && fdatasync(fd) != 0 ? errno : 0;
}

static int write_tail(const lks_zip_t *zip, const tail_t *tail, int fd, bool sync)
{
    const lks_zip_directory_t old = {
        .offset = zip->directory, .size = zip->directory_size, .count = zip->count};
    const uint64_t at = end_of(tail);
    int reason = reserve(fd, zip->size, at + LKS_ZIP_END_SIZE);
    reason = reason ? reason : write_end(fd, at, &old);
    reason = reason ? reason : settle(fd, sync);
    reason = reason ? reason : write_at(fd, tail->start, tail->bytes.data, tail->bytes.length);
    reason = reason ? reason : settle(fd, sync);
    reason = reason ? reason : write_end(fd, at, &tail->directory);
    return reason ? reason : settle(fd, sync);
}

lks_status_t lks_zip_update_file(const lks_zip_update_t *update, int fd, const char *path,
                                 bool sync)
{
    tail_t tail = {0};
    LKS_TRY(check_kept(update, fd, path));
    lks_status_t status = compose(update, &tail);
    int reason = status == LKS_OK ? write_tail(update->zip, &tail, fd, sync) : 0;
    lks_strbuf_fini(&tail.bytes);
    if (reason == 0) {
        return status;
    }
    if (ftruncate(fd, (off_t)update->zip->size) == 0) {
        (void)settle(fd, sync);
    }
    return lks_fail(LKS_ERR_IO, "cannot change '%s': %s", path, strerror(reason));
}
