/* SPDX-License-Identifier: Apache-2.0 */
/* origin.c - see origin.h. */
#include "serialize/origin.h"
#include "serialize/zip_format.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

lks_status_t lks_origin_open(const char *path, lks_origin_t *out)
{
    struct stat info;
    lks_source_t *source = NULL;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        LKS_TRY(lks_source_open(path, &source)); /* which says what is wrong with it */
    }
    *out = (lks_origin_t){.path = path, .source = source, .nbytes = source ? source->size : 0};
    return LKS_OK;
}

void lks_origin_of(lks_source_t *source, lks_origin_t *out)
{
    lks_source_retain(source);
    *out = (lks_origin_t){.path = source->path, .source = source, .nbytes = source->size};
}

void lks_origin_fini(lks_origin_t *origin)
{
    lks_zip_close(&origin->zip.archive);
    lks_source_release(origin->source);
    *origin = (lks_origin_t){0};
}

bool lks_origin_has(const lks_origin_t *origin, size_t offset, const void *bytes, size_t nbytes)
{
    const lks_source_t *source = origin->source;
    return source && source->size >= nbytes && source->size - nbytes >= offset &&
           memcmp(source->data + offset, bytes, nbytes) == 0;
}

bool lks_origin_is_zip(const lks_origin_t *origin)
{
    return lks_origin_has(origin, 0, ZIP_MAGIC, sizeof ZIP_MAGIC - 1) ||
           lks_origin_has(origin, 0, ZIP_EMPTY_MAGIC, sizeof ZIP_EMPTY_MAGIC - 1) ||
           lks_origin_has(origin, 0, ZIP64_EMPTY_MAGIC, sizeof ZIP64_EMPTY_MAGIC - 1);
}

static void read_zip(lks_origin_t *origin)
{
    if (origin->zip.read || !lks_origin_is_zip(origin)) {
        return;
    }
    origin->zip.read = true;
    if (lks_zip_open(origin->source->data, origin->source->size, &origin->zip.archive) != LKS_OK) {
        origin->zip.failed = true;
        origin->zip.error = *lks_last_error();
    }
}

const lks_zip_t *lks_origin_zip(lks_origin_t *origin)
{
    read_zip(origin);
    return origin->zip.read && !origin->zip.failed ? &origin->zip.archive : NULL;
}

lks_status_t lks_origin_take_zip(lks_origin_t *origin, lks_zip_t *out)
{
    read_zip(origin);
    if (origin->zip.failed) {
        return lks_error_raise(&origin->zip.error);
    }
    *out = origin->zip.archive;
    origin->zip.archive = (lks_zip_t){0};
    origin->zip.read = false;
    return LKS_OK;
}

bool lks_origin_has_entry(const lks_origin_t *origin, const char *name)
{
    char path[PATH_MAX];
    struct stat info;
    int length = snprintf(path, sizeof path, "%s/%s", origin->path, name);
    return !origin->source && length > 0 && (size_t)length < sizeof path && stat(path, &info) == 0;
}
