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

/* --- shares --------------------------------------------------------------------------------------- */

enum { CORES_MAX = 128 };

/* Cores of one place. */
static const lks_core_t alike[CORES_MAX];

/* The usable cores of a synthetic machine; returns their number. */
static size_t cores_of(const char *synthetic, lks_core_t *cores)
{
    lks_topology_t topology;
    assert_ok(lks_topology_load(synthetic, &topology));
    size_t count = topology.core_count;
    cr_assert_leq(count, CORES_MAX);
    memcpy(cores, topology.cores, count * sizeof *cores);
    lks_topology_fini(&topology);
    return count;
}

/* Shares as (first, count) pairs. */
static void check_shares(const lks_core_t *cores, size_t count, size_t shares,
                         const size_t (*wanted)[2])
{
    for (size_t i = 0; i < shares; i++) {
        lks_core_share_t share = lks_topology_share(cores, count, i, shares);
        cr_assert_eq(share.first, wanted[i][0], "share %zu of %zu begins at %zu", i, shares,
                     share.first);
        cr_assert_eq(share.count, wanted[i][1], "share %zu of %zu has %zu cores", i, shares,
                     share.count);
        cr_assert(share.exclusive);
    }
}

#define check_synthetic(synthetic, shares, ...)                                                    \
    do {                                                                                           \
        lks_core_t cores_[CORES_MAX];                                                              \
        size_t count_ = cores_of(synthetic, cores_);                                               \
        check_shares(cores_, count_, shares, (const size_t[][2])__VA_ARGS__);                      \
    } while (0)

Test(topology, shares_differ_by_at_most_one_larger_first)
{
    check_shares(alike, 10, 4, (const size_t[][2]){{0, 3}, {3, 3}, {6, 2}, {8, 2}});
}

