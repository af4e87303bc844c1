/* SPDX-License-Identifier: Apache-2.0 */
/* output_dir.c - see output_dir.h. */
#include "runtime/train/output_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

lks_status_t lks_output_dir_make(const char *dir)
{
    if (strlen(dir) > 4000) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the name of the folder to save in is too long");
    }
    struct stat info;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return lks_fail(LKS_ERR_IO, "cannot create the folder '%s': %s", dir, strerror(errno));
    }
    if (stat(dir, &info) != 0) {
        return lks_fail(LKS_ERR_IO, "cannot save in '%s': %s", dir, strerror(errno));
    }
    if (!S_ISDIR(info.st_mode)) {
        return lks_fail(LKS_ERR_IO, "cannot save in '%s': it is not a folder", dir);
    }
    if (access(dir, W_OK | X_OK) != 0) {
        return lks_fail(LKS_ERR_IO, "cannot save in '%s': %s", dir, strerror(errno));
    }
    return LKS_OK;
}
