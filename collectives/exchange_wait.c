/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_wait.c - how a rank waits for its peers, and what it says of those that do not come. */
#include "collectives/exchange_state.h"

#include <inttypes.h>
#include <sched.h>

static uint64_t counter(const lks_exchange_t *exchange, int local, lks_exchange_counter_t which)
{
    lks_exchange_slot_t *slot = &exchange->shared->slots[local];
    return atomic_load(which == LKS_EXCHANGE_POSTED ? &slot->posted : &slot->done);
}

uint64_t lks_exchange_reached(const lks_exchange_t *exchange, lks_exchange_counter_t which)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < exchange->comm->local_size; i++) {
        uint64_t value = counter(exchange, i, which);
        least = value < least ? value : least;
    }
    return least;
}

void lks_exchange_wait_for_work(const lks_exchange_t *exchange)
{
    for (int i = 0; i < exchange->comm->local_size; i++) {
        lks_exchange_slot_t *slot = &exchange->shared->slots[i];
        while (slot != lks_exchange_slot(exchange) && atomic_load(&slot->working)) {
            (void)sched_yield();
        }
    }
}

lks_status_t lks_exchange_leave(const lks_exchange_t *exchange)
{
    lks_exchange_wait_for_work(exchange);
    return lks_abort_state_check(&exchange->host->aborted, "gradient exchange");
}

static void end_late(const lks_exchange_t *exchange, lks_exchange_counter_t which, uint64_t wanted)
{
    lks_strbuf_t sentence = {0};
    int late = 0;
    size_t count = exchange->count ? exchange->count : 1;
    lks_strbuf_appendf(&sentence, "gradients of step %" PRIu64 ", bucket %" PRIu64 ": rank",
                       exchange->steps, (wanted - 1) % count);
    for (int i = 0; i < exchange->comm->local_size; i++) {
        if (counter(exchange, i, which) < wanted) {
            lks_strbuf_appendf(&sentence, "%s%d", late++ ? ", " : " ",
                               exchange->comm->local_first + i);
        }
    }
    lks_strbuf_appendf(&sentence, " did not come within %g s",
                       (double)exchange->host->timeout * 1e-9);
    lks_abort_state_set_sentence(&exchange->host->aborted, true, lks_strbuf_text(&sentence));
    lks_strbuf_fini(&sentence);
    exchange->comm->backend->abort(exchange->comm, NULL); /* wakes all; the reason is there */
}

/* Whether a rank that is behind is at work with other processes. It waits for them itself, and knows whom to name. */
static bool waits_for_others(const lks_exchange_t *exchange, lks_exchange_counter_t which,
                             uint64_t wanted)
{
    bool waits = false;
    for (int i = 0; i < exchange->comm->local_size && exchange->comm->processes > 1; i++) {
        waits |= counter(exchange, i, which) < wanted &&
                 atomic_load(&exchange->shared->slots[i].working);
    }
    return waits;
}

/* Sleeps until all ranks' counters have reached `wanted` or the job is aborted. This rank counts as a sleeper before it
 * looks, and whoever advances a counter looks for sleepers after that: one of them sees the other. */
static void sleep_until(const lks_exchange_t *exchange, lks_exchange_counter_t which,
                        uint64_t wanted)
{
    lks_gate_t *gate = &exchange->host->gate;
    uint64_t deadline = lks_deadline_in(exchange->host->timeout);
    bool patient = true;
    atomic_fetch_add(&gate->sleepers, 1);
    for (;;) {
        uint32_t closed = atomic_load(&gate->value);
        if (lks_exchange_reached(exchange, which) >= wanted || lks_exchange_aborted(exchange)) {
            break;
        }
        if (lks_gate_wait_until(gate, closed, 0, deadline) != closed) {
            continue;
        }
        if (patient && waits_for_others(exchange, which, wanted)) {
            deadline = lks_deadline_in(exchange->host->timeout);
            patient = false;
        } else {
            end_late(exchange, which, wanted);
        }
    }
    atomic_fetch_sub(&gate->sleepers, 1);
}

lks_status_t lks_exchange_wait(const lks_exchange_t *exchange, lks_exchange_counter_t which,
                               uint64_t wanted)
{
    for (uint32_t i = 0; i < exchange->host->spin; i++) {
        if (lks_exchange_reached(exchange, which) >= wanted) {
            return LKS_OK;
        }
        if (lks_exchange_aborted(
                exchange)) { /* perhaps by a peer that had all, and left: then so have we */
            break;
        }
        lks_pause();
    }
    sleep_until(exchange, which, wanted);
    return lks_exchange_reached(exchange, which) >= wanted ? LKS_OK : lks_exchange_leave(exchange);
}

void lks_exchange_tell(const lks_exchange_t *exchange)
{
    if (atomic_load(&exchange->host->gate.sleepers) > 0) {
        lks_gate_advance(&exchange->host->gate);
    }
}
