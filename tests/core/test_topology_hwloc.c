/* SPDX-License-Identifier: Apache-2.0 */
/* test_topology_hwloc.c - synthetic machines, this machine, and binding on it. */
#include "core/thread.h"
#include "core/topology.h"
#include "support/support.h"

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>

static const lks_topology_t *this_machine(void)
{
    const lks_topology_t *machine;
    assert_ok(lks_topology_machine(&machine));
    return machine;
}

/* The cores of a synthetic machine as (pu, node) pairs. */
static void check_cores(const char *synthetic, size_t count, const unsigned (*wanted)[2])
{
    lks_topology_t topology;
    assert_ok(lks_topology_load(synthetic, &topology));
    cr_assert_eq(topology.core_count, count, "%s has %zu cores", synthetic, topology.core_count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(topology.cores[i].pu, wanted[i][0], "%s: core %zu", synthetic, i);
        cr_assert_eq(topology.cores[i].node, wanted[i][1], "%s: core %zu", synthetic, i);
    }
    lks_topology_fini(&topology);
    cr_assert_null(topology.cores);
}

Test(topology_hwloc, a_core_counts_once_whatever_its_threads)
{
    check_cores(
        "pack:2 numa:1 core:4 pu:2", 8,
        (const unsigned[][2]){{0, 0}, {2, 0}, {4, 0}, {6, 0}, {8, 1}, {10, 1}, {12, 1}, {14, 1}});
    check_cores("core:3 pu:1", 3, (const unsigned[][2]){{0, 0}, {1, 0}, {2, 0}});
}

Test(topology_hwloc, two_nodes_in_a_package_are_told_apart)
{
    check_cores(
        "pack:2 numa:2 core:2 pu:2", 8,
        (const unsigned[][2]){{0, 0}, {2, 0}, {4, 1}, {6, 1}, {8, 2}, {10, 2}, {12, 3}, {14, 3}});
}

Test(topology_hwloc, cores_come_by_node_not_by_number)
{
    check_cores(
        "pack:2 numa:2 core:2 pu:1(indexes=0,4,2,6,1,5,3,7)", 8,
        (const unsigned[][2]){{0, 0}, {4, 0}, {2, 1}, {6, 1}, {1, 2}, {5, 2}, {3, 3}, {7, 3}});
}

Test(topology_hwloc, a_machine_without_cores_has_its_processing_units)
{
    check_cores("pu:3", 3, (const unsigned[][2]){{0, 0}, {1, 0}, {2, 0}});
}

Test(topology_hwloc, nonsense_is_an_invalid_argument)
{
    lks_topology_t topology = {.core_count = 77};
    assert_fails(lks_topology_load("two cores", &topology), LKS_ERR_INVALID_ARG, "'two cores'");
    assert_fails(lks_topology_load("", &topology), LKS_ERR_INVALID_ARG, "synthetic machine");
    assert_fails(lks_topology_load("core:0", &topology), LKS_ERR_INVALID_ARG, "'core:0'");
    cr_assert_eq(topology.core_count, 77);
}

Test(topology_hwloc, every_processing_unit_is_listed_with_its_place)
{
    static const unsigned wanted[][4] = {/* index, core, node, package */
                                         {0, 0, 0, 0}, {1, 0, 0, 0}, {2, 1, 1, 0}, {3, 1, 1, 0},
                                         {4, 2, 2, 1}, {5, 2, 2, 1}, {6, 3, 3, 1}, {7, 3, 3, 1}};
    lks_topology_t topology;
    assert_ok(lks_topology_load("pack:2 numa:2(memory=4MB) core:1 pu:2", &topology));
    cr_assert_eq(topology.pu_count, 8);
    for (size_t i = 0; i < 8; i++) {
        const lks_pu_t *pu = &topology.pus[i];
        cr_assert_eq(pu->index, wanted[i][0]);
        cr_assert_eq(pu->core, wanted[i][1], "core of unit %zu", i);
        cr_assert_eq(pu->node, wanted[i][2], "node of unit %zu", i);
        cr_assert_eq(pu->package, wanted[i][3], "package of unit %zu", i);
        cr_assert(pu->allowed);
    }
    cr_assert_eq(topology.node_count, 4);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(topology.nodes[i].index, i);
        cr_assert_eq(topology.nodes[i].memory, 4000000);
        cr_assert(topology.nodes[i].allowed);
    }
    lks_topology_fini(&topology);
}

Test(topology_hwloc, a_machine_without_cores_counts_its_units)
{
    lks_topology_t topology;
    assert_ok(lks_topology_load("pu:3", &topology));
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(topology.pus[i].core, i);
        cr_assert_eq(topology.pus[i].package, 0);
    }
    cr_assert_eq(topology.node_count, 1);
    lks_topology_fini(&topology);
}

