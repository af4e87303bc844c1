/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - see folder.h. */
#include "serialize/folder.h"
#include "core/strbuf.h"
#include "serialize/sink_path.h"
#include "serialize/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct lks_folder {
    char *target, *temporary; /* after symbolic links; beside it */
    int lock;                 /* the temporary one, open; -1: none */
    bool exists;              /* the target */
    bool (*is_part)(const char *name);
};

static lks_status_t fail_io(const char *target, int reason)
{
    return lks_fail(LKS_ERR_IO, "cannot write the directory '%s': %s", target, strerror(reason));
}

static lks_status_t no_memory(const char *target)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "cannot write the directory '%s': out of memory", target);
}

/* --- entries ------------------------------------------------------------------------------------ */

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Whether an entry of an open directory may go with a replaced checkpoint. */
static bool may_go(const lks_folder_t *folder, int directory, const char *name)
{
    struct stat info;
    return folder->is_part(name) && fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(info.st_mode);
}

static lks_status_t check_entries(const lks_folder_t *folder)
{
    DIR *entries = opendir(folder->target);
    if (!entries) {
        return fail_io(folder->target, errno);
    }
    lks_status_t status = LKS_OK;
    for (const struct dirent *entry; status == LKS_OK && (entry = readdir(entries));) {
        if (!is_dots(entry->d_name) && !may_go(folder, dirfd(entries), entry->d_name)) {
            status = lks_fail(LKS_ERR_IO,
                              "cannot replace the directory '%s': it holds '%s', which is no part "
                              "of such a checkpoint",
                              folder->target, entry->d_name);
        }
    }
    (void)closedir(entries);
    return status;
}

/* --- life --------------------------------------------------------------------------------------- */

static void folder_free(lks_folder_t *folder)
{
    if (folder->lock >= 0) {
        (void)close(folder->lock);
    }
    free(folder->target);
    free(folder->temporary);
    free(folder);
}

/* The target without slashes at its end, and without symbolic links. */
static lks_status_t find_target(const char *path, char **out)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    char *trimmed = strndup(path, length);
    if (!trimmed) {
        return no_memory(path);
    }
    lks_status_t status = lks_sink_path_resolve(trimmed, out);
    free(trimmed);
    return status;
}

static lks_status_t check_target(lks_folder_t *folder, mode_t *mode)
{
    struct stat info;
    folder->exists = stat(folder->target, &info) == 0;
    *mode = folder->exists ? info.st_mode & 07777 : 0777;
    if (!folder->exists) {
        return errno == ENOENT ? LKS_OK : fail_io(folder->target, errno);
    }
    return S_ISDIR(info.st_mode) ? check_entries(folder) : fail_io(folder->target, ENOTDIR);
}

/* The directory may be taken for litter before its lock is there; then the lock fails and the next name is tried. */
static lks_status_t create_temporary(lks_folder_t *folder, mode_t mode)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        free(folder->temporary);
        folder->temporary = lks_temporary_name(folder->target);
        if (!folder->temporary) {
            return no_memory(folder->target);
        }
        if (mkdir(folder->temporary, mode) != 0) {
            return fail_io(folder->target, errno);
        }
        folder->lock = open(folder->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder->lock < 0 || lks_temporary_lock(folder->temporary, folder->lock)) {
            return LKS_OK; /* a directory of that mode cannot be opened by others either */
        }
        (void)close(folder->lock);
        folder->lock = -1;
    }
    return fail_io(folder->target, EEXIST);
}

lks_status_t lks_folder_create(const char *path, bool (*is_part)(const char *name),
                               lks_folder_t **out)
{
    lks_folder_t *folder = calloc(1, sizeof *folder);
    if (!folder) {
        return no_memory(path);
    }
    folder->is_part = is_part;
    folder->lock = -1;
    lks_status_t status;
    mode_t mode = 0;
    LKS_GOTO(find_target(path, &folder->target), free_folder);
    LKS_GOTO(check_target(folder, &mode), free_folder);
    if (folder
            ->exists) { /* else one of them may be all that is left of it: see exchange_in_steps */
        lks_temporary_sweep(folder->target);
    }
    LKS_GOTO(create_temporary(folder, mode), free_folder);
    *out = folder;
    return LKS_OK;

free_folder:
    folder_free(folder);
    return status;
}

lks_status_t lks_folder_file(lks_folder_t *folder, const char *name, lks_sink_t **out)
{
    lks_strbuf_t path = {0}, shown = {0};
    lks_strbuf_appendf(&path, "%s/%s", folder->temporary, name);
    lks_strbuf_appendf(&shown, "%s/%s", folder->target, name);
    lks_status_t status =
        lks_strbuf_ok(&path) && lks_strbuf_ok(&shown)
            ? lks_sink_create_shown(lks_strbuf_text(&path), lks_strbuf_text(&shown), out)
            : no_memory(folder->target);
    lks_strbuf_fini(&path);
    lks_strbuf_fini(&shown);
    return status;
}

/* --- the end ------------------------------------------------------------------------------------ */

/* For file systems that cannot exchange: between the two renames there is no directory at all, but both lie
 * beside, whole. The old one ends up under the temporary name. */
static int exchange_in_steps(const lks_folder_t *folder)
{
    char *aside = lks_temporary_name(folder->target);
    if (!aside) {
        return ENOMEM;
    }
    int reason = 0;
    if (rename(folder->target, aside) != 0) {
        reason = errno;
    } else if (rename(folder->temporary, folder->target) != 0) {
        reason = errno;
        (void)rename(aside, folder->target);
    } else {
        (void)rename(aside, folder->temporary);
    }
    free(aside);
    return reason;
}

/* 0, or the reason. Afterwards the temporary name is the old directory's, if there was one. */
static int put_in_place(const lks_folder_t *folder)
{
    if (!folder->exists) {
        return rename(folder->temporary, folder->target) == 0 ? 0 : errno;
    }
    if (renameat2(AT_FDCWD, folder->temporary, AT_FDCWD, folder->target, RENAME_EXCHANGE) == 0) {
        return 0;
    }
    return errno == EINVAL || errno == ENOSYS ? exchange_in_steps(folder) : errno;
}

lks_status_t lks_folder_commit(lks_folder_t *folder, bool sync)
{
    int reason = put_in_place(folder);
    lks_status_t status = reason ? fail_io(folder->target, reason) : LKS_OK;
    if (status == LKS_OK && sync) {
        status = lks_sink_path_sync_directory(folder->target, folder->target);
    }
    if (reason || folder->exists) {
        lks_temporary_remove_directory(folder->temporary);
    }
    if (!reason) {
        lks_temporary_sweep(folder->target);
    }
    folder_free(folder);
    return status;
}

void lks_folder_discard(lks_folder_t *folder)
{
    if (folder) {
        lks_temporary_remove_directory(folder->temporary);
        folder_free(folder);
    }
}
