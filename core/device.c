/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - opening device lists, and dispatch to the backends. */
#include "core/device_backend.h"
#include "core/device_spec.h"
#include "core/leaf.h"

#include <lockstep/log.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct lks_device_list {
    lks_device_t *devices; /* (count) */
    size_t count;
};

lks_device_config_t lks_device_config_default(void)
{
    return (lks_device_config_t){.bind = true};
}

lks_device_t *lks_device_host(void)
{
    static const lks_core_t core;
    static lks_device_t host = {
        .backend = &lks_host_backend, .name = "host", .cores = &core, .core_count = 1, .node = -1};
    return &host;
}

/* Gives a failure in a leaf library its sentence. */
static lks_status_t report(const lks_device_backend_t *backend, lks_status_t status)
{
    return status == LKS_OK || !backend->error ? status : lks_fail(status, "%s", backend->error());
}

/* --- opening ------------------------------------------------------------------------------------ */

/* The CUDA backend and the number of devices it sees. */
static lks_status_t open_cuda(const lks_device_backend_t **backend, size_t *present)
{
    const void *table;
    if (lks_leaf_open("cuda", LKS_DEVICE_BACKEND_VERSION, &table) != LKS_OK) {
        return lks_fail(LKS_ERR_DEVICE, "no CUDA device: the CUDA backend cannot be loaded (%s)",
                        lks_last_error()->message);
    }
    const lks_device_backend_t *cuda = table;
    size_t count = 0;
    if (report(cuda, cuda->count(&count)) != LKS_OK) {
        return lks_fail(LKS_ERR_DEVICE, "no CUDA device: %s", lks_last_error()->message);
    }
    if (count == 0) {
        return lks_fail(LKS_ERR_DEVICE, "no CUDA device: none is visible");
    }
    *backend = cuda;
    *present = count;
    return LKS_OK;
}

/* Chooses the backend and turns "all of them" into indices. */
static lks_status_t resolve(lks_device_spec_t *spec, const lks_device_backend_t **backend)
{
    size_t present = 0;
    if (spec->kind != LKS_DEVICE_HOST) {
        lks_status_t status = open_cuda(backend, &present);
        if (status != LKS_OK && spec->kind == LKS_DEVICE_CUDA) {
            return status;
        }
        if (status != LKS_OK) {
            lks_log(LKS_LOG_DEBUG, "%s; the host computes", lks_last_error()->message);
        }
        spec->kind = status == LKS_OK ? LKS_DEVICE_CUDA : LKS_DEVICE_HOST;
    }
    if (spec->kind == LKS_DEVICE_HOST) {
        *backend = &lks_host_backend;
        return LKS_OK;
    }
    if (spec->count == 0) {
        spec->count = present < LKS_DEVICE_MAX ? present : LKS_DEVICE_MAX;
        for (size_t i = 0; i < spec->count; i++) {
            spec->indices[i] = (uint16_t)i;
        }
    }
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->indices[i] >= present) {
            return lks_fail(LKS_ERR_DEVICE, "there is no device cuda:%d: %zu are visible",
                            spec->indices[i], present);
        }
    }
    return LKS_OK;
}

static void name_device(lks_device_t *device, bool numbered)
{
    if (numbered) {
        (void)snprintf(device->name, sizeof device->name, "%s:%zu", device->backend->name,
                       device->index);
    } else {
        (void)snprintf(device->name, sizeof device->name, "%s", device->backend->name);
    }
}

static void fill_devices(lks_device_list_t *list, const lks_device_spec_t *spec,
                         const lks_device_backend_t *backend, bool bind)
{
    for (size_t i = 0; i < list->count; i++) {
        size_t index = spec->kind == LKS_DEVICE_CUDA ? spec->indices[i] : i;
        lks_device_t *device = &list->devices[i];
        *device = (lks_device_t){
            .backend = backend,
            .index = index,
            .bind = bind,
            .node = backend->node ? backend->node(index) : -1,
        };
        name_device(device, spec->count > 0); /* "host" alone has no number */
    }
}

