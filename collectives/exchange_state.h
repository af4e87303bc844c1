/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_state.h - what the sources of an exchange share: exchange.c (a step), exchange_each.c (a step without parts),
 * exchange_wait.c, exchange_open.c (its life and its buckets). */
#ifndef LOCKSTEP_COLLECTIVES_EXCHANGE_STATE_H
#define LOCKSTEP_COLLECTIVES_EXCHANGE_STATE_H

#include "collectives/backend.h"
#include "collectives/column.h"
#include "collectives/exchange.h"
#include "collectives/progress.h"

#include <pthread.h>

enum { LKS_EXCHANGE_LINE = 64 }; /* of the cache */

typedef struct lks_exchange_shared lks_exchange_shared_t;

/* What a rank shows its peers. */
typedef struct lks_exchange_slot {
    _Alignas(LKS_EXCHANGE_LINE) _Atomic uint64_t posted;
    _Alignas(LKS_EXCHANGE_LINE) _Atomic uint64_t done;
    _Atomic bool working; /* on the memory of peers */
    _Alignas(LKS_EXCHANGE_LINE) const lks_exchange_bucket_t *buckets;
    const lks_place_t *places; /* of buckets, where other processes see them */
    /* Where each reduces all: buckets, one behind the other, by the parity of the step. */
    _Alignas(LKS_EXCHANGE_LINE) unsigned char copies[2][LKS_EXCHANGE_EACH_MOST];
} lks_exchange_slot_t;

/* Elements of a bucket. */
typedef struct lks_exchange_part {
    lks_exchange_t *exchange;
    size_t bucket, first, count;
} lks_exchange_part_t;

struct lks_exchange {
    lks_comm_t *comm;
    lks_progress_t *progress; /* NULL: nothing travels as messages */
    pthread_mutex_t looking;  /* with it: who changes anything below, but `posted`, has this */
    lks_comm_host_t *host;
    lks_exchange_config_t config;
    int divisor;
    lks_exchange_bucket_t *buckets; /* (count) */
    lks_place_t *places;            /* (count) */
    size_t count, copied;           /* bytes of this step's buckets that are copied, with `each` */
    uint64_t steps;
    uint64_t posted, done; /* as in this rank's slot */
    lks_exchange_shared_t *shared;
    const void **sources;      /* (ranks), scratch of a reduction */
    void **targets;            /* (ranks) */
    lks_column_t *column;      /* NULL: alone in the job, or without a part of it */
    lks_block_t *blocks;       /* (processes) */
    void **views;              /* (world_size) */
    lks_collective_t call;     /* the bucket that is under way in the column */
    lks_exchange_part_t *part; /* likewise */
    bool under_way;
    uint64_t sequence;         /* buckets before set_buckets was called last */
    _Atomic uint64_t *counter; /* of buckets, which other processes see; NULL without any */
    lks_trace_t *trace;
    lks_trace_row_t *row;
    const char **spans; /* (count), with a trace */
    bool timing;
    lks_exchange_times_t times;
};

struct lks_exchange_shared {
    _Atomic int references;
    lks_exchange_slot_t slots[]; /* (ranks of the process) */
};

static inline lks_exchange_slot_t *lks_exchange_slot(const lks_exchange_t *exchange)
{
    return &exchange->shared->slots[exchange->comm->rank - exchange->comm->local_first];
}

/* Bytes of a copy: whole cache lines. */
static inline size_t lks_exchange_room(const lks_exchange_bucket_t *bucket)
{
    size_t nbytes = bucket->count * lks_dtype_size(bucket->dtype);
    return (nbytes + LKS_EXCHANGE_LINE - 1) / LKS_EXCHANGE_LINE * LKS_EXCHANGE_LINE;
}

/* Nanoseconds; 0 where nobody asks. */
static inline uint64_t lks_exchange_clock(const lks_exchange_t *exchange)
{
    return exchange->timing ? lks_now_ns() : 0;
}

static inline bool lks_exchange_aborted(const lks_exchange_t *exchange)
{
    return atomic_load(&exchange->host->aborted.set);
}

/* --- exchange_wait.c ---------------------------------------------------------------------------- */

typedef enum { LKS_EXCHANGE_POSTED, LKS_EXCHANGE_DONE } lks_exchange_counter_t;

/** What the counters of all ranks of this process have reached. */
uint64_t lks_exchange_reached(const lks_exchange_t *exchange, lks_exchange_counter_t which);

/** Waits until that is `wanted`. Errors: ABORTED. */
LKS_NODISCARD lks_status_t lks_exchange_wait(const lks_exchange_t *exchange,
                                             lks_exchange_counter_t which, uint64_t wanted);

/** Sleepers look again. */
void lks_exchange_tell(const lks_exchange_t *exchange);

/** The job is aborted: returns when nobody is at work on our memory; leave, with ABORTED. */
void lks_exchange_wait_for_work(const lks_exchange_t *exchange);
LKS_NODISCARD lks_status_t lks_exchange_leave(const lks_exchange_t *exchange);

/* --- exchange.c --------------------------------------------------------------------------------- */

/** Piece `index` of `threads` of a part (`job`), from exchange->sources to its targets or to take. */
void lks_exchange_reduce(void *job, size_t index, size_t threads);

/** In the trace: a bucket that was begun at `start`. */
void lks_exchange_record(const lks_exchange_t *exchange, size_t bucket, int64_t start);

/** Who changes the exchange has its lock, where a thread looks after messages. */
void lks_exchange_lock(lks_exchange_t *exchange);
void lks_exchange_unlock(lks_exchange_t *exchange);

/** What that thread does: advances what can be advanced. Whether more is to come. */
bool lks_exchange_look(void *exchange);

/** For a trace, after other buckets. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_exchange_name_spans(lks_exchange_t *exchange);

/* --- exchange_each.c: post and finish where each rank reduces all ------------------------------- */

LKS_NODISCARD lks_status_t lks_exchange_post_each(lks_exchange_t *exchange);
LKS_NODISCARD lks_status_t lks_exchange_finish_each(lks_exchange_t *exchange);

#endif
