/* SPDX-License-Identifier: Apache-2.0 */
/* abort_state.h - whether a communicator was ended, and the first reason.
 * Threads: any call from any thread; the reason does not change once it can be read. */
#ifndef LOCKSTEP_COLLECTIVES_ABORT_STATE_H
#define LOCKSTEP_COLLECTIVES_ABORT_STATE_H

#include <lockstep/status.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef struct lks_abort_state {
    pthread_mutex_t mutex; /* held while the reason is written */
    _Atomic bool set;
    bool late; /* somebody did not come in time: whoever is missing has been waited for */
    char reason[LKS_ERROR_MESSAGE_MAX];
} lks_abort_state_t;

void lks_abort_state_init(lks_abort_state_t *state);
void lks_abort_state_fini(lks_abort_state_t *state);

/** Sets the reason, unless there is one. There is one when this returns. */
void lks_abort_state_set(lks_abort_state_t *state, const char *format, ...) LKS_PRINTF(2, 3);

/** The same, for a sentence that may be about somebody who did not come in time. */
void lks_abort_state_set_sentence(lks_abort_state_t *state, bool late, const char *sentence);

/** As lks_comm_abort: "aborted by rank 2: <reason>"; `reason` may be NULL. */
void lks_abort_state_set_by_rank(lks_abort_state_t *state, int rank, const char *reason);

/** Whether it is set, and somebody did not come in time. */
bool lks_abort_state_is_late(const lks_abort_state_t *state);

/** OK, or fails with ABORTED and "<what>: <reason>". */
LKS_NODISCARD lks_status_t lks_abort_state_check(const lks_abort_state_t *state, const char *what);

#endif
