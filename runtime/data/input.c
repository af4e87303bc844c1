/* SPDX-License-Identifier: Apache-2.0 */
/* input.c - zlib's gzip reader, its errors translated. */
#include "runtime/data/input.h"
#include "core/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_SIZE (128u << 10)
#define READ_MAX ((size_t)1 << 30) /* gzread counts in int */
#define DEFLATE_RATIO_MAX 1032u    /* zlib's "Technical Details": no bytes expand to more */

/* An upper bound of the bytes in the file, so that nobody has to trust what a header claims. */
static size_t content_limit(int fd, gzFile file)
{
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return SIZE_MAX;
    }
    size_t limit = (size_t)info.st_size;
    if (!gzdirect(file) && !lks_mul_size(limit, DEFLATE_RATIO_MAX, &limit)) {
        return SIZE_MAX;
    }
    return limit;
}

lks_status_t lks_input_open(const char *path, lks_input_t *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return lks_fail(LKS_ERR_IO, "opening '%s': %s", path, strerror(errno));
    }
    gzFile file = gzdopen(fd, "rb");
    if (!file) {
        (void)close(fd);
        return lks_fail(LKS_ERR_NO_MEMORY, "opening '%s': out of memory", path);
    }
    (void)gzbuffer(file, BUFFER_SIZE); /* a failure leaves the default size */
    *out = (lks_input_t){.file = file, .path = path, .limit = content_limit(fd, file)};
    return LKS_OK;
}

void lks_input_close(lks_input_t *input)
{
    if (input->file) {
        (void)gzclose_r(input->file);
        input->file = NULL;
    }
}

/* The error zlib holds for this file, if any. `system` is errno of the read that may have caused it. */
static lks_status_t zlib_status(const lks_input_t *input, int system)
{
    int code;
    const char *text = gzerror(input->file, &code);
    switch (code) {
    case Z_OK:
    case Z_STREAM_END: return LKS_OK;
    case Z_ERRNO: return lks_fail(LKS_ERR_IO, "reading '%s': %s", input->path, strerror(system));
    case Z_MEM_ERROR:
        return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", input->path);
    case Z_BUF_ERROR:
        return lks_fail(LKS_ERR_FORMAT, "reading '%s': the gzip stream is cut off", input->path);
    default:
        if (strstr(text, ": ")) {
            text = strstr(text, ": ") + 2; /* behind zlib's own name for the file */
        }
        return lks_fail(LKS_ERR_CORRUPT, "reading '%s': the gzip stream is damaged (%s)",
                        input->path, text);
    }
}

lks_status_t lks_input_read(lks_input_t *input, void *data, size_t nbytes, size_t *got)
{
    unsigned char *to = data;
    size_t done = 0;
    while (done < nbytes) {
        size_t want = nbytes - done < READ_MAX ? nbytes - done : READ_MAX;
        errno = 0;
        int n = gzread(input->file, to + done, (unsigned)want);
        if (n <= 0) {
            LKS_TRY(zlib_status(input, errno));
            break;
        }
        done += (size_t)n;
    }
    *got = done;
    return LKS_OK;
}
