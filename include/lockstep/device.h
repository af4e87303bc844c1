/* SPDX-License-Identifier: Apache-2.0 */
/* device.h - where tensors live and replicas compute.
 * A device list is opened from a specification, in rank order:
 *     auto        the visible GPUs; without one, one host device with all cores
 *     host        one host device        host:N   N host devices, which divide the cores (N up to 4096)
 *     cuda        every visible GPU      cuda:0,2 those two (indices after CUDA_VISIBLE_DEVICES)
 * Host devices keep to one NUMA node each, or to one package, where none of them gets fewer cores for it.
 * A GPU's replica computes on cores of the node that the GPU is attached to, which the GPUs of the node divide.
 * "host" is the CPU. Opening the first list loads the machine's topology (topology.h); but for
 * lks_topology_machine nothing else in the library does.
 * Threads: a list and its devices are immutable after opening and may be shared; memory calls may come
 * from any thread. */
#ifndef LOCKSTEP_DEVICE_H
#define LOCKSTEP_DEVICE_H

#include <lockstep/topology.h>

LKS_BEGIN_DECLS

typedef struct lks_device lks_device_t;
typedef struct lks_device_list lks_device_list_t;

/** An ordered queue of work on a device. NULL is the device's default: on the host it runs inline, so
 *  every call has finished when it returns. */
typedef struct lks_stream lks_stream_t;

typedef struct lks_device_config {
    bool bind; /**< bind replica threads to their device's cores; true by default */
    /** Processes of one job on this machine that divide its cores, and which of them this one is, from 0; 0 or 1: alone. */
    int processes, process;
} lks_device_config_t;

LKS_API lks_device_config_t lks_device_config_default(void);

/** The plain host device for memory that no replica owns (files, data sets). Never NULL, never closed,
 *  and loads no topology. */
LKS_API lks_device_t *lks_device_host(void);

/** Opens the devices of `spec`. `config` may be NULL.
 *  Errors: INVALID_ARG (malformed spec, no devices), DEVICE (not on this machine or in this build),
 *  NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_device_list_open(const char *spec,
                                                        const lks_device_config_t *config,
                                                        lks_device_list_t **out);
LKS_API void lks_device_list_close(lks_device_list_t *list);
LKS_API size_t lks_device_list_count(const lks_device_list_t *list);

/** Borrowed, valid until the list is closed. `index` < count. */
LKS_API lks_device_t *lks_device_list_get(const lks_device_list_t *list, size_t index);

/** "host", "host:1", "cuda:0": the name PyTorch would use, with host for cpu. */
LKS_API const char *lks_device_name(const lks_device_t *device);

/** Cores this device computes on (at least 1). They are its own if `exclusive`, else shared with
 *  other devices of the list. */
LKS_API size_t lks_device_core_count(const lks_device_t *device);
LKS_API bool lks_device_cores_exclusive(const lks_device_t *device);

/** Those cores, in the order of the threads that compute on them, one on each. Valid until the process ends;
 *  the plain host device's says nothing. */
LKS_API const lks_core_t *lks_device_cores(const lks_device_t *device);

/** The NUMA node that a GPU is attached to; negative where that is unknown, and for the host. */
LKS_API int lks_device_node(const lks_device_t *device);

/** Binds the calling thread to the device's core number `core`, counted round and round (SIZE_MAX: to all
 *  of them). Does nothing where the list was opened with `bind` false or the system refuses (logged once
 *  as a warning). */
LKS_API void lks_device_bind_thread(const lks_device_t *device, size_t core);

/** `nbytes` bytes on the device, aligned to 64; contents undefined; 0 bytes give a valid pointer.
 *  Errors: NO_MEMORY, DEVICE. */
LKS_API LKS_NODISCARD lks_status_t lks_device_alloc(lks_device_t *device, size_t nbytes,
                                                    void **out);
LKS_API void lks_device_free(lks_device_t *device, void *data);

/** Copies `nbytes` between the memories of two devices, which may be the same; no overlap. */
LKS_API LKS_NODISCARD lks_status_t lks_device_copy(lks_device_t *to, void *dst, lks_device_t *from,
                                                   const void *src, size_t nbytes,
                                                   lks_stream_t *stream);

/** Sets `nbytes` bytes to `byte`. */
LKS_API LKS_NODISCARD lks_status_t lks_device_fill(lks_device_t *device, void *data, int byte,
                                                   size_t nbytes, lks_stream_t *stream);

LKS_END_DECLS
#endif