static lks_status_t give_cores(lks_device_list_t *list, const lks_topology_t *machine, bool near,
                               const lks_device_config_t *config)
{
    size_t processes = config->processes > 1 ? (size_t)config->processes : 1;
    size_t before = processes > 1 ? (size_t)config->process * list->count : 0;
    const lks_core_t *cores = machine->cores;
    lks_core_share_t *shares = calloc(list->count, sizeof *shares);
    int *nodes = calloc(list->count, sizeof *nodes);
    if (!shares || !nodes) {
        free(shares);
        free(nodes);
        return lks_fail(LKS_ERR_NO_MEMORY, "cores of %zu devices: out of memory", list->count);
    }
    for (size_t i = 0; i < list->count; i++) {
        nodes[i] = list->devices[i].node;
        shares[i] =
            lks_topology_share(cores, machine->core_count, before + i, processes * list->count);
    }
    if (near) {
        lks_topology_near(cores, machine->core_count, nodes, list->count, shares);
    }
    for (size_t i = 0; i < list->count; i++) {
        list->devices[i].cores = cores + shares[i].first;
        list->devices[i].core_count = shares[i].count;
        list->devices[i].exclusive = shares[i].exclusive;
    }
    free(shares);
    free(nodes);
    return LKS_OK;
}

lks_status_t lks_device_list_open(const char *text, const lks_device_config_t *config,
                                  lks_device_list_t **out)
{
    const lks_device_config_t used = config ? *config : lks_device_config_default();
    lks_device_spec_t spec;
    const lks_device_backend_t *backend = NULL;
    const lks_topology_t *machine;
    if (used.processes > 1 && (used.process < 0 || used.process >= used.processes)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "there is no process %d of %d", used.process,
                        used.processes);
    }
    LKS_TRY(lks_device_spec_parse(text, &spec));
    LKS_TRY(resolve(&spec, &backend));
    LKS_TRY(lks_topology_machine(&machine));
    size_t count = spec.count ? spec.count : 1;
    lks_device_list_t *list = malloc(sizeof *list);
    lks_device_t *devices = calloc(count, sizeof *devices);
    lks_status_t status;
    if (!list || !devices) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "a list of %zu devices: out of memory", count);
        goto free_list;
    }
    *list = (lks_device_list_t){.devices = devices, .count = count};
    fill_devices(list, &spec, backend, used.bind);
    LKS_GOTO(give_cores(list, machine, backend->node != NULL, &used), free_list);
    *out = list;
    return LKS_OK;
free_list:
    free(devices);
    free(list);
    return status;
}

void lks_device_list_close(lks_device_list_t *list)
{
    if (list) {
        free(list->devices);
        free(list);
    }
}

size_t lks_device_list_count(const lks_device_list_t *list)
{
    return list->count;
}

lks_device_t *lks_device_list_get(const lks_device_list_t *list, size_t index)
{
    return &list->devices[index];
}

/* --- one device --------------------------------------------------------------------------------- */

const char *lks_device_name(const lks_device_t *device)
{
    return device->name;
}

size_t lks_device_core_count(const lks_device_t *device)
{
    return device->core_count;
}

bool lks_device_cores_exclusive(const lks_device_t *device)
{
    return device->exclusive;
}

const lks_core_t *lks_device_cores(const lks_device_t *device)
{
    return device->cores;
}

int lks_device_node(const lks_device_t *device)
{
    return device->node;
}

void lks_device_bind_thread(const lks_device_t *device, size_t core)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    if (!device->bind) {
        return;
    }
    lks_status_t status = core == SIZE_MAX
                              ? lks_topology_bind(device->cores, device->core_count)
                              : lks_topology_bind(&device->cores[core % device->core_count], 1);
    if (status != LKS_OK && !atomic_flag_test_and_set(&warned)) {
        lks_log(LKS_LOG_WARN, "%s: %s; threads run unbound", device->name,
                lks_last_error()->message);
    }
}

lks_status_t lks_device_alloc(lks_device_t *device, size_t nbytes, void **out)
{
    return report(device->backend, device->backend->alloc(device, nbytes, out));
}

void lks_device_free(lks_device_t *device, void *data)
{
    if (data) {
        device->backend->free(device, data);
    }
}

lks_status_t lks_device_copy(lks_device_t *to, void *dst, lks_device_t *from, const void *src,
                             size_t nbytes, lks_stream_t *stream)
{
    if (nbytes == 0) { /* the addresses of nothing may be NULL */
        return LKS_OK;
    }
    /* The host knows its own memory only; the other side's backend knows both. */
    const lks_device_backend_t *backend =
        to->backend == &lks_host_backend ? from->backend : to->backend;
    return report(backend, backend->copy(to, dst, from, src, nbytes, stream));
}

lks_status_t lks_device_fill(lks_device_t *device, void *data, int byte, size_t nbytes,
                             lks_stream_t *stream)
{
    if (nbytes == 0) {
        return LKS_OK;
    }
    return report(device->backend, device->backend->fill(device, data, byte, nbytes, stream));
}
