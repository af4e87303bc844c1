/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/ranks.h"

#include "support/support.h"

#include <pthread.h>

typedef struct rank_thread {
    pthread_t id;
    lks_comm_t *comm;
    rank_fn_t run;
    void *context;
    lks_error_t error;
} rank_thread_t;

static void *rank_main(void *argument)
{
    rank_thread_t *thread = argument;
    thread->error.status = thread->run(thread->comm, thread->context);
    if (thread->error.status != LKS_OK) {
        thread->error = *lks_last_error();
        lks_comm_abort(thread->comm, thread->error.message);
    }
    lks_comm_destroy(thread->comm);
    return NULL;
}

void run_ranks(int world_size, const lks_comm_config_t *config, rank_fn_t run, void *context,
               lks_error_t errors[RANKS_MAX])
{
    lks_comm_t *comms[RANKS_MAX];
    rank_thread_t threads[RANKS_MAX] = {0};
    cr_assert(world_size <= RANKS_MAX);
    assert_ok(lks_comm_create_local(world_size, config, comms));
    for (int i = 0; i < world_size; i++) {
        threads[i] = (rank_thread_t){.comm = comms[i], .run = run, .context = context};
        cr_assert(pthread_create(&threads[i].id, NULL, rank_main, &threads[i]) == 0);
    }
    for (int i = 0; i < world_size; i++) {
        cr_assert(pthread_join(threads[i].id, NULL) == 0);
        errors[i] = threads[i].error;
    }
}

void run_ranks_ok(int world_size, rank_fn_t run, void *context)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(world_size, NULL, run, context, errors);
    for (int i = 0; i < world_size; i++) {
        cr_assert(errors[i].status == LKS_OK, "rank %d of %d: %s", i, world_size,
                  errors[i].message);
    }
}
