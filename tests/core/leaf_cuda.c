/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_cuda.c - a make-believe CUDA backend: FAKE_CUDA_DEVICES devices (default 3) whose memory comes from
 * malloc, with the device's number written in front of every block. "none" devices stand for a driver that
 * fails. FAKE_CUDA_NODES has one digit for each, the NUMA node it is attached to; unknown where it has none. */
#include "core/device_backend.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER = 64, MEMORY = 1 << 20 };

static _Thread_local const char *last_error = "";

static lks_status_t fail(lks_status_t status, const char *message)
{
    last_error = message;
    return status;
}

static const char *get_error(void)
{
    return last_error;
}

static lks_status_t count_devices(size_t *out)
{
    const char *number = getenv("FAKE_CUDA_DEVICES");
    if (number && strcmp(number, "none") == 0) {
        return fail(LKS_ERR_DEVICE, "the driver is too old");
    }
    *out = number ? strtoul(number, NULL, 10) : 3;
    return LKS_OK;
}

static int get_node(size_t index)
{
    const char *nodes = getenv("FAKE_CUDA_NODES");
    bool known = nodes && index < strlen(nodes) && nodes[index] >= '0' && nodes[index] <= '9';
    return known ? nodes[index] - '0' : -1;
}

static lks_status_t allocate(lks_device_t *device, size_t nbytes, void **out)
{
    unsigned char *block = nbytes <= MEMORY ? malloc(HEADER + nbytes) : NULL;
    if (!block) {
        return fail(LKS_ERR_NO_MEMORY, "the card is full");
    }
    memset(block, (int)device->index, HEADER);
    *out = block + HEADER;
    return LKS_OK;
}

static void give_back(lks_device_t *device, void *data)
{
    (void)device;
    free((unsigned char *)data - HEADER);
}

static lks_status_t copy(lks_device_t *to, void *dst, lks_device_t *from, const void *src,
                         size_t nbytes, lks_stream_t *stream)
{
    (void)to;
    (void)from;
    (void)stream;
    memcpy(dst, src, nbytes);
    return LKS_OK;
}

static lks_status_t fill(lks_device_t *device, void *data, int byte, size_t nbytes,
                         lks_stream_t *stream)
{
    (void)device;
    (void)stream;
    memset(data, byte, nbytes);
    return LKS_OK;
}

LKS_API const void *lks_leaf_cuda(int version);

const void *lks_leaf_cuda(int version)
{
    static const lks_device_backend_t table = {
        .name = "cuda",
        .count = count_devices,
        .node = get_node,
        .alloc = allocate,
        .free = give_back,
        .copy = copy,
        .fill = fill,
        .error = get_error,
    };
    return version == LKS_DEVICE_BACKEND_VERSION ? &table : NULL;
}
