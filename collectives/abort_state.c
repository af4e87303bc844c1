/* SPDX-License-Identifier: Apache-2.0 */
/* abort_state.c - the first reason wins; readers need no lock because it is written before `set`. */
#include "collectives/abort_state.h"

#include <stdarg.h>
#include <stdio.h>

void lks_abort_state_init(lks_abort_state_t *state)
{
    (void)pthread_mutex_init(&state->mutex, NULL);
    atomic_init(&state->set, false);
    state->reason[0] = '\0';
    state->late = false;
}

void lks_abort_state_fini(lks_abort_state_t *state)
{
    (void)pthread_mutex_destroy(&state->mutex);
}

void lks_abort_state_set_sentence(lks_abort_state_t *state, bool late, const char *sentence)
{
    (void)pthread_mutex_lock(&state->mutex);
    if (!atomic_load_explicit(&state->set, memory_order_relaxed)) {
        (void)snprintf(state->reason, sizeof state->reason, "%s", sentence);
        state->late = late;
        atomic_store_explicit(&state->set, true, memory_order_release);
    }
    (void)pthread_mutex_unlock(&state->mutex);
}

void lks_abort_state_set(lks_abort_state_t *state, const char *format, ...)
{
    char reason[LKS_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    lks_abort_state_set_sentence(state, false, reason);
}

void lks_abort_state_set_by_rank(lks_abort_state_t *state, int rank, const char *reason)
{
    lks_abort_state_set(state, "aborted by rank %d%s%s", rank, reason ? ": " : "",
                        reason ? reason : "");
}

bool lks_abort_state_is_late(const lks_abort_state_t *state)
{
    return atomic_load_explicit(&state->set, memory_order_acquire) && state->late;
}

lks_status_t lks_abort_state_check(const lks_abort_state_t *state, const char *what)
{
    if (atomic_load_explicit(&state->set, memory_order_acquire)) {
        return lks_fail(LKS_ERR_ABORTED, "%s: %s", what, state->reason);
    }
    return LKS_OK;
}
