/* SPDX-License-Identifier: Apache-2.0 */
/* topology.h - the machine as the runtime sees it: packages, NUMA nodes, cores and processing units, and which of
 * them this process may use (affinity mask and cgroup).
 * It is loaded once per process, by the first device list or the first call here (hwloc, a few ms).
 * hwloc's own variables (HWLOC_SYNTHETIC="pack:2 core:64 pu:2", HWLOC_XMLFILE) put another machine in its place, to
 * see what would be done there; no thread is ever bound then.
 * Processing units and nodes have the operating system's numbers; packages and cores are counted from 0. */
#ifndef LOCKSTEP_TOPOLOGY_H
#define LOCKSTEP_TOPOLOGY_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

LKS_BEGIN_DECLS

/** A processing unit: what the operating system runs one thread on. A core has one, or several (SMT). */
typedef struct lks_pu {
    unsigned index;
    unsigned core, node, package; /**< where it is */
    bool allowed;                 /**< this process may use it */
} lks_pu_t;

/** A NUMA node. It may have no processing unit. */
typedef struct lks_numa_node {
    unsigned index;
    uint64_t memory; /**< bytes; 0 where the system does not tell */
    bool allowed;    /**< this process may use the memory */
} lks_numa_node_t;

/** One core this process may use: its first allowed processing unit, and where that is. */
typedef struct lks_core {
    unsigned pu;
    unsigned node, package;
} lks_core_t;

/** Lists are in order of memory locality: what is near each other stands together. */
typedef struct lks_topology {
    lks_pu_t *pus;
    size_t pu_count;
    lks_numa_node_t *nodes;
    size_t node_count; /**< at least 1 */
    lks_core_t *cores;
    size_t core_count; /**< at least 1 */
    bool this_machine; /**< false: described by one of hwloc's variables; nothing can be bound */
} lks_topology_t;

/** This machine, or what stands in its place. Borrowed, valid until the process ends, never changes.
 *  Errors: DEVICE (hwloc failed, no core is allowed), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_topology_machine(const lks_topology_t **out);

LKS_END_DECLS
#endif
