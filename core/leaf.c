/* SPDX-License-Identifier: Apache-2.0 */
/* leaf.c - finds and opens leaf libraries.
 * A file that is there is the one meant: if the loader refuses it, its reason is the answer, and no other
 * folder is tried. The loader counts references and locks by itself, so nothing is kept here. */
#include "core/leaf.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef const void *(*leaf_fn_t)(int version);

/* "<folder>/<file>", the first `length` bytes of `folder`; true if there is such a file. */
static bool file_in(const char *folder, size_t length, const char *file, char path[PATH_MAX])
{
    int n = snprintf(path, PATH_MAX, "%.*s/%s", (int)length, folder, file);
    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

/* The file that this code is in: liblockstep, or the program it is linked into. */
static bool own_file(char path[PATH_MAX])
{
    static const char here;
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) || !map) {
        return false;
    }
    if (map->l_name[0]) {
        return snprintf(path, PATH_MAX, "%s", map->l_name) < PATH_MAX;
    }
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1); /* a program has no name here */
    if (n < 0) {
        return false;
    }
    path[n] = '\0';
    return true;
}

/* Where `file` is, or its plain name, which leaves it to the loader's search path. */
static void find(const char *file, char path[PATH_MAX])
{
    const char *folder = secure_getenv("LOCKSTEP_LIBDIR");
    if (folder && *folder && file_in(folder, strlen(folder), file, path)) {
        return;
    }
    char own[PATH_MAX];
    const char *slash = own_file(own) ? strrchr(own, '/') : NULL;
    if (slash && file_in(own, (size_t)(slash - own), file, path)) {
        return;
    }
    (void)snprintf(path, PATH_MAX, "%s", file);
}

/* The loader's reason, without the name that our sentence starts with. */
static const char *loader_reason(const char *path)
{
    const char *reason = dlerror();
    size_t length = strlen(path);
    if (!reason) {
        return "unknown reason";
    }
    return strncmp(reason, path, length) == 0 && strncmp(reason + length, ": ", 2) == 0
               ? reason + length + 2
               : reason;
}

lks_status_t lks_leaf_open(const char *name, int version, const void **table)
{
    char file[NAME_MAX], symbol[NAME_MAX], path[PATH_MAX];
    (void)snprintf(file, sizeof file, "liblockstep_%s.so", name);
    (void)snprintf(symbol, sizeof symbol, "lks_leaf_%s", name);
    find(file, path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "%s: %s", path, loader_reason(path));
    }
    leaf_fn_t leaf;
    *(void **)&leaf = dlsym(library, symbol); /* POSIX's way around ISO C's ban on the cast */
    const void *found = leaf ? leaf(version) : NULL;
    if (!found) {
        (void)dlclose(library);
        return leaf ? lks_fail(LKS_ERR_UNSUPPORTED, "%s has no table of version %d", path, version)
                    : lks_fail(LKS_ERR_UNSUPPORTED, "%s has no function %s", path, symbol);
    }
    *table = found;
    return LKS_OK;
}