Test(topology_hwloc, this_machine_has_the_cores_we_may_use)
{
    cpu_set_t allowed;
    cr_assert_eq(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    const lks_topology_t *machine = this_machine();
    cr_assert(machine->this_machine);
    cr_assert_geq(machine->core_count, 1);
    cr_assert_geq(machine->node_count, 1);
    cr_assert_leq(machine->core_count, (size_t)CPU_COUNT(&allowed));
    for (size_t i = 0; i < machine->core_count; i++) {
        cr_assert(CPU_ISSET(machine->cores[i].pu, &allowed));
    }
    for (size_t i = 0; i < machine->pu_count; i++) {
        cr_assert_eq(machine->pus[i].allowed, CPU_ISSET(machine->pus[i].index, &allowed) != 0);
    }
}

/* The last processing unit this process may use. */
static unsigned last_pu(void)
{
    cpu_set_t allowed;
    cr_assert_eq(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    unsigned last = 0;
    for (unsigned i = 0; i < CPU_SETSIZE; i++) {
        last = CPU_ISSET(i, &allowed) ? i : last;
    }
    return last;
}

/* What taskset does: every thread of the process, the test runner's own included. */
static void confine_process(unsigned pu)
{
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(pu, &mask);
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        if (entry->d_name[0] != '.') {
            cr_assert_eq(sched_setaffinity(atoi(entry->d_name), sizeof mask, &mask), 0);
        }
    }
    (void)closedir(tasks);
}

Test(topology_hwloc, the_affinity_mask_is_honoured)
{
    unsigned only = last_pu();
    confine_process(only);
    const lks_topology_t *machine = this_machine();
    cr_assert_eq(machine->core_count, 1);
    cr_assert_eq(machine->cores[0].pu, only);
    for (size_t i = 0; i < machine->pu_count; i++) {
        cr_assert_eq(machine->pus[i].allowed, machine->pus[i].index == only);
    }
}

/* Whether hwloc is told that it be this machine or not: nothing is bound where a synthetic one says. */
static void check_nothing_is_bound(void)
{
    cr_assert_eq(setenv("HWLOC_SYNTHETIC", "pack:2 core:4 pu:1", 1), 0);
    const lks_topology_t *machine = this_machine();
    cr_assert_eq(machine->core_count, 8);
    cr_assert_not(machine->this_machine);
    cpu_set_t before, after;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    assert_fails(lks_topology_bind(machine->cores, 1), LKS_ERR_DEVICE, "another machine");
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_assert(CPU_EQUAL(&before, &after));
}

Test(topology_hwloc, a_synthetic_machine_in_this_ones_place_is_not_bound_to)
{
    check_nothing_is_bound();
}

Test(topology_hwloc, not_even_one_that_claims_to_be_this)
{
    cr_assert_eq(setenv("HWLOC_THISSYSTEM", "1", 1), 0);
    check_nothing_is_bound();
}

typedef struct bound {
    lks_core_t core;
    lks_status_t status;
    cpu_set_t mask;
} bound_t;

static void bind_self(void *context)
{
    bound_t *bound = context;
    bound->status = lks_topology_bind(&bound->core, 1);
    (void)sched_getaffinity(0, sizeof bound->mask, &bound->mask);
}

Test(topology_hwloc, binds_the_calling_thread_alone)
{
    cpu_set_t before, after;
    cr_assert_eq(sched_getaffinity(0, sizeof before, &before), 0);
    bound_t bound = {.core = {.pu = last_pu()}};
    lks_thread_t *thread;
    assert_ok(lks_thread_create("bound", bind_self, &bound, &thread));
    lks_thread_join(thread);
    cr_assert_eq(bound.status, LKS_OK);
    cr_assert_eq(CPU_COUNT(&bound.mask), 1);
    cr_assert(CPU_ISSET(bound.core.pu, &bound.mask));
    cr_assert_eq(sched_getaffinity(0, sizeof after, &after), 0);
    cr_assert(CPU_EQUAL(&before, &after));
}

Test(topology_hwloc, binding_does_not_shrink_the_machine)
{
    const lks_topology_t *machine = this_machine();
    size_t count = machine->core_count;
    assert_ok(lks_topology_bind(machine->cores, 1));
    cr_assert_eq(this_machine(), machine);
    cr_assert_eq(machine->core_count, count);
    assert_ok(lks_topology_bind(machine->cores, count));
    cpu_set_t mask;
    cr_assert_eq(sched_getaffinity(0, sizeof mask, &mask), 0);
    cr_assert_eq((size_t)CPU_COUNT(&mask), count);
}

Test(topology_hwloc, binding_to_what_is_not_there_is_a_device_error)
{
    const lks_core_t nowhere = {.pu = 100000};
    assert_fails(lks_topology_bind(&nowhere, 1), LKS_ERR_DEVICE, "100000");
    assert_fails(lks_topology_bind(&nowhere, 0), LKS_ERR_DEVICE, "cannot bind");
}

static void load(void *context)
{
    if (lks_topology_machine(context) != LKS_OK) {
        *(const lks_topology_t **)context = NULL;
    }
}

Test(topology_hwloc, may_be_loaded_by_many_threads_at_once)
{
    const lks_topology_t *seen[3];
    lks_thread_t *threads[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(lks_thread_create("loads", load, &seen[i], &threads[i]));
    }
    for (int i = 0; i < 3; i++) {
        lks_thread_join(threads[i]);
    }
    cr_assert(seen[0] && seen[1] == seen[0] && seen[2] == seen[0]);
}
