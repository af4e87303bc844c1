/* SPDX-License-Identifier: Apache-2.0 */
/* open.c - data sets by name: a known name, a folder with the MNIST family's four files, or a CSV file. */
#include "runtime/data/dataset.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DATA_DIR "/usr/share/datasets"

static const struct {
    const char *name;
    const char *advice;
} known[] = {
    {"fashion-mnist", "install it with 'apt install dataset-fashion-mnist'"},
    {"mnist", "put its four files there"},
};

typedef struct idx_names {
    const char *images, *labels;
} idx_names_t;

static const idx_names_t idx_names[] = {
    [LKS_SPLIT_TRAIN] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte"},
    [LKS_SPLIT_TEST] = {"t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
};

/* "<dir>/<name>.gz" if it is there, else without .gz. */
static lks_status_t find_file(const char *dir, const char *name, char path[PATH_MAX])
{
    static const char *const endings[] = {".gz", ""};
    struct stat info;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        int n = snprintf(path, PATH_MAX, "%s/%s%s", dir, name, endings[i]);
        if (n < 0 || n >= PATH_MAX) {
            return lks_fail(LKS_ERR_INVALID_ARG, "the path of '%s' is too long", name);
        }
        if (stat(path, &info) == 0) {
            return LKS_OK;
        }
        if (errno != ENOENT) {
            return lks_fail(LKS_ERR_IO, "opening '%s': %s", path, strerror(errno));
        }
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "'%s' has neither %s.gz nor %s", dir, name, name);
}

static lks_status_t open_folder(const char *dir, lks_split_t split, lks_dataset_t **out)
{
    char images[PATH_MAX], labels[PATH_MAX];
    LKS_TRY(find_file(dir, idx_names[split].images, images));
    LKS_TRY(find_file(dir, idx_names[split].labels, labels));
    return lks_dataset_open_idx(images, labels, out);
}

static lks_status_t open_known(size_t which, lks_split_t split, lks_dataset_t **out)
{
    const char *base = getenv("LOCKSTEP_DATA_DIR");
    char dir[PATH_MAX];
    int n = snprintf(dir, sizeof dir, "%s/%s", base && *base ? base : DATA_DIR, known[which].name);
    if (n < 0 || n >= PATH_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG, "LOCKSTEP_DATA_DIR is too long");
    }
    lks_status_t status = open_folder(dir, split, out);
    if (status == LKS_ERR_NOT_FOUND) {
        return lks_fail(status,
                        "data set '%s': %s; %s, or let LOCKSTEP_DATA_DIR name the folder that "
                        "holds '%s'",
                        known[which].name, lks_last_error()->message, known[which].advice,
                        known[which].name);
    }
    return status;
}

static lks_status_t open_path(const char *path, lks_split_t split, const lks_csv_options_t *options,
                              lks_dataset_t **out)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        if (errno != ENOENT) {
            return lks_fail(LKS_ERR_IO, "opening '%s': %s", path, strerror(errno));
        }
        return lks_fail(LKS_ERR_NOT_FOUND,
                        "no data set '%s': it is no file, no folder, and neither 'fashion-mnist' "
                        "nor 'mnist'",
                        path);
    }
    if (S_ISDIR(info.st_mode)) {
        return open_folder(path, split, out);
    }
    return lks_dataset_open_csv(path, options, out);
}

lks_status_t lks_dataset_open(const char *name, lks_split_t split, const lks_csv_options_t *options,
                              lks_dataset_t **out)
{
    if (split != LKS_SPLIT_TRAIN && split != LKS_SPLIT_TEST) {
        return lks_fail(LKS_ERR_INVALID_ARG, "data set '%s': no split %d", name, (int)split);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) == 0) {
            return open_known(i, split, out);
        }
    }
    return open_path(name, split, options, out);
}
