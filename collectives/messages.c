/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/messages.h"
#include "collectives/fabric.h"

#include <stdlib.h>

enum { SLOTS = LKS_WINDOW_SLOTS, LINE = 64 };

/* In front of every partial. */
typedef struct head {
    _Alignas(LINE) lks_collective_t call;
} head_t;

/* One message on its way. */
typedef struct transfer {
    char *data;
    lks_mpi_request_t request;
    bool under_way;
} transfer_t;

/* What travels between us and one process, by slot. */
typedef struct peer {
    transfer_t partial_out[SLOTS], partial_in[SLOTS], result_out[SLOTS], result_in[SLOTS];
} peer_t;

struct lks_messages {
    const lks_fabric_t *fabric;
    int index;
    peer_t *peers; /* (process_count) */
    char *memory;
};

/* --- transfers ---------------------------------------------------------------------------------- */

enum { TAG_PARTIAL, TAG_RESULT, TAGS };

static int tag_of(const lks_messages_t *messages, int kind)
{
    return messages->index * TAGS + kind;
}

static lks_status_t start_send(const lks_messages_t *messages, int q, int kind, const void *data,
                               size_t nbytes, transfer_t *transfer)
{
    int code =
        messages->fabric->mpi->send(data, nbytes, q, tag_of(messages, kind), &transfer->request);
    transfer->under_way = code == 0;
    return lks_mpi_result(messages->fabric->mpi, code);
}

static lks_status_t start_receive(const lks_messages_t *messages, int q, int kind, size_t nbytes,
                                  transfer_t *transfer)
{
    int code = messages->fabric->mpi->receive(transfer->data, nbytes, q, tag_of(messages, kind),
                                              &transfer->request);
    transfer->under_way = code == 0;
    return lks_mpi_result(messages->fabric->mpi, code);
}

/* One that is not under way is over. */
static lks_status_t is_over(const lks_messages_t *messages, transfer_t *transfer, bool *over)
{
    size_t nbytes;
    *over = true;
    if (transfer->under_way) {
        LKS_TRY(lks_mpi_result(messages->fabric->mpi,
                               messages->fabric->mpi->test(&transfer->request, over, &nbytes)));
        transfer->under_way = !*over;
    }
    return LKS_OK;
}

/* --- partials ----------------------------------------------------------------------------------- */

void *lks_messages_partial_out(const lks_messages_t *messages, int q, int slot)
{
    return messages->peers[q].partial_out[slot].data + sizeof(head_t);
}

lks_status_t lks_messages_exchange_partials(lks_messages_t *messages, int q, int slot,
                                            const lks_collective_t *call, size_t nbytes)
{
    peer_t *peer = &messages->peers[q];
    transfer_t *out = &peer->partial_out[slot];
    ((head_t *)(void *)out->data)->call = *call;
    LKS_TRY(start_receive(messages, q, TAG_PARTIAL, sizeof(head_t) + messages->fabric->chunk,
                          &peer->partial_in[slot]));
    return start_send(messages, q, TAG_PARTIAL, out->data, sizeof(head_t) + nbytes, out);
}

lks_status_t lks_messages_partial_came(lks_messages_t *messages, int q, int slot, bool *came)
{
    return is_over(messages, &messages->peers[q].partial_in[slot], came);
}

const lks_collective_t *lks_messages_call(const lks_messages_t *messages, int q, int slot)
{
    return &((const head_t *)(const void *)messages->peers[q].partial_in[slot].data)->call;
}

const void *lks_messages_partial_in(const lks_messages_t *messages, int q, int slot)
{
    return messages->peers[q].partial_in[slot].data + sizeof(head_t);
}

/* --- results ------------------------------------------------------------------------------------ */

lks_status_t lks_messages_send_result(lks_messages_t *messages, int q, int slot, const void *data,
                                      size_t nbytes)
{
    return start_send(messages, q, TAG_RESULT, data, nbytes, &messages->peers[q].result_out[slot]);
}

lks_status_t lks_messages_receive_result(lks_messages_t *messages, int q, int slot)
{
    return start_receive(messages, q, TAG_RESULT, messages->fabric->chunk,
                         &messages->peers[q].result_in[slot]);
}

lks_status_t lks_messages_result_came(lks_messages_t *messages, int q, int slot, bool *came)
{
    return is_over(messages, &messages->peers[q].result_in[slot], came);
}

const void *lks_messages_result_in(const lks_messages_t *messages, int q, int slot)
{
    return messages->peers[q].result_in[slot].data;
}

/* --- both --------------------------------------------------------------------------------------- */

lks_status_t lks_messages_are_sent(lks_messages_t *messages, int slot, bool results, bool *sent)
{
    *sent = true;
    for (int q = 0; q < messages->fabric->process_count && *sent; q++) {
        peer_t *peer = &messages->peers[q];
        LKS_TRY(
            is_over(messages, results ? &peer->result_out[slot] : &peer->partial_out[slot], sent));
    }
    return LKS_OK;
}

bool lks_messages_awaits(const lks_messages_t *messages, int q, int slot)
{
    const peer_t *peer = &messages->peers[q];
    return peer->partial_in[slot].under_way || peer->result_in[slot].under_way;
}

/* --- life --------------------------------------------------------------------------------------- */

lks_status_t lks_messages_create(const lks_fabric_t *fabric, int index, lks_messages_t **out)
{
    size_t count = (size_t)fabric->process_count, room = sizeof(head_t) + fabric->chunk;
    lks_messages_t *messages = calloc(1, sizeof *messages);
    peer_t *peers = calloc(count, sizeof *peers);
    char *memory = aligned_alloc(LINE, count * 3 * SLOTS * room);
    if (!messages || !peers || !memory) {
        free(messages);
        free(peers);
        free(memory);
        return lks_fail(LKS_ERR_NO_MEMORY, "buffers between processes: out of memory");
    }
    *messages = (lks_messages_t){fabric, index, peers, memory};
    char *next = memory;
    for (size_t q = 0; q < count; q++) {
        for (int slot = 0; slot < SLOTS; slot++) {
            peers[q].partial_out[slot].data = next;
            peers[q].partial_in[slot].data = next + room;
            peers[q].result_in[slot].data = next + 2 * room;
            next += 3 * room;
        }
    }
    *out = messages;
    return LKS_OK;
}

void lks_messages_destroy(lks_messages_t *messages)
{
    if (messages) {
        free(messages->peers);
        free(messages->memory);
        free(messages);
    }
}
