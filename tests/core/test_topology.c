/* SPDX-License-Identifier: Apache-2.0 */
/* test_topology.c - which cores there are to use, and how they are divided among devices. */
#include "core/topology.h"
#include "support/support.h"

Test(topology, a_core_is_its_first_allowed_unit)
{
    const lks_pu_t pus[] = {
        {.index = 0, .core = 0},
        {.index = 8, .core = 0, .allowed = true},
        {.index = 1, .core = 1},
        {.index = 9, .core = 1},
        {.index = 2, .core = 2, .node = 1, .package = 1, .allowed = true},
        {.index = 10, .core = 2, .node = 1, .package = 1, .allowed = true},
    };
    lks_core_t cores[6];
    cr_assert_eq(lks_topology_usable(pus, 6, cores), 2);
    cr_assert_eq(cores[0].pu, 8);
    cr_assert_eq(cores[0].node, 0);
    cr_assert_eq(cores[1].pu, 2);
    cr_assert_eq(cores[1].node, 1);
    cr_assert_eq(cores[1].package, 1);
    cr_assert_eq(lks_topology_usable(pus + 2, 2, cores), 0);
    cr_assert_eq(lks_topology_usable(pus, 0, cores), 0);
}

Test(topology, shares_differ_by_at_most_one_larger_first)
{
    static const struct {
        size_t first, count;
    } wanted[] = {{0, 3}, {3, 3}, {6, 2}, {8, 2}};
    for (size_t i = 0; i < 4; i++) {
        lks_core_share_t share = lks_topology_share(10, i, 4);
        cr_assert_eq(share.first, wanted[i].first, "share %zu", i);
        cr_assert_eq(share.count, wanted[i].count, "share %zu", i);
        cr_assert(share.exclusive);
    }
}

Test(topology, shares_cover_all_cores_once)
{
    for (size_t cores = 1; cores <= 40; cores++) {
        for (size_t shares = 1; shares <= cores; shares++) {
            size_t next = 0;
            for (size_t i = 0; i < shares; i++) {
                lks_core_share_t share = lks_topology_share(cores, i, shares);
                cr_assert_eq(share.first, next);
                cr_assert(share.count >= cores / shares && share.count <= cores / shares + 1);
                cr_assert(share.exclusive);
                next += share.count;
            }
            cr_assert_eq(next, cores);
        }
    }
}

Test(topology, more_shares_than_cores_share_them_evenly)
{
    for (size_t cores = 1; cores <= 8; cores++) {
        for (size_t shares = cores + 1; shares <= 30; shares++) {
            size_t users[8] = {0}, before = 0;
            for (size_t i = 0; i < shares; i++) {
                lks_core_share_t share = lks_topology_share(cores, i, shares);
                cr_assert_eq(share.first, i * cores / shares);
                cr_assert_eq(share.count, 1);
                cr_assert_not(share.exclusive);
                cr_assert_geq(share.first, before);
                before = share.first;
                users[share.first]++;
            }
            for (size_t c = 0; c < cores; c++) {
                cr_assert(users[c] == shares / cores || users[c] == shares / cores + 1);
            }
        }
    }
}

Test(topology, one_share_has_all)
{
    lks_core_share_t share = lks_topology_share(7, 0, 1);
    cr_assert_eq(share.first, 0);
    cr_assert_eq(share.count, 7);
    cr_assert(share.exclusive);
}
