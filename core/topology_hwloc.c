/* SPDX-License-Identifier: Apache-2.0 */
/* topology_hwloc.c - the machine as hwloc sees it, and binding.
 * Loading costs milliseconds, so this machine is loaded once per process and kept to its end. So is the
 * process's affinity mask: read again later it would show the bindings made here. */
#include "core/topology.h"

#include <hwloc.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t machine_once = PTHREAD_ONCE_INIT;
static hwloc_topology_t machine; /* NULL: it could not be loaded, and machine_error says why */
static hwloc_cpuset_t machine_mask;
static lks_error_t machine_error;

/* Only the levels that order cores: groups hold the NUMA nodes inside a package, and cores behind one last
 * cache are numbered together. The component left out would visit every processor to ask it. */
static int set_filters(hwloc_topology_t topology)
{
    static const hwloc_obj_type_t kept[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_GROUP, HWLOC_OBJ_L3CACHE};
    int failed = hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        failed |=
            hwloc_topology_set_type_filter(topology, kept[i], HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
    }
    failed |= hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    failed |=
        hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    return failed;
}

/* `synthetic` NULL: this machine. */
static lks_status_t hwloc_load(const char *synthetic, hwloc_topology_t *out)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology)) {
        return lks_fail(LKS_ERR_DEVICE, "hwloc could not be set up: %s", strerror(errno));
    }
    if (synthetic && hwloc_topology_set_synthetic(topology, synthetic)) {
        hwloc_topology_destroy(topology);
        return lks_fail(LKS_ERR_INVALID_ARG, "'%s' does not describe a synthetic machine",
                        synthetic);
    }
    if (set_filters(topology) || hwloc_topology_load(topology)) {
        lks_status_t status =
            lks_fail(LKS_ERR_DEVICE, "hwloc could not load the topology of %s: %s",
                     synthetic ? synthetic : "this machine", strerror(errno));
        hwloc_topology_destroy(topology);
        return status;
    }
    *out = topology;
    return LKS_OK;
}

/* The processing units this process may use; all where the system does not tell. */
static hwloc_cpuset_t process_mask(hwloc_topology_t topology)
{
    hwloc_cpuset_t mask = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(topology));
    hwloc_cpuset_t bound = hwloc_bitmap_alloc();
    if (mask && bound && hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0 &&
        hwloc_bitmap_intersects(mask, bound)) {
        (void)hwloc_bitmap_and(mask, mask, bound);
    }
    hwloc_bitmap_free(bound);
    return mask;
}

static void load_machine(void)
{
    hwloc_topology_t topology;
    lks_status_t status = hwloc_load(NULL, &topology);
    if (status == LKS_OK) {
        machine_mask = process_mask(topology);
        if (machine_mask) {
            machine = topology;
            return;
        }
        hwloc_topology_destroy(topology);
        (void)lks_fail(LKS_ERR_NO_MEMORY, "the machine's topology: out of memory");
    }
    machine_error = *lks_last_error();
}

static lks_status_t get_machine(hwloc_topology_t *out)
{
    (void)pthread_once(&machine_once, load_machine);
    if (!machine) {
        return lks_error_raise(&machine_error);
    }
    *out = machine;
    return LKS_OK;
}

/* The core of `object` if `mask` leaves it a processing unit. */
static bool core_of(hwloc_obj_t object, hwloc_const_cpuset_t mask, hwloc_bitmap_t scratch,
                    lks_core_t *out)
{
    if (hwloc_bitmap_and(scratch, object->cpuset, mask)) {
        return false;
    }
    int pu = hwloc_bitmap_first(scratch);
    int node = hwloc_bitmap_first(object->nodeset);
    if (pu < 0) {
        return false;
    }
    *out = (lks_core_t){.pu = (unsigned)pu, .node = node < 0 ? 0 : (unsigned)node};
    return true;
}

/* hwloc numbers cores along its tree, which nests them by memory locality. */
static lks_status_t list_cores(hwloc_topology_t topology, hwloc_const_cpuset_t mask,
                               lks_topology_t *out)
{
    int depth =
        hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE); /* some VMs show PUs only */
    unsigned objects = hwloc_get_nbobjs_by_depth(topology, depth);
    lks_core_t *cores = calloc(objects ? objects : 1, sizeof *cores);
    hwloc_bitmap_t scratch = hwloc_bitmap_alloc();
    if (!cores || !scratch) {
        free(cores);
        hwloc_bitmap_free(scratch);
        return lks_fail(LKS_ERR_NO_MEMORY, "a topology of %u cores: out of memory", objects);
    }
    size_t count = 0;
    for (unsigned i = 0; i < objects; i++) {
        count += core_of(hwloc_get_obj_by_depth(topology, depth, i), mask, scratch, &cores[count]);
    }
    hwloc_bitmap_free(scratch);
    if (count == 0) {
        free(cores);
        return lks_fail(LKS_ERR_DEVICE, "hwloc shows no core that this process may use");
    }
    *out = (lks_topology_t){.cores = cores, .count = count};
    return LKS_OK;
}

lks_status_t lks_topology_load(const char *synthetic, lks_topology_t *out)
{
    hwloc_topology_t topology = NULL;
    if (!synthetic) {
        LKS_TRY(get_machine(&topology));
        return list_cores(topology, machine_mask, out);
    }
    LKS_TRY(hwloc_load(synthetic, &topology));
    lks_status_t status = list_cores(topology, hwloc_topology_get_topology_cpuset(topology), out);
    hwloc_topology_destroy(topology);
    return status;
}

void lks_topology_fini(lks_topology_t *topology)
{
    free(topology->cores);
    *topology = (lks_topology_t){0};
}

lks_status_t lks_topology_bind(const lks_core_t *cores, size_t count)
{
    hwloc_topology_t topology = NULL;
    LKS_TRY(get_machine(&topology));
    hwloc_cpuset_t set = hwloc_bitmap_alloc();
    int failed = set ? 0 : -1;
    for (size_t i = 0; i < count && !failed; i++) {
        failed = hwloc_bitmap_set(set, cores[i].pu);
    }
    failed = failed || hwloc_set_cpubind(topology, set, HWLOC_CPUBIND_THREAD);
    int error = errno;
    hwloc_bitmap_free(set);
    if (failed) {
        return lks_fail(LKS_ERR_DEVICE,
                        "cannot bind a thread to %zu processing units from %u on: %s", count,
                        count ? cores[0].pu : 0, strerror(error));
    }
    return LKS_OK;
}
