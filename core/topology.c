/* SPDX-License-Identifier: Apache-2.0 */
/* topology.c - who gets which cores. */
#include "core/topology.h"

size_t lks_topology_usable(const lks_pu_t *pus, size_t count, lks_core_t *out)
{
    size_t found = 0;
    const lks_pu_t *last = NULL; /* of the last core found; the units of a core stand together */
    for (size_t i = 0; i < count; i++) {
        if (pus[i].allowed && (!last || last->core != pus[i].core)) {
            last = &pus[i];
            out[found++] =
                (lks_core_t){.pu = last->index, .node = last->node, .package = last->package};
        }
    }
    return found;
}

lks_core_share_t lks_topology_share(size_t cores, size_t share, size_t shares)
{
    if (shares > cores) {
        return (lks_core_share_t){.first = share * cores / shares, .count = 1};
    }
    size_t each = cores / shares, larger = cores % shares; /* the first `larger` get one more */
    return (lks_core_share_t){
        .first = share * each + (share < larger ? share : larger),
        .count = each + (share < larger ? 1 : 0),
        .exclusive = true,
    };
}
