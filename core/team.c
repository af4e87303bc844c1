/* SPDX-License-Identifier: Apache-2.0 */
/* team.c - helpers that wait at a gate for the next job; the last one to finish it opens the caller's gate.
 * One job is in the team's own fields: the gates order its writing before its reading. */
#include "core/checked.h"
#include "core/thread.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct helper {
    lks_team_t *team;
    size_t index;
    lks_thread_t *thread;
} helper_t;

struct lks_team {
    size_t threads; /* the caller included */
    uint32_t spin;
    void (*on_start)(void *context, size_t index);
    void *start_context;
    void (*run)(void *context, size_t index, size_t threads); /* NULL: go home */
    void *context;
    lks_gate_t job, done;
    _Atomic size_t working; /* helpers not yet done with the job */
    helper_t helpers[];     /* (threads - 1) */
};

static void helper_main(void *argument)
{
    const helper_t *helper = argument;
    lks_team_t *team = helper->team;
    if (team->on_start) {
        team->on_start(team->start_context, helper->index);
    }
    for (uint32_t job = 0;;) {
        job = lks_gate_wait(&team->job, job, team->spin);
        if (!team->run) {
            return;
        }
        team->run(team->context, helper->index, team->threads);
        if (atomic_fetch_sub(&team->working, 1) == 1) {
            lks_gate_advance(&team->done);
        }
    }
}

/* Sends the first `started` helpers home and frees the team. */
static void team_end(lks_team_t *team, size_t started)
{
    team->run = NULL;
    lks_gate_advance(&team->job);
    for (size_t i = 0; i < started; i++) {
        lks_thread_join(team->helpers[i].thread);
    }
    free(team);
}

lks_status_t lks_team_create(size_t threads, uint32_t spin,
                             void (*on_start)(void *context, size_t index), void *context,
                             lks_team_t **out)
{
    size_t helpers = threads > 1 ? threads - 1 : 0;
    size_t nbytes;
    lks_team_t *team = NULL;
    if (lks_mul_size(helpers, sizeof(helper_t), &nbytes) &&
        lks_add_size(nbytes, sizeof *team, &nbytes)) {
        team = malloc(nbytes);
    }
    if (!team) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a team of %zu threads: out of memory", threads);
    }
    *team = (lks_team_t){
        .threads = helpers + 1, .spin = spin, .on_start = on_start, .start_context = context};
    for (size_t i = 0; i < helpers; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "lks-math-%zu", i + 1);
        team->helpers[i] = (helper_t){.team = team, .index = i + 1};
        lks_status_t status =
            lks_thread_create(name, helper_main, &team->helpers[i], &team->helpers[i].thread);
        if (status != LKS_OK) {
            team_end(team, i);
            return status;
        }
    }
    *out = team;
    return LKS_OK;
}

void lks_team_destroy(lks_team_t *team)
{
    if (team) {
        team_end(team, team->threads - 1);
    }
}

size_t lks_team_size(const lks_team_t *team)
{
    return team->threads;
}

void lks_team_run(lks_team_t *team, void (*run)(void *context, size_t index, size_t threads),
                  void *context)
{
    if (team->threads == 1) {
        run(context, 0, 1);
        return;
    }
    uint32_t done = atomic_load_explicit(&team->done.value, memory_order_relaxed);
    team->run = run;
    team->context = context;
    atomic_store_explicit(&team->working, team->threads - 1, memory_order_relaxed);
    lks_gate_advance(&team->job);
    run(context, 0, team->threads);
    (void)lks_gate_wait(&team->done, done, team->spin);
}
