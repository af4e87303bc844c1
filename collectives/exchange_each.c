/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_each.c - few gradients: a rank posts a copy of its own, and reduces all of everybody's for itself. Nobody waits for
 * parts that others do, and nobody writes what others have in their caches. The operations and their order are the same, and so
 * are the bits. */
#include "collectives/exchange_state.h"

#include <string.h>

/* A peer may read a copy until it has posted the next step, and writes the one after that only then. */
static unsigned char *copy_at(const lks_exchange_t *exchange, lks_exchange_slot_t *slot,
                              size_t offset)
{
    return slot->copies[exchange->steps % 2] + offset;
}

static void copy_bucket(lks_exchange_t *exchange)
{
    const lks_exchange_bucket_t *bucket = &exchange->buckets[exchange->posted % exchange->count];
    memcpy(copy_at(exchange, lks_exchange_slot(exchange), exchange->copied), bucket->data,
           bucket->count * lks_dtype_size(bucket->dtype));
    exchange->copied += lks_exchange_room(bucket);
}

/* All of a bucket, whose copies are `offset` bytes behind the first one's. */
static void reduce_each(lks_exchange_t *exchange, size_t bucket, size_t offset)
{
    const lks_exchange_bucket_t *own = &exchange->buckets[bucket];
    for (int i = 0; i < exchange->comm->local_size; i++) {
        exchange->sources[i] = copy_at(exchange, &exchange->shared->slots[i], offset);
        exchange->targets[i] = own->data;
    }
    lks_exchange_part_t all = {exchange, bucket, 0, own->count};
    lks_exchange_reduce(&all, 0, 1);
}

/* Peers that have seen the last one may leave before this rank returns: that is not its concern. */
lks_status_t lks_exchange_post_each(lks_exchange_t *exchange)
{
    if (lks_exchange_aborted(exchange)) {
        return lks_exchange_leave(exchange);
    }
    uint64_t start = lks_exchange_clock(exchange);
    copy_bucket(exchange);
    exchange->times.hidden += lks_exchange_clock(exchange) - start;
    atomic_store(&lks_exchange_slot(exchange)->posted, ++exchange->posted);
    lks_exchange_tell(exchange);
    return LKS_OK;
}

lks_status_t lks_exchange_finish_each(lks_exchange_t *exchange)
{
    size_t offset = 0;
    while (exchange->done < exchange->posted) {
        size_t bucket = (size_t)(exchange->done % exchange->count);
        int64_t start = lks_trace_begin(exchange->row);
        LKS_TRY(lks_exchange_wait(exchange, LKS_EXCHANGE_POSTED, exchange->done + 1));
        lks_trace_end(exchange->row, "wait", start, NULL, 0);
        start = lks_trace_begin(exchange->row);
        reduce_each(exchange, bucket, offset);
        if (exchange->row) {
            lks_exchange_record(exchange, bucket, start);
        }
        offset += lks_exchange_room(&exchange->buckets[bucket]);
        exchange->done++;
    }
    exchange->copied = 0;
    exchange->steps++;
    return LKS_OK;
}
