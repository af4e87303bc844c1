/* SPDX-License-Identifier: Apache-2.0 */
/* device_backend.h - the table a device backend fills. host.c is the example; a CUDA backend lives in a leaf
 * library (leaf.h) and returns the same table. */
#ifndef LOCKSTEP_CORE_DEVICE_BACKEND_H
#define LOCKSTEP_CORE_DEVICE_BACKEND_H

#include "core/topology.h"

#include <lockstep/device.h>
#include <stdint.h>

/** Of the table below; a leaf library built for another one is refused. */
#define LKS_DEVICE_BACKEND_VERSION 2

typedef struct lks_device_backend {
    const char *name; /* "host" */
    /* Number of devices this machine offers. NULL: as many as asked for (the host). */
    lks_status_t (*count)(size_t *out);
    /* The NUMA node that device number `index` is attached to; negative: unknown. NULL: the devices are the
     * cores themselves. */
    int (*node)(size_t index);
    lks_status_t (*alloc)(lks_device_t *device, size_t nbytes, void **out);
    void (*free)(lks_device_t *device, void *data);
    lks_status_t (*copy)(lks_device_t *to, void *dst, lks_device_t *from, const void *src,
                         size_t nbytes, lks_stream_t *stream);
    lks_status_t (*fill)(lks_device_t *device, void *data, int byte, size_t nbytes,
                         lks_stream_t *stream);
    /* The sentence of this thread's last failure, where the backend is in a leaf library and cannot call
     * lks_fail. NULL: the functions above call it. */
    const char *(*error)(void);
} lks_device_backend_t;

struct lks_device {
    const lks_device_backend_t *backend;
    char name[32]; /* "host:1" */
    size_t index;  /* within its backend */
    /* Cores its replica computes on; the machine's own list. For a GPU: those near it. */
    const lks_core_t *cores;
    size_t core_count;
    bool exclusive, bind;
    int node; /* the device itself is attached to; negative: unknown, or the host */
};

extern const lks_device_backend_t lks_host_backend;

#endif
