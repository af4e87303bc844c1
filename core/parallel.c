/* SPDX-License-Identifier: Apache-2.0 */
/* parallel.c - see parallel.h. */
#include "core/parallel.h"
#include "core/thread.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define HELPERS_MAX 255

typedef struct loop {
    size_t count;
    _Atomic size_t next;
    void (*job)(void *context, size_t index);
    void *context;
} loop_t;

size_t lks_allowed_cores(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
        return (size_t)CPU_COUNT(&allowed);
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than a cpu_set_t holds */
    return online > 0 ? (size_t)online : 1;
}

static void work(void *context)
{
    loop_t *loop = context;
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&loop->next, 1, memory_order_relaxed);
        if (index >= loop->count) {
            return;
        }
        loop->job(loop->context, index);
    }
}

void lks_parallel_for(size_t threads, size_t count, void (*job)(void *context, size_t index),
                      void *context)
{
    loop_t loop = {.count = count, .job = job, .context = context};
    lks_thread_t *helpers[HELPERS_MAX];
    size_t wanted = threads < count ? threads : count, started = 0;
    while (started + 1 < wanted && started < HELPERS_MAX) {
        char name[32];
        (void)snprintf(name, sizeof name, "lks-loop-%zu", started + 1);
        if (lks_thread_create(name, work, &loop, &helpers[started]) != LKS_OK) {
            break;
        }
        started++;
    }
    work(&loop);
    while (started > 0) {
        lks_thread_join(helpers[--started]);
    }
}
