/* SPDX-License-Identifier: Apache-2.0 */
/* topology.h - which processors there are, and who gets which.
 * Policy (topology.c) is pure arithmetic on lists; topology_hwloc.c fills the lists from the machine or, for
 * tests, from a synthetic description ("pack:2 core:4 pu:2"), and binds. */
#ifndef LOCKSTEP_CORE_TOPOLOGY_H
#define LOCKSTEP_CORE_TOPOLOGY_H

#include <lockstep/topology.h>

/** A machine that hwloc describes by `synthetic`; the caller's. Errors: DEVICE (hwloc failed),
 *  INVALID_ARG (not a description), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_topology_load(const char *synthetic, lks_topology_t *out);
void lks_topology_fini(lks_topology_t *topology);

/** The cores of `pus` with an allowed processing unit, in their order. `out` has room for `count`.
 *  Returns their number. */
size_t lks_topology_usable(const lks_pu_t *pus, size_t count, lks_core_t *out);

/** The part of `share` of `shares`: cores[first, first + count). Parts are contiguous and differ by at most one
 *  core, larger parts first; with more shares than cores, share i gets core i * cores / shares and
 *  `exclusive` is false. */
typedef struct lks_core_share {
    size_t first, count;
    bool exclusive;
} lks_core_share_t;
lks_core_share_t lks_topology_share(size_t cores, size_t share, size_t shares);

/** Binds the calling thread to one processing unit, or to all of `cores[0..count)`. Errors: DEVICE (also
 *  where the machine is not this one). */
LKS_NODISCARD lks_status_t lks_topology_bind(const lks_core_t *cores, size_t count);

#endif
