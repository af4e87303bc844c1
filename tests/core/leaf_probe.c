/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_probe.c - the smallest leaf library: its table is one number, PROBE_PLACE, which says where it lies. */
#include <lockstep/api.h>
#include <stddef.h>

LKS_API const void *lks_leaf_probe(int version);

const void *lks_leaf_probe(int version)
{
    static const int place = PROBE_PLACE;
    return version == 3 ? &place : NULL;
}
