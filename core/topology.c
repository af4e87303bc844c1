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

/* --- host devices: even division, and places that it should respect ------------------------------- */

static lks_core_share_t even_share(size_t count, size_t share, size_t shares)
{
    if (shares > count) {
        return (lks_core_share_t){.first = share * count / shares, .count = 1};
    }
    size_t each = count / shares, larger = count % shares; /* the first `larger` get one more */
    return (lks_core_share_t){
        .first = share * each + (share < larger ? share : larger),
        .count = each + (share < larger ? 1 : 0),
        .exclusive = true,
    };
}

typedef bool same_place_t(const lks_core_t *a, const lks_core_t *b);

static bool same_node(const lks_core_t *a, const lks_core_t *b)
{
    return a->node == b->node && a->package == b->package;
}

static bool same_package(const lks_core_t *a, const lks_core_t *b)
{
    return a->package == b->package;
}

/* Behind the last of the cores that are in one place with cores[first]. */
static size_t place_end(const lks_core_t *cores, size_t count, size_t first, same_place_t *same)
{
    size_t end = first + 1;
    while (end < count && same(&cores[first], &cores[end])) {
        end++;
    }
    return end;
}

/* How many shares have their middle before core `at`: (2 share + 1) * count / (2 shares) < at. */
static size_t shares_before(size_t count, size_t shares, size_t at)
{
    return (2 * shares * at + count - 1) / (2 * count);
}

/* Sets *out to the part of `share` when it keeps to its place. Returns whether all can do so without loss. */
static bool share_in_place(const lks_core_t *cores, size_t count, size_t share, size_t shares,
                           same_place_t *same, lks_core_share_t *out)
{
    for (size_t first = 0, end; first < count; first = end) {
        end = place_end(cores, count, first, same);
        size_t before = shares_before(count, shares, first);
        size_t here = shares_before(count, shares, end) - before;
        if (here > 0 && (end - first) / here < count / shares) {
            return false;
        }
        if (share >= before && share < before + here) {
            *out = even_share(end - first, share - before, here);
            out->first += first;
        }
    }
    return true;
}

lks_core_share_t lks_topology_share(const lks_core_t *cores, size_t count, size_t share,
                                    size_t shares)
{
    lks_core_share_t in_place;
    if (shares <= count && (share_in_place(cores, count, share, shares, same_node, &in_place) ||
                            share_in_place(cores, count, share, shares, same_package, &in_place))) {
        return in_place;
    }
    return even_share(count, share, shares);
}

/* --- GPUs ------------------------------------------------------------------------------------------ */

static bool same_memory(const lks_core_t *a, const lks_core_t *b)
{
    return a->node == b->node;
}

/* Until the end `out` holds the whole node that a GPU has joined; count 0: none yet. */
static size_t gpus_on(const lks_core_share_t *out, size_t gpus, size_t first)
{
    size_t found = 0;
    for (size_t i = 0; i < gpus; i++) {
        found += out[i].count > 0 && out[i].first == first;
    }
    return found;
}

static lks_core_share_t own_node(const lks_core_t *cores, size_t count, int node,
                                 const lks_core_share_t *out, size_t gpus)
{
    for (size_t first = 0, end; first < count; first = end) {
        end = place_end(cores, count, first, same_memory);
        if (node >= 0 && cores[first].node == (unsigned)node &&
            gpus_on(out, gpus, first) < end - first) {
            return (lks_core_share_t){.first = first, .count = end - first};
        }
    }
    return (lks_core_share_t){0};
}

static lks_core_share_t emptiest_node(const lks_core_t *cores, size_t count,
                                      const lks_core_share_t *out, size_t gpus)
{
    lks_core_share_t best = {0};
    size_t best_users = 1;
    for (size_t first = 0, end; first < count; first = end) {
        end = place_end(cores, count, first, same_memory);
        size_t users = gpus_on(out, gpus, first) + 1;
        if ((end - first) * best_users > best.count * users) {
            best = (lks_core_share_t){.first = first, .count = end - first};
            best_users = users;
        }
    }
    return best;
}

void lks_topology_near(const lks_core_t *cores, size_t count, const int *nodes, size_t gpus,
                       lks_core_share_t *out)
{
    for (size_t i = 0; i < gpus; i++) {
        out[i] = own_node(cores, count, nodes[i], out, i);
    }
    for (size_t i = 0; i < gpus; i++) {
        if (out[i].count == 0) {
            out[i] = emptiest_node(cores, count, out, gpus);
        }
    }
    for (size_t first = 0, end; first < count; first = end) {
        end = place_end(cores, count, first, same_memory);
        size_t here = gpus_on(out, gpus, first), rank = 0;
        for (size_t i = 0; i < gpus; i++) {
            if (out[i].first == first) { /* parts of nodes before this one begin before it */
                out[i] = lks_topology_share(cores + first, end - first, rank++, here);
                out[i].first += first;
            }
        }
    }
}
