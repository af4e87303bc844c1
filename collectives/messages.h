/* SPDX-License-Identifier: Apache-2.0 */
/* messages.h - how a column's chunks travel to and from processes of other nodes: partial sums with what was called in front of
 * them, and results. Each process has LKS_WINDOW_SLOTS places for either on their way; whoever uses a slot again knows that it
 * is free (column.c), but for what is still being sent. Nothing here waits. */
#ifndef LOCKSTEP_COLLECTIVES_MESSAGES_H
#define LOCKSTEP_COLLECTIVES_MESSAGES_H

#include "collectives/column.h"

typedef struct lks_messages lks_messages_t;

/** Of column `index`. `fabric` is borrowed. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_messages_create(const lks_fabric_t *fabric, int index,
                                               lks_messages_t **out);
/** NULL does nothing. */
void lks_messages_destroy(lks_messages_t *messages);

/** Where a partial for process q is put, fabric->chunk bytes. */
void *lks_messages_partial_out(const lks_messages_t *messages, int q, int slot);

/** Sends `nbytes` that were put there, and begins to receive q's. Errors here and below: COMM. */
LKS_NODISCARD lks_status_t lks_messages_exchange_partials(lks_messages_t *messages, int q, int slot,
                                                          const lks_collective_t *call,
                                                          size_t nbytes);
LKS_NODISCARD lks_status_t lks_messages_partial_came(lks_messages_t *messages, int q, int slot,
                                                     bool *came);
/** What came: q's call, and its partial. */
const lks_collective_t *lks_messages_call(const lks_messages_t *messages, int q, int slot);
const void *lks_messages_partial_in(const lks_messages_t *messages, int q, int slot);

/** `data` stays as it is until lks_messages_are_sent says that it is. */
LKS_NODISCARD lks_status_t lks_messages_send_result(lks_messages_t *messages, int q, int slot,
                                                    const void *data, size_t nbytes);
LKS_NODISCARD lks_status_t lks_messages_receive_result(lks_messages_t *messages, int q, int slot);
LKS_NODISCARD lks_status_t lks_messages_result_came(lks_messages_t *messages, int q, int slot,
                                                    bool *came);
const void *lks_messages_result_in(const lks_messages_t *messages, int q, int slot);

/** Whether partials, or results, of a slot are out to all processes. */
LKS_NODISCARD lks_status_t lks_messages_are_sent(lks_messages_t *messages, int slot, bool results,
                                                 bool *sent);

/** Whether something of q is still to come in this slot, as far as was looked. */
bool lks_messages_awaits(const lks_messages_t *messages, int q, int slot);

#endif
