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

/** cores[first, first + count), with `exclusive` nobody else's. */
typedef struct lks_core_share {
    size_t first, count;
    bool exclusive;
} lks_core_share_t;

/** The part of share number `share` where `shares` divide all cores. Nobody gets fewer than cores / shares, as in an
 *  even division: the slowest sets the pace. Within that, every share keeps to one NUMA node of one package; if that
 *  cannot be, to one package; if that cannot be either, it is what an even division gives, larger parts first.
 *  A share belongs where the middle of its even part is; those of one place divide it evenly. A small place that is the
 *  middle of none stays unused (fewer cores than there are shares).
 *  3 shares of 2 nodes with 4 cores get 4, 2, 2; of 2 nodes with 64 cores 43, 43, 42, for 32 would be the pace of all.
 *  With more shares than cores, share i gets core i * cores / shares, and is not exclusive. */
lks_core_share_t lks_topology_share(const lks_core_t *cores, size_t count, size_t share,
                                    size_t shares);

/** The parts for GPUs, out[0..gpus): nodes[i] is the NUMA node that GPU i is attached to, negative where that is unknown.
 *  The cores of a node are divided among its GPUs, in their order, as above. A GPU that finds no core on its node, because
 *  none is allowed, as many GPUs as cores are there already, or the node is unknown, joins the node with the most cores
 *  for each GPU. So parts overlap, and are not exclusive, only where there are more GPUs than cores. */
void lks_topology_near(const lks_core_t *cores, size_t count, const int *nodes, size_t gpus,
                       lks_core_share_t *out);

/** Binds the calling thread to one processing unit, or to all of `cores[0..count)`. Errors: DEVICE (also
 *  where the machine is not this one). */
LKS_NODISCARD lks_status_t lks_topology_bind(const lks_core_t *cores, size_t count);

#endif
