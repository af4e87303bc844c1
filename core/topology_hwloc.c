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
static lks_topology_t machine_lists;
static lks_error_t machine_error;

/* Only the levels that order cores or are shown: groups hold the NUMA nodes inside a package, and cores behind one
 * last cache are numbered together. The component left out would visit every processor to ask it. */
static int set_filters(hwloc_topology_t topology)
{
    static const hwloc_obj_type_t order[] = {HWLOC_OBJ_GROUP, HWLOC_OBJ_L3CACHE};
    static const hwloc_obj_type_t shown[] = {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_CORE};
    int failed = hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    for (size_t i = 0; i < 2; i++) {
        failed |=
            hwloc_topology_set_type_filter(topology, order[i], HWLOC_TYPE_FILTER_KEEP_STRUCTURE);
        failed |= hwloc_topology_set_type_filter(topology, shown[i], HWLOC_TYPE_FILTER_KEEP_ALL);
    }
    failed |= hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
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

/* Whether threads can be bound where the topology says. hwloc believes HWLOC_THISSYSTEM=1 of a synthetic machine,
 * too; its processing units would be this machine's by name only. */
static bool is_this_machine(hwloc_topology_t topology)
{
    const char *backend = hwloc_obj_get_info_by_name(hwloc_get_root_obj(topology), "Backend");
    return hwloc_topology_is_thissystem(topology) &&
           !(backend && strcmp(backend, "Synthetic") == 0);
}

/* The processing units this process may use; on this machine, the affinity mask counts. */
static hwloc_cpuset_t allowed_units(hwloc_topology_t topology)
{
    hwloc_cpuset_t mask = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology));
    hwloc_cpuset_t bound = hwloc_bitmap_alloc();
    if (mask && bound && is_this_machine(topology) &&
        hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_PROCESS) == 0 &&
        hwloc_bitmap_intersects(mask, bound)) {
        (void)hwloc_bitmap_and(mask, mask, bound);
    }
    hwloc_bitmap_free(bound);
    return mask;
}

static void fill_nodes(hwloc_topology_t topology, lks_topology_t *lists)
{
    hwloc_const_nodeset_t allowed = hwloc_topology_get_allowed_nodeset(topology);
    for (size_t i = 0; i < lists->node_count; i++) {
        hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, (unsigned)i);
        lists->nodes[i] = (lks_numa_node_t){
            .index = node->os_index,
            .memory = node->attr->numanode.local_memory,
            .allowed = hwloc_bitmap_isset(allowed, node->os_index) != 0,
        };
    }
}

/* hwloc numbers processing units along its tree, which nests them by memory locality. Some virtual machines show
 * no cores: there every unit is one. */
static void fill_units(hwloc_topology_t topology, hwloc_const_cpuset_t allowed,
                       lks_topology_t *lists)
{
    hwloc_obj_t last = NULL;
    unsigned core = 0;
    for (size_t i = 0; i < lists->pu_count; i++) {
        hwloc_obj_t pu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, (unsigned)i);
        hwloc_obj_t of = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_CORE, pu);
        hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology, HWLOC_OBJ_PACKAGE, pu);
        int node = hwloc_bitmap_first(pu->nodeset);
        core += i > 0 && (!of || of != last);
        last = of;
        lists->pus[i] = (lks_pu_t){
            .index = pu->os_index,
            .core = core,
            .node = node < 0 ? 0 : (unsigned)node,
            .package = package ? package->logical_index : 0,
            .allowed = hwloc_bitmap_isset(allowed, pu->os_index) != 0,
        };
    }
}

static lks_status_t make_lists(hwloc_topology_t topology, lks_topology_t *out)
{
    size_t units = (size_t)hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
    size_t nodes = (size_t)hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
    hwloc_cpuset_t allowed = allowed_units(topology);
    lks_topology_t lists = {
        .pus = calloc(units, sizeof *lists.pus),
        .pu_count = units,
        .nodes = calloc(nodes, sizeof *lists.nodes),
        .node_count = nodes,
        .cores = calloc(units, sizeof *lists.cores),
        .this_machine = is_this_machine(topology),
    };
    lks_status_t status = LKS_OK;
    if (!allowed || !lists.pus || !lists.nodes || !lists.cores) {
        status =
            lks_fail(LKS_ERR_NO_MEMORY, "a topology of %zu processing units: out of memory", units);
        goto free_lists;
    }
    fill_nodes(topology, &lists);
    fill_units(topology, allowed, &lists);
    lists.core_count = lks_topology_usable(lists.pus, units, lists.cores);
    if (lists.core_count == 0) {
        status = lks_fail(LKS_ERR_DEVICE, "hwloc shows no core that this process may use");
        goto free_lists;
    }
    hwloc_bitmap_free(allowed);
    *out = lists;
    return LKS_OK;
free_lists:
    hwloc_bitmap_free(allowed);
    lks_topology_fini(&lists);
    return status;
}

static void load_machine(void)
{
    hwloc_topology_t topology;
    lks_status_t status = hwloc_load(NULL, &topology);
    if (status == LKS_OK) {
        status = make_lists(topology, &machine_lists);
        if (status == LKS_OK) {
            machine = topology;
            return;
        }
        hwloc_topology_destroy(topology);
    }
    machine_error = *lks_last_error();
}

lks_status_t lks_topology_machine(const lks_topology_t **out)
{
    (void)pthread_once(&machine_once, load_machine);
    if (!machine) {
        return lks_error_raise(&machine_error);
    }
    *out = &machine_lists;
    return LKS_OK;
}

lks_status_t lks_topology_load(const char *synthetic, lks_topology_t *out)
{
    hwloc_topology_t topology = NULL;
    LKS_TRY(hwloc_load(synthetic, &topology));
    lks_status_t status = make_lists(topology, out);
    hwloc_topology_destroy(topology);
    return status;
}

void lks_topology_fini(lks_topology_t *topology)
{
    free(topology->pus);
    free(topology->nodes);
    free(topology->cores);
    *topology = (lks_topology_t){0};
}

lks_status_t lks_topology_bind(const lks_core_t *cores, size_t count)
{
    const lks_topology_t *lists;
    LKS_TRY(lks_topology_machine(&lists));
    if (!lists->this_machine) { /* hwloc would do nothing, successfully */
        return lks_fail(LKS_ERR_DEVICE, "cannot bind a thread: hwloc's variables describe "
                                        "another machine than this one");
    }
    hwloc_cpuset_t set = hwloc_bitmap_alloc();
    int failed = set ? 0 : -1;
    for (size_t i = 0; i < count && !failed; i++) {
        failed = hwloc_bitmap_set(set, cores[i].pu);
    }
    failed = failed || hwloc_set_cpubind(machine, set, HWLOC_CPUBIND_THREAD);
    int error = errno;
    hwloc_bitmap_free(set);
    if (failed) {
        return lks_fail(LKS_ERR_DEVICE,
                        "cannot bind a thread to %zu processing units from %u on: %s", count,
                        count ? cores[0].pu : 0, strerror(error));
    }
    return LKS_OK;
}
