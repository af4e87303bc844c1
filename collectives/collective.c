/* SPDX-License-Identifier: Apache-2.0 */
/* collective.c - what messages call a collective, and the sentences about ranks that did not do the same. */
#include "collectives/backend.h"
#include "collectives/reduce.h"

#include <inttypes.h>
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

bool lks_collective_same(const lks_collective_t *a, const lks_collective_t *b)
{
    return a->kind == b->kind && a->dtype == b->dtype && a->op == b->op && a->root == b->root &&
           a->count == b->count;
}

void lks_collective_describe_mismatch(const lks_collective_round_t *round, lks_strbuf_t *out)
{
    char what[128];
    const lks_collective_t *first = round->called(round->context, 0);
    lks_strbuf_appendf(out, "collective %" PRIu64 ": rank %d called %s", round->number,
                       round->first_rank, lks_collective_format(what, sizeof what, first));
    for (int i = 1; i < round->world_size; i++) {
        const lks_collective_t *other = round->called(round->context, i);
        if (!lks_collective_same(first, other)) {
            lks_strbuf_appendf(out, ", rank %d called %s", round->first_rank + i,
                               lks_collective_format(what, sizeof what, other));
        }
    }
}

void lks_collective_describe_late(const lks_collective_round_t *round, const lks_collective_t *mine,
                                  uint64_t timeout, lks_strbuf_t *out)
{
    char what[128];
    int late = 0;
    lks_strbuf_appendf(out, "collective %" PRIu64 ", %s: rank", round->number,
                       lks_collective_format(what, sizeof what, mine));
    for (int i = 0; i < round->world_size; i++) {
        if (!round->called(round->context, i)) {
            lks_strbuf_appendf(out, "%s%d", late++ ? ", " : " ", round->first_rank + i);
        }
    }
    lks_strbuf_appendf(out, " did not come within %g s", (double)timeout * 1e-9);
}
