/* SPDX-License-Identifier: Apache-2.0 */
/* sink_path.c - see sink_path.h. */
#include "serialize/sink_path.h"
#include "core/strbuf.h"
#include "serialize/temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */

static lks_status_t no_memory(const char *path)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "cannot write '%s': out of memory", path);
}

/* Bytes of `path` up to and including its last slash. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* What the link at `path` points to, as a path that works from here; NULL when memory ran out. */
static char *link_target(const char *path, const char *link)
{
    lks_strbuf_t target = {0};
    if (link[0] != '/') {
        lks_strbuf_append(&target, path, directory_length(path));
    }
    lks_strbuf_append_str(&target, link);
    if (!lks_strbuf_ok(&target)) {
        lks_strbuf_fini(&target);
    }
    return target.data;
}

/* Follows symbolic links, the last of which may point to nothing yet. realpath would want the target to
 * exist. */
lks_status_t lks_sink_path_resolve(const char *path, char **out)
{
    char *current = strdup(path);
    for (int links = 0; current; links++) {
        char link[PATH_MAX];
        ssize_t length = readlink(current, link, sizeof link - 1);
        if (length < 0) {
            *out = current; /* not a link, or nothing there: the open that follows will say */
            return LKS_OK;
        }
        if (links == LINKS_MAX) {
            free(current);
            return lks_fail(LKS_ERR_IO, "cannot write '%s': %s", path, strerror(ELOOP));
        }
        link[length] = '\0';
        char *next = link_target(current, link);
        free(current);
        current = next;
    }
    return no_memory(path);
}

/* `*exists` and `*info` of the file to be replaced. */
static lks_status_t inspect_target(const char *target, bool *exists, struct stat *info)
{
    *exists = stat(target, info) == 0;
    if (!*exists && errno != ENOENT) {
        return lks_fail(LKS_ERR_IO, "cannot write '%s': %s", target, strerror(errno));
    }
    size_t length = strlen(target);
    if (length == 0 || target[length - 1] == '/' || (*exists && S_ISDIR(info->st_mode))) {
        return lks_fail(LKS_ERR_IO, "cannot write '%s': it is a directory", target);
    }
    if (*exists && !S_ISREG(info->st_mode)) {
        return lks_fail(LKS_ERR_IO, "cannot write '%s': it is not a regular file", target);
    }
    return LKS_OK;
}

/* One attempt; `*fd` is -1 if another name is to be tried. */
static lks_status_t try_temporary(lks_sink_path_t *path, mode_t mode, int *fd)
{
    *fd = -1;
    char *name = lks_temporary_name(path->target);
    if (!name) {
        return no_memory(path->shown);
    }
    int made = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    int reason = made < 0 ? errno : 0;
    if (made >= 0 && lks_temporary_lock(name, made)) {
        path->temporary = name;
        *fd = made;
        return LKS_OK;
    }
    free(name);
    if (made >= 0) {
        (void)close(made);
    } else if (reason != EEXIST) {
        return lks_fail(LKS_ERR_IO, "cannot write '%s': %s", path->shown, strerror(reason));
    }
    return LKS_OK;
}

static lks_status_t create_temporary(lks_sink_path_t *path, mode_t mode, int *fd)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        LKS_TRY(try_temporary(path, mode, fd));
        if (*fd >= 0) {
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_IO, "cannot write '%s': no free name for a temporary file",
                    path->shown);
}

/* Owner first: changing it clears bits of the mode. Whoever may not change it keeps the file as his own. */
static void keep_owner_and_mode(int fd, const struct stat *info)
{
    if (fchown(fd, info->st_uid, info->st_gid) != 0) {
        (void)!fchown(fd, (uid_t)-1, info->st_gid);
    }
    (void)fchmod(fd, info->st_mode & 07777);
}

lks_status_t lks_sink_path_open(const char *path, const char *shown, lks_sink_path_t *out, int *fd)
{
    lks_sink_path_t made = {0};
    LKS_TRY(lks_sink_path_resolve(path, &made.target));
    struct stat info;
    bool exists;
    lks_status_t status;
    made.shown = strdup(shown ? shown : made.target);
    if (!made.shown) {
        status = no_memory(path);
        goto free_path;
    }
    LKS_GOTO(inspect_target(made.target, &exists, &info), free_path);
    lks_temporary_sweep(made.target);
    /* A replacement is private until it has the old file's mode: that one may be secret. */
    LKS_GOTO(create_temporary(&made, exists ? 0600 : 0666, fd), free_path);
    if (exists) {
        keep_owner_and_mode(*fd, &info);
    }
    *out = made;
    return LKS_OK;

free_path:
    lks_sink_path_fini(&made);
    return status;
}

lks_status_t lks_sink_path_sync_directory(const char *target, const char *shown)
{
    size_t length = directory_length(target);
    char *directory = length > 0 ? strndup(target, length) : strdup(".");
    if (!directory) {
        return no_memory(shown);
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    /* A directory that may be written but not read cannot be synced, nor can those of some file systems:
     * the rename has happened, and that is all they offer. */
    int reason = fd >= 0 && fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (reason != 0) {
        return lks_fail(LKS_ERR_IO, "cannot sync the directory of '%s': %s", shown,
                        strerror(reason));
    }
    return LKS_OK;
}

lks_status_t lks_sink_path_replace(const lks_sink_path_t *path, bool sync)
{
    if (rename(path->temporary, path->target) != 0) {
        int reason = errno;
        lks_sink_path_remove(path);
        return lks_fail(LKS_ERR_IO, "cannot replace '%s': %s", path->shown, strerror(reason));
    }
    return sync ? lks_sink_path_sync_directory(path->target, path->shown) : LKS_OK;
}

void lks_sink_path_remove(const lks_sink_path_t *path)
{
    (void)unlink(path->temporary);
}

void lks_sink_path_fini(lks_sink_path_t *path)
{
    free(path->target);
    free(path->shown);
    free(path->temporary);
    *path = (lks_sink_path_t){0};
}