Test(topology, shares_cover_all_cores_once)
{
    for (size_t cores = 1; cores <= 40; cores++) {
        for (size_t shares = 1; shares <= cores; shares++) {
            size_t next = 0;
            for (size_t i = 0; i < shares; i++) {
                lks_core_share_t share = lks_topology_share(alike, cores, i, shares);
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
                lks_core_share_t share = lks_topology_share(alike, cores, i, shares);
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
    lks_core_share_t share = lks_topology_share(alike, 7, 0, 1);
    cr_assert_eq(share.first, 0);
    cr_assert_eq(share.count, 7);
    cr_assert(share.exclusive);
}

Test(topology, two_shares_of_two_sockets_get_one_each)
{
    check_synthetic("pack:2 [numa] core:64 pu:2", 2, {{0, 64}, {64, 64}});
    check_synthetic("pack:2 core:64 pu:1", 2, {{0, 64}, {64, 64}});
    check_synthetic("pack:2 [numa] core:64 pu:2", 1, {{0, 128}});
}

Test(topology, shares_keep_to_a_node_where_nobody_gets_fewer_cores)
{
    check_synthetic("numa:2 core:4 pu:1", 3, {{0, 4}, {4, 2}, {6, 2}});
    check_synthetic("numa:2 core:4 pu:1", 4, {{0, 2}, {2, 2}, {4, 2}, {6, 2}});
    check_synthetic(
        "numa:4 core:6 pu:1", 10,
        {{0, 3}, {3, 3}, {6, 2}, {8, 2}, {10, 2}, {12, 3}, {15, 3}, {18, 2}, {20, 2}, {22, 2}});
}

Test(topology, shares_straddle_where_a_node_each_would_be_slower)
{
    check_synthetic("pack:2 [numa] core:64 pu:2", 3, {{0, 43}, {43, 43}, {86, 42}});
    check_synthetic("numa:4 core:3 pu:1", 5, {{0, 3}, {3, 3}, {6, 2}, {8, 2}, {10, 2}});
    check_synthetic("numa:2 core:8 pu:1", 5, {{0, 4}, {4, 3}, {7, 3}, {10, 3}, {13, 3}});
}

Test(topology, shares_larger_than_a_node_keep_to_a_package)
{
    check_synthetic("pack:2 numa:4 core:8 pu:1", 2, {{0, 32}, {32, 32}});
    check_synthetic("pack:2 numa:4 core:8 pu:1", 6,
                    {{0, 11}, {11, 11}, {22, 10}, {32, 11}, {43, 11}, {54, 10}});
}

Test(topology, a_restricted_machine_is_divided_by_what_is_allowed)
{
    const lks_core_t cores[] = {{.pu = 0},
                                {.pu = 1},
                                {.pu = 2},
                                {.pu = 3},
                                {.pu = 4},
                                {.pu = 5},
                                {.pu = 8, .node = 1},
                                {.pu = 9, .node = 1}};
    check_shares(cores, 8, 3, (const size_t[][2]){{0, 3}, {3, 3}, {6, 2}});
    check_shares(cores, 8, 4, (const size_t[][2]){{0, 2}, {2, 2}, {4, 2}, {6, 2}});
    check_shares(cores, 8, 2, (const size_t[][2]){{0, 4}, {4, 4}}); /* not 6 and 2 */
    check_shares(cores, 7, 2, (const size_t[][2]){{0, 3}, {3, 3}}); /* one core stays unused */
}

Test(topology, a_core_counts_once_with_smt)
{
    check_synthetic("pack:2 core:2 pu:2", 2, {{0, 2}, {2, 2}});
    check_synthetic("core:1 pu:2", 1, {{0, 1}});
}

/* Nobody gets fewer cores than by an even division, and nobody shares one, whatever the machine. */
Test(topology, no_share_loses_by_keeping_to_its_place)
{
    static const char *const machines[] = {"pack:2 numa:2 core:5 pu:1", "numa:3 core:7 pu:1",
                                           "pack:3 numa:2 core:3 pu:2", "pack:2 core:9 pu:1"};
    for (size_t m = 0; m < 4; m++) {
        lks_core_t cores[CORES_MAX];
        size_t count = cores_of(machines[m], cores);
        for (size_t shares = 1; shares <= count; shares++) {
            size_t next = 0;
            for (size_t i = 0; i < shares; i++) {
                lks_core_share_t share = lks_topology_share(cores, count, i, shares);
                cr_assert_geq(share.first, next);
                cr_assert_geq(share.count, count / shares, "%s: share %zu of %zu", machines[m], i,
                              shares);
                cr_assert(share.exclusive);
                next = share.first + share.count;
            }
            cr_assert_leq(next, count);
            cr_assert_gt(next + shares, count, "%s: %zu shares leave more unused than they are",
                         machines[m], shares);
        }
    }
}

/* --- GPUs ------------------------------------------------------------------------------------------ */

/* Parts of GPUs as (first, count, exclusive). `nodes` has a digit for each GPU's node, - for unknown. */
static void check_near(const lks_core_t *cores, size_t count, const char *nodes,
                       const size_t (*wanted)[3])
{
    int numbers[16] = {0};
    lks_core_share_t got[16];
    size_t gpus = strlen(nodes);
    for (size_t i = 0; i < gpus; i++) {
        numbers[i] = nodes[i] == '-' ? -1 : nodes[i] - '0';
    }
    lks_topology_near(cores, count, numbers, gpus, got);
    for (size_t i = 0; i < gpus; i++) {
        cr_assert_eq(got[i].first, wanted[i][0], "%s: GPU %zu begins at %zu", nodes, i,
                     got[i].first);
        cr_assert_eq(got[i].count, wanted[i][1], "%s: GPU %zu has %zu cores", nodes, i,
                     got[i].count);
        cr_assert_eq(got[i].exclusive, wanted[i][2] != 0, "%s: GPU %zu", nodes, i);
    }
}

#define check_gpus(synthetic, nodes, ...)                                                          \
    do {                                                                                           \
        lks_core_t cores_[CORES_MAX];                                                              \
        size_t count_ = cores_of(synthetic, cores_);                                               \
        check_near(cores_, count_, nodes, (const size_t[][3])__VA_ARGS__);                         \
    } while (0)

Test(topology_near, eight_gpus_divide_the_cores_of_their_four_nodes)
{
    check_gpus("pack:2 numa:2 core:16 pu:2", "00112233",
               {{0, 8, 1},
                {8, 8, 1},
                {16, 8, 1},
                {24, 8, 1},
                {32, 8, 1},
                {40, 8, 1},
                {48, 8, 1},
                {56, 8, 1}});
    check_gpus(
        "pack:2 numa:2 core:3 pu:2", "31203120",
        {{9, 2, 1}, {3, 2, 1}, {6, 2, 1}, {0, 2, 1}, {11, 1, 1}, {5, 1, 1}, {8, 1, 1}, {2, 1, 1}});
}

Test(topology_near, a_gpu_has_all_cores_of_its_node_and_no_other)
{
    check_gpus("numa:4 core:8 pu:1", "2", {{16, 8, 1}});
    check_gpus("numa:4 core:8 pu:1", "20", {{16, 8, 1}, {0, 8, 1}});
}

Test(topology_near, gpus_of_a_node_without_cores_join_the_emptiest)
{
    /* only cores of nodes 0 and 1 are allowed */
    static const lks_core_t cores[] = {
        {.pu = 0}, {.pu = 1}, {.pu = 2}, {.pu = 3}, {.pu = 8, .node = 1}, {.pu = 9, .node = 1}};
    check_near(cores, 6, "03", (const size_t[][3]){{0, 2, 1}, {2, 2, 1}});
    check_near(cores, 6, "30", (const size_t[][3]){{0, 2, 1}, {2, 2, 1}});
    check_near(cores, 6, "0123", (const size_t[][3]){{0, 2, 1}, {4, 2, 1}, {2, 1, 1}, {3, 1, 1}});
    check_near(cores, 4, "00112233", /* Slurm gave a part of one node */
               (const size_t[][3]){{0, 1, 0},
                                   {0, 1, 0},
                                   {1, 1, 0},
                                   {1, 1, 0},
                                   {2, 1, 0},
                                   {2, 1, 0},
                                   {3, 1, 0},
                                   {3, 1, 0}});
}

Test(topology_near, gpus_of_unknown_nodes_spread)
{
    check_gpus("numa:2 core:4 pu:1", "----", {{0, 2, 1}, {4, 2, 1}, {2, 2, 1}, {6, 2, 1}});
    check_gpus("core:4 pu:1", "--", {{0, 2, 1}, {2, 2, 1}});
}

Test(topology_near, gpus_beyond_the_cores_of_their_node_go_elsewhere)
{
    check_gpus("numa:2 core:2 pu:1", "000", {{0, 1, 1}, {1, 1, 1}, {2, 2, 1}});
}

Test(topology_near, more_gpus_than_cores_share_them)
{
    check_gpus("core:1 pu:2", "00", {{0, 1, 0}, {0, 1, 0}});
    check_gpus("numa:2 core:1 pu:2", "001", {{0, 1, 0}, {0, 1, 0}, {1, 1, 1}});
}

Test(topology_near, a_node_of_two_packages_is_divided_by_package)
{
    check_gpus("pack:2 core:4 pu:1", "000", {{0, 4, 1}, {4, 2, 1}, {6, 2, 1}});
    check_gpus("pack:2 core:4 pu:1", "00", {{0, 4, 1}, {4, 4, 1}});
}
