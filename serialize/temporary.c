/* SPDX-License-Identifier: Apache-2.0 */
/* temporary.c - see temporary.h. */
#include "serialize/temporary.h"
#include "core/strbuf.h"
#include "serialize/hashmap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_BYTES_MAX 200 /* of the target's name, so that NAME_MAX holds */
#define TAG_DIGITS 16
#define EXTENSION ".tmp"

/* --- names -------------------------------------------------------------------------------------- */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *lks_temporary_name(const char *target)
{
    static _Atomic uint64_t counter;
    uint64_t tag = lks_mix64(lks_hash_seed() + atomic_fetch_add(&counter, 1)) ^ (uint64_t)getpid();
    const char *base = file_name(target);
    lks_strbuf_t name = {0};
    lks_strbuf_append(&name, target, (size_t)(base - target));
    lks_strbuf_appendf(&name, ".%.*s.%0*llx" EXTENSION, NAME_BYTES_MAX, base, TAG_DIGITS,
                       (unsigned long long)tag);
    if (!lks_strbuf_ok(&name)) {
        lks_strbuf_fini(&name);
    }
    return name.data;
}

/* True for what lks_temporary_name makes of a target whose last component is `base`. */
static bool is_temporary_of(const char *name, const char *base)
{
    size_t length = strnlen(base, NAME_BYTES_MAX);
    if (name[0] != '.' || strncmp(name + 1, base, length) != 0 || name[1 + length] != '.') {
        return false;
    }
    const char *tag = name + length + 2;
    return strspn(tag, "0123456789abcdef") == TAG_DIGITS &&
           strcmp(tag + TAG_DIGITS, EXTENSION) == 0;
}

/* --- locks -------------------------------------------------------------------------------------- */

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool lks_temporary_lock(const char *path, int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno != EWOULDBLOCK; /* only who sweeps can hold it */
    }
    struct stat named, opened;
    return fstat(fd, &opened) == 0 && lstat(path, &named) == 0 && is_same(&named, &opened);
}

/* --- sweeping ----------------------------------------------------------------------------------- */

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes the files in an open directory, which it closes. */
static void empty_directory(DIR *entries)
{
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (!is_dots(entry->d_name)) {
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
        }
    }
    (void)closedir(entries);
}

void lks_temporary_remove_directory(const char *path)
{
    DIR *entries = opendir(path);
    if (entries) {
        empty_directory(entries);
        (void)rmdir(path);
    }
}

/* Removes the entry `name` of the directory `parent`, open as `fd`, whose lock lasts until the name is gone. */
static void remove_entry(int parent, const char *name, int fd, bool directory)
{
    if (!directory) {
        (void)unlinkat(parent, name, 0);
        return;
    }
    int listed = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = listed >= 0 ? fdopendir(listed) : NULL;
    if (entries) {
        empty_directory(entries);
        (void)unlinkat(parent, name, AT_REMOVEDIR);
    } else if (listed >= 0) {
        (void)close(listed);
    }
}

/* What was opened and locked is what the name still stands for, and a kind of thing that we make. */
static bool is_litter(int parent, const char *name, int fd, bool *directory)
{
    struct stat opened, named;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &opened) != 0 ||
        fstatat(parent, name, &named, AT_SYMLINK_NOFOLLOW) != 0 || !is_same(&opened, &named)) {
        return false;
    }
    *directory = S_ISDIR(opened.st_mode);
    return *directory || S_ISREG(opened.st_mode);
}

static void sweep_entry(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    bool directory = false;
    if (is_litter(parent, name, fd, &directory)) {
        remove_entry(parent, name, fd, directory);
    }
    (void)close(fd);
}

void lks_temporary_sweep(const char *target)
{
    const char *base = file_name(target);
    char *parent = base > target ? strndup(target, (size_t)(base - target)) : strdup(".");
    DIR *entries = parent ? opendir(parent) : NULL;
    free(parent);
    if (!entries) {
        return;
    }
    for (const struct dirent *entry; (entry = readdir(entries));) {
        if (is_temporary_of(entry->d_name, base)) {
            sweep_entry(dirfd(entries), entry->d_name);
        }
    }
    (void)closedir(entries);
}
