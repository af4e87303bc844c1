/* SPDX-License-Identifier: Apache-2.0 */
/* topology.h - which processors there are, and who gets which.
 * Policy (topology.c) is pure arithmetic on a list; topology_hwloc.c fills the list from the machine or, for
 * tests, from a synthetic description ("pack:2 core:4 pu:2"). */
#ifndef LOCKSTEP_CORE_TOPOLOGY_H
#define LOCKSTEP_CORE_TOPOLOGY_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>

/** One core this process may use: its first allowed processing unit, in order of memory locality (NUMA node,
 *  then package, then core). */
typedef struct lks_core {
    unsigned pu;   /* operating system's index */
    unsigned node; /* NUMA node */
} lks_core_t;

/** The cores of this machine, allowed by affinity mask and cgroup. */
typedef struct lks_topology {
    lks_core_t *cores;
    size_t count; /* at least 1 */
} lks_topology_t;

/** `synthetic` NULL: this machine. Errors: DEVICE (hwloc failed), INVALID_ARG (synthetic), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_topology_load(const char *synthetic, lks_topology_t *out);
void lks_topology_fini(lks_topology_t *topology);

/** The part of `share` of `shares`: cores[first, first + count). Parts are contiguous and differ by at most one
 *  core, larger parts first; with more shares than cores, share i gets core i * cores / shares and
 *  `exclusive` is false. */
typedef struct lks_core_share {
    size_t first, count;
    bool exclusive;
} lks_core_share_t;
lks_core_share_t lks_topology_share(size_t cores, size_t share, size_t shares);

/** Binds the calling thread to one processing unit, or to all of `cores[0..count)`. Errors: DEVICE. */
LKS_NODISCARD lks_status_t lks_topology_bind(const lks_core_t *cores, size_t count);

#endif
