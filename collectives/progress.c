/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/progress.h"
#include "core/thread.h"

#include <stdlib.h>
#include <time.h>

struct lks_progress {
    bool (*look)(void *context);
    void *context;
    lks_gate_t gate; /* advances when there is something to look after, and at the end */
    _Atomic bool stop;
    lks_thread_t *thread;
};

/* Between two looks the core is the rank's. */
static void doze(void)
{
    const struct timespec pause = {.tv_nsec = 50000};
    (void)nanosleep(&pause, NULL);
}

static void run(void *context)
{
    lks_progress_t *progress = context;
    for (;;) {
        uint32_t seen = atomic_load(&progress->gate.value);
        if (atomic_load(&progress->stop)) {
            return;
        }
        if (progress->look(progress->context)) {
            doze();
        } else {
            (void)lks_gate_wait(&progress->gate, seen, 0);
        }
    }
}

lks_status_t lks_progress_create(bool (*look)(void *context), void *context, lks_progress_t **out)
{
    lks_progress_t *progress = calloc(1, sizeof *progress);
    if (!progress) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a thread for messages: out of memory");
    }
    progress->look = look;
    progress->context = context;
    lks_status_t status = lks_thread_create("messages", run, progress, &progress->thread);
    if (status != LKS_OK) {
        free(progress);
        return status;
    }
    *out = progress;
    return LKS_OK;
}

void lks_progress_wake(lks_progress_t *progress)
{
    lks_gate_advance(&progress->gate);
}

void lks_progress_destroy(lks_progress_t *progress)
{
    if (progress) {
        atomic_store(&progress->stop, true);
        lks_gate_advance(&progress->gate);
        lks_thread_join(progress->thread);
        free(progress);
    }
}
