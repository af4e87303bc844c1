/* SPDX-License-Identifier: Apache-2.0 */
/* collective.c - what messages call a collective. */
#include "collectives/backend.h"
#include "collectives/reduce.h"

#include <stdio.h>

#define COLLECTIVE_NAME(id, name) [id] = name,
static const char *const names[] = {LKS_COLLECTIVE_LIST(COLLECTIVE_NAME)};
#undef COLLECTIVE_NAME

const char *lks_collective_name(lks_collective_kind_t kind)
{
    return names[kind];
}

const char *lks_collective_format(char *text, size_t size, const lks_collective_t *call)
{
    const char *name = names[call->kind], *dtype = lks_dtype_name(call->dtype);
    switch (call->kind) {
    case LKS_COLLECTIVE_BARRIER: (void)snprintf(text, size, "%s", name); break;
    case LKS_COLLECTIVE_ALL_GATHER:
        (void)snprintf(text, size, "%s of %zu %s", name, call->count, dtype);
        break;
    case LKS_COLLECTIVE_BROADCAST:
        (void)snprintf(text, size, "%s of %zu %s (root %d)", name, call->count, dtype, call->root);
        break;
    default:
        (void)snprintf(text, size, "%s of %zu %s (%s)", name, call->count, dtype,
                       lks_reduce_op_name(call->op));
        break;
    }
    return text;
}
