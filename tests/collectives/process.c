/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/process.h"

#include <pthread.h>
#include <stdio.h>

typedef struct rank {
    pthread_t thread;
    lks_comm_t *comm;
    rank_fn_t run;
    void *context;
    lks_status_t status;
} rank_t;

static void *rank_main(void *argument)
{
    rank_t *rank = argument;
    rank->status = rank->run(rank->comm, rank->context);
    if (rank->status != LKS_OK) {
        const lks_error_t error = *lks_last_error();
        (void)fprintf(stderr, "rank %d: %s: %s\n", lks_comm_rank(rank->comm),
                      lks_status_name(error.status), error.message);
        lks_comm_abort(rank->comm, error.message);
    }
    lks_comm_destroy(rank->comm);
    return NULL;
}

int run_process(int count, lks_comm_t *const *comms, rank_fn_t run, void *context)
{
    rank_t ranks[RANKS_MAX];
    int failed = 0;
    for (int i = 0; i < count; i++) {
        ranks[i] = (rank_t){.comm = comms[i], .run = run, .context = context};
        (void)pthread_create(&ranks[i].thread, NULL, rank_main, &ranks[i]);
    }
    for (int i = 0; i < count; i++) {
        (void)pthread_join(ranks[i].thread, NULL);
        failed |= ranks[i].status != LKS_OK;
    }
    return failed;
}
