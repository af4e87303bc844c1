/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_open.c - the life of an exchange, and what its ranks must agree on. */
#include "collectives/exchange_state.h"
#include "core/fnv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- life --------------------------------------------------------------------------------------- */

/* The pointer of the first rank of this process, for all of them. */
static lks_status_t share(lks_comm_t *comm, void *mine, void **out)
{
    int64_t address = (int64_t)(intptr_t)mine;
    int64_t *all = malloc((size_t)comm->world_size * sizeof *all);
    if (!all) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
    }
    lks_status_t status = lks_comm_all_gather(comm, &address, all, 1, LKS_DTYPE_I64, NULL);
    if (status == LKS_OK) {
        *out = (void *)(intptr_t)all[comm->local_first];
    }
    free(all);
    return status;
}

/* The first rank of a process makes what its ranks share. */
static lks_status_t open_shared(lks_exchange_t *exchange)
{
    lks_comm_t *comm = exchange->comm;
    size_t nbytes =
        sizeof(lks_exchange_shared_t) + (size_t)comm->local_size * sizeof(lks_exchange_slot_t);
    lks_exchange_shared_t *made = NULL;
    if (comm->rank == comm->local_first && (made = aligned_alloc(LKS_EXCHANGE_LINE, nbytes))) {
        memset(made, 0, nbytes);
        atomic_init(&made->references, comm->local_size);
    }
    void *shared = NULL;
    lks_status_t status = share(comm, made, &shared);
    if (status != LKS_OK) {
        free(made);
        return status;
    }
    exchange->shared = shared;
    return shared ? LKS_OK : lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
}

static lks_status_t open_column(lks_exchange_t *exchange)
{
    lks_comm_t *comm = exchange->comm;
    exchange->column = comm->backend->exchange(comm);
    exchange->counter = comm->backend->exchange_counter(comm);
    exchange->blocks = calloc((size_t)comm->processes, sizeof *exchange->blocks);
    exchange->views = calloc((size_t)comm->world_size, sizeof *exchange->views);
    exchange->part = calloc(1, sizeof *exchange->part);
    return exchange->blocks && exchange->views && exchange->part
               ? LKS_OK
               : lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
}

lks_status_t lks_exchange_create(lks_comm_t *comm, const lks_exchange_config_t *config,
                                 lks_exchange_t **out)
{
    if (!comm->backend->host) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "a gradient exchange: the %s backend has none",
                        comm->backend->name);
    }
    if (config->each && comm->processes > 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a gradient exchange of each rank, of %d processes",
                        comm->processes);
    }
    size_t ranks = (size_t)comm->local_size;
    lks_exchange_t *exchange = calloc(1, sizeof *exchange);
    void **pointers = calloc(2 * ranks, sizeof *pointers);
    if (!exchange || !pointers) {
        free(exchange);
        free(pointers);
        return lks_fail(LKS_ERR_NO_MEMORY, "a gradient exchange: out of memory");
    }
    *exchange = (lks_exchange_t){.comm = comm,
                                 .host = comm->backend->host(comm),
                                 .config = *config,
                                 .divisor = comm->world_size,
                                 .sources = (const void **)pointers,
                                 .targets = pointers + ranks};
    pthread_mutex_init(&exchange->looking, NULL);
    lks_status_t status = comm->processes > 1 ? open_column(exchange) : LKS_OK;
    if (status == LKS_OK) {
        status = open_shared(exchange);
    }
    if (status == LKS_OK && exchange->column && lks_column_has_messages(exchange->column)) {
        status = lks_progress_create(lks_exchange_look, exchange, &exchange->progress);
    }
    if (status != LKS_OK) {
        lks_exchange_destroy(exchange);
        return status;
    }
    *out = exchange;
    return LKS_OK;
}

/* Its owner gives it up because something failed, most likely. */
static void abort_step(lks_exchange_t *exchange)
{
    const lks_error_t *error = lks_last_error();
    char reason[LKS_ERROR_MESSAGE_MAX + 64];
    (void)snprintf(reason, sizeof reason, "it left in the middle of a step%s%s",
                   error->status == LKS_OK ? "" : ", its last error: ", error->message);
    lks_comm_abort(exchange->comm, reason);
}

