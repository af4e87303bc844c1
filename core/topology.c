/* SPDX-License-Identifier: Apache-2.0 */
/* topology.c - who gets which cores. */
#include "core/topology.h"

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
