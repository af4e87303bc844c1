/* SPDX-License-Identifier: Apache-2.0 */
/* barrier.c - arrivals are counted in one word that an abort freezes, so every round is decided once: it is
 * complete if and only if the count ever reached its end. Whoever waits looks at that word, never at the order
 * in which threads woke up. */
#include "core/thread.h"

#define ABORTED (UINT64_C(1) << 63)

void lks_barrier_init(lks_barrier_t *barrier, uint32_t count, uint32_t spin)
{
    *barrier = (lks_barrier_t){.count = count, .spin = spin};
}

bool lks_barrier_wait_for(lks_barrier_t *barrier, uint64_t timeout, void (*late)(void *context),
                          void *context)
{
    uint64_t before = atomic_load(&barrier->arrivals);
    do {
        if (before & ABORTED) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&barrier->arrivals, &before, before + 1));

    uint64_t complete = (before / barrier->count + 1) * barrier->count;
    if (before + 1 == complete) {
        lks_gate_advance(&barrier->gate);
        return true;
    }
    uint32_t spin = barrier->spin;
    uint64_t deadline =
        0; /* asked of the clock after the first spin, which is all that most waits need */
    for (;;) {
        /* The gate before the count: a change of the count that is not seen here still opens the gate. */
        uint32_t closed = atomic_load(&barrier->gate.value);
        uint64_t now = atomic_load(&barrier->arrivals);
        if ((now & ~ABORTED) >= complete) {
            return true;
        }
        if (now & ABORTED) {
            return false;
        }
        if (lks_gate_wait_until(&barrier->gate, closed, spin, deadline) != closed) {
            continue;
        }
        if (deadline > 0) { /* and past */
            late(context);
            timeout = UINT64_MAX;
        }
        spin = 0;
        deadline = lks_deadline_in(timeout);
    }
}

bool lks_barrier_wait(lks_barrier_t *barrier)
{
    return lks_barrier_wait_for(barrier, UINT64_MAX, NULL, NULL);
}

void lks_barrier_abort(lks_barrier_t *barrier)
{
    atomic_fetch_or(&barrier->arrivals, ABORTED);
    lks_gate_advance(&barrier->gate);
}
