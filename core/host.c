/* SPDX-License-Identifier: Apache-2.0 */
/* host.c - the CPU as a device: memory from malloc, everything done inline. */
#include "core/checked.h"
#include "core/device_backend.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CACHE_LINE ((size_t)64)
#define HUGE_PAGE ((size_t)2 << 20)

/* From here on whole huge pages: touching fresh memory page by page costs four times as much. */
#define HUGE_FROM ((size_t)4 << 20)

static lks_status_t host_alloc(lks_device_t *device, size_t nbytes, void **out)
{
    size_t align = nbytes >= HUGE_FROM ? HUGE_PAGE : CACHE_LINE;
    size_t rounded;
    void *data = NULL;
    if (lks_add_size(nbytes ? nbytes : 1, align - 1, &rounded) && rounded <= PTRDIFF_MAX) {
        rounded &= ~(align - 1);
        data = aligned_alloc(align, rounded);
    }
    if (!data) {
        return lks_fail(LKS_ERR_NO_MEMORY, "%s: out of memory allocating %zu bytes", device->name,
                        nbytes);
    }
    if (align == HUGE_PAGE) {
        (void)madvise(data, rounded, MADV_HUGEPAGE); /* a wish; small pages do as well */
    }
    *out = data;
    return LKS_OK;
}

static void host_free(lks_device_t *device, void *data)
{
    (void)device;
    free(data);
}

static lks_status_t host_copy(lks_device_t *to, void *dst, lks_device_t *from, const void *src,
                              size_t nbytes, lks_stream_t *stream)
{
    (void)to;
    (void)from;
    (void)stream;
    memcpy(dst, src, nbytes);
    return LKS_OK;
}

static lks_status_t host_fill(lks_device_t *device, void *data, int byte, size_t nbytes,
                              lks_stream_t *stream)
{
    (void)device;
    (void)stream;
    memset(data, byte, nbytes);
    return LKS_OK;
}

const lks_device_backend_t lks_host_backend = {
    .name = "host",
    .alloc = host_alloc,
    .free = host_free,
    .copy = host_copy,
    .fill = host_fill,
};
