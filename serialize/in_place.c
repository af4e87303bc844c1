/* SPDX-License-Identifier: Apache-2.0 */
/* in_place.c - see in_place.h. The file is locked while it changes, and must still be the one that was opened: what is
 * in the map says what will be written. */
#include "serialize/in_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAIL_MAX ((size_t)64 << 10)

static lks_status_t check_request(const lks_opened_t *opened, const lks_tree_t *tree)
{
    if (!opened->format->update || !opened->source || !opened->source->mapped) {
        return lks_fail(
            LKS_ERR_UNSUPPORTED,
            "cannot change '%s' in place: only a torch_zip file can be, and this is %s; "
            "write a new one (lockstep convert IN OUT)",
            opened->path, opened->format->update ? "not a file of its own" : opened->format->name);
    }
    if (lks_tree_status(tree) != LKS_OK) {
        return lks_fail(LKS_ERR_INVALID_ARG, "changing '%s': building its values failed: %s",
                        opened->path, lks_last_error()->message);
    }
    if (!lks_tree_root(tree)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "changing '%s': the tree has no root", opened->path);
    }
    return LKS_OK;
}

/* The end of an archive holds the checksums of all that comes before it: as long as it is equal, so is the rest. */
static bool is_unchanged(const lks_source_t *source, int fd, const struct stat *info)
{
    unsigned char tail[TAIL_MAX];
    if ((uint64_t)info->st_size != source->size) {
        return false; /* and what lies behind a shorter end must not be looked at */
    }
    size_t nbytes = source->size < sizeof tail ? source->size : sizeof tail;
    size_t from = source->size - nbytes;
    ssize_t got = pread(fd, tail, nbytes, (off_t)from);
    return got >= 0 && (size_t)got == nbytes && memcmp(tail, source->data + from, nbytes) == 0;
}

static lks_status_t check_file(const lks_opened_t *opened, int fd, bool linked)
{
    struct stat info;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': another process is changing it",
                        opened->path);
    }
    if (fstat(fd, &info) != 0) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': %s", opened->path, strerror(errno));
    }
    if (!is_unchanged(opened->source, fd, &info)) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': it is no longer the file that was opened",
                        opened->path);
    }
    if (info.st_nlink > 1 && !linked) {
        return lks_fail(LKS_ERR_IO,
                        "cannot change '%s' in place: %llu hard links lead to it, and all of "
                        "them would change",
                        opened->path, (unsigned long long)info.st_nlink);
    }
    return LKS_OK;
}

/* The origin names the file itself. */
static lks_status_t update_status(lks_status_t status, const char *path)
{
    return status == LKS_OK || status == LKS_ERR_IO
               ? status
               : lks_error_prefix(status, "changing '%s'", path);
}

lks_status_t lks_in_place_update(const lks_opened_t *opened, const lks_tree_t *tree,
                                 const lks_update_options_t *options)
{
    LKS_TRY(check_request(opened, tree));
    int fd = open(opened->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return lks_fail(LKS_ERR_IO, "cannot change '%s': %s", opened->path, strerror(errno));
    }
    lks_status_t status;
    LKS_GOTO(check_file(opened, fd, options->linked), close_file);
    status =
        update_status(opened->format->update(opened->state, tree, fd, options->sync), opened->path);

close_file:
    (void)close(fd);
    return status;
}