void lks_exchange_destroy(lks_exchange_t *exchange)
{
    if (!exchange) {
        return;
    }
    lks_progress_destroy(exchange->progress);
    pthread_mutex_destroy(&exchange->looking);
    lks_exchange_shared_t *shared = exchange->shared;
    if (shared) {
        if (exchange->count > 0 &&
            (exchange->posted % exchange->count != 0 || exchange->done < exchange->posted)) {
            abort_step(exchange);
        }
        if (lks_exchange_aborted(exchange)) {
            lks_exchange_wait_for_work(exchange);
        }
        if (atomic_fetch_sub(&shared->references, 1) == 1) {
            free(shared);
        }
    }
    free(exchange->buckets);
    free(exchange->places);
    free(exchange->spans);
    free(exchange->blocks);
    free(exchange->views);
    free(exchange->part);
    free(exchange->sources);
    free(exchange);
}

/* --- buckets ------------------------------------------------------------------------------------ */

/* Of what ranks must agree on. */
static uint64_t digest(const lks_exchange_bucket_t *buckets, size_t count)
{
    uint64_t hash = LKS_FNV_START;
    for (size_t i = 0; i < count; i++) {
        const uint64_t words[] = {buckets[i].count, (uint64_t)buckets[i].dtype, buckets[i].reduced};
        hash = lks_fnv(hash, words, sizeof words);
    }
    return hash;
}

static lks_status_t check_agreement(lks_exchange_t *exchange, const lks_exchange_bucket_t *buckets,
                                    size_t count)
{
    bool agree;
    LKS_TRY(lks_comm_agree(exchange->comm, digest(buckets, count), &agree));
    if (!agree) {
        lks_comm_abort(exchange->comm, "gradient buckets differ between ranks");
        return lks_abort_state_check(&exchange->host->aborted, "gradient exchange");
    }
    return LKS_OK;
}

void lks_exchange_set_take(lks_exchange_t *exchange,
                           void (*take)(void *context, size_t bucket, size_t first, size_t count,
                                        const void *numbers))
{
    exchange->config.take = take;
}

void lks_exchange_set_divisor(lks_exchange_t *exchange, int divisor)
{
    exchange->divisor = divisor;
}

/* Both arrays are the exchange's from here on. */
static lks_status_t take_over(lks_exchange_t *exchange, lks_exchange_bucket_t *buckets,
                              lks_place_t *places, size_t count)
{
    free(exchange->buckets);
    free(exchange->places);
    exchange->buckets = buckets;
    exchange->places = places;
    exchange->count = count;
    exchange->sequence += exchange->posted;
    exchange->posted = exchange->done = 0;
    lks_exchange_slot_t *slot = lks_exchange_slot(exchange);
    slot->buckets = buckets;
    slot->places = places;
    atomic_store(&slot->posted, 0);
    atomic_store(&slot->done, 0);
    return exchange->row ? lks_exchange_name_spans(exchange) : LKS_OK;
}

static lks_status_t check_room(const lks_exchange_t *exchange, const lks_exchange_bucket_t *buckets,
                               size_t count)
{
    size_t room = 0;
    for (size_t i = 0; i < count && room <= LKS_EXCHANGE_EACH_MOST; i++) {
        room += lks_exchange_room(&buckets[i]);
    }
    return exchange->config.each && room > LKS_EXCHANGE_EACH_MOST
               ? lks_fail(LKS_ERR_INVALID_ARG, "gradient buckets of over %d bytes for each rank",
                          LKS_EXCHANGE_EACH_MOST)
               : LKS_OK;
}

lks_status_t lks_exchange_set_buckets(lks_exchange_t *exchange,
                                      const lks_exchange_bucket_t *buckets, size_t count)
{
    LKS_TRY(check_room(exchange, buckets, count));
    lks_exchange_bucket_t *copy = calloc(count ? count : 1, sizeof *copy);
    lks_place_t *places = calloc(count ? count : 1, sizeof *places);
    if (!copy || !places) {
        free(copy);
        free(places);
        return lks_fail(LKS_ERR_NO_MEMORY, "%zu gradient buckets: out of memory", count);
    }
    memcpy(copy, buckets, count * sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        size_t nbytes = buckets[i].count * lks_dtype_size(buckets[i].dtype);
        places[i] = lks_comm_place(exchange->comm, buckets[i].data, nbytes);
    }
    lks_status_t status = check_agreement(exchange, buckets, count);
    if (status != LKS_OK) {
        free(copy);
        free(places);
        return status;
    }
    lks_exchange_lock(exchange);
    status = take_over(exchange, copy, places, count);
    lks_exchange_unlock(exchange);
    return status == LKS_OK ? lks_comm_barrier(exchange->comm) : status;
}
