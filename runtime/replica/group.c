/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - the threads of a replica group and the jobs they are handed.
 * A job is announced by a generation number that the threads wait for; they count down when done. */
#include "core/thread.h"
#include "runtime/kernels/exec_team.h"
#include "runtime/replica/grad_sync.h"

#include <lockstep/replica_group.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct worker {
    lks_replica_t replica; /* first: lks_replica_group_get hands it out */
    lks_replica_group_t *group;
    lks_thread_t *thread;
} worker_t;

struct lks_replica_group {
    worker_t *workers; /* (size) */
    int size, started;

    lks_status_t (*run)(lks_replica_t *replica, void *context);
    void *context;
    _Atomic uint32_t generation; /* of the current job; a thread sleeps until it changes */
    _Atomic uint32_t busy;       /* replicas still at it */
    bool stop;

    pthread_mutex_t mutex; /* guards first_error */
    lks_error_t first_error;
};

static void record_failure(worker_t *worker, lks_status_t failed)
{
    lks_replica_group_t *group = worker->group;
    if (lks_last_error()->status != failed) { /* a sentence of something else, or none */
        (void)lks_fail(failed, "the replica's function failed: %s", lks_status_name(failed));
    }
    const lks_error_t error = *lks_last_error();
    pthread_mutex_lock(&group->mutex);
    if (group->first_error.status == LKS_OK) {
        if (worker->replica.world_size > 1) {
            (void)lks_error_prefix(failed, "rank %d", worker->replica.rank);
        }
        group->first_error = *lks_last_error();
    }
    pthread_mutex_unlock(&group->mutex);
    lks_comm_abort(worker->replica.comm, error.message); /* which says the rank itself */
}

static void work(void *context)
{
    worker_t *worker = context;
    lks_replica_group_t *group = worker->group;
    uint32_t seen = 0;
    for (;;) {
        seen = lks_wait_while_equal(&group->generation, seen, 0);
        if (group->stop) {
            break;
        }
        lks_status_t status = group->run(&worker->replica, group->context);
        if (status != LKS_OK) {
            record_failure(worker, status);
        }
        if (atomic_fetch_sub(&group->busy, 1) == 1) {
            lks_futex_wake_all(&group->busy);
        }
    }
    /* What this thread created, it takes down: the exec's team and scratch are bound to its cores. */
    lks_grad_sync_destroy(worker->replica.sync);
    lks_module_destroy(worker->replica.module);
    lks_exec_destroy(worker->replica.exec);
}

lks_status_t lks_replica_group_run(lks_replica_group_t *group,
                                   lks_status_t (*run)(lks_replica_t *replica, void *context),
                                   void *context)
{
    if (group->first_error.status != LKS_OK) {
        return lks_fail(LKS_ERR_ABORTED, "the replica group failed before: %s",
                        group->first_error.message);
    }
    group->run = run;
    group->context = context;
    atomic_store(&group->busy, (uint32_t)group->size);
    atomic_fetch_add(&group->generation, 1);
    lks_futex_wake_all(&group->generation);
    for (uint32_t busy; (busy = atomic_load(&group->busy)) != 0;) {
        lks_futex_wait(&group->busy, busy);
    }
    return group->first_error.status == LKS_OK ? LKS_OK : lks_error_raise(&group->first_error);
}

static lks_status_t set_up(lks_replica_t *replica, void *context)
{
    const lks_replica_config_t *config = context;
    lks_exec_config_t exec = lks_exec_config_default();
    exec.threads = config->threads;
    LKS_TRY(lks_exec_create(replica->device, &exec, &replica->exec));
    if (!config->build) {
        return LKS_OK;
    }
    LKS_TRY(config->build(config->context, &replica->module));
    LKS_TRY(lks_module_materialize(replica->module, replica->device));
    if (replica->rank == 0) {
        LKS_TRY(lks_module_init(replica->module, config->seed));
    }
    LKS_TRY(lks_grad_sync_create(replica, NULL, lks_module_param_count(replica->module),
                                 config->options));
    lks_exec_set_grad_hook(replica->exec, lks_grad_sync_ready_hook, replica->sync);
    return LKS_OK;
}

static lks_status_t start_workers(lks_replica_group_t *group, const lks_device_list_t *devices,
                                  const lks_replica_config_t *config)
{
    size_t cores = 0;
    bool exclusive = true;
    for (size_t i = 0; i < lks_device_list_count(devices); i++) {
        cores += lks_device_core_count(lks_device_list_get(devices, i));
        exclusive &= lks_device_cores_exclusive(lks_device_list_get(devices, i));
    }
    lks_comm_t **comms = calloc((size_t)group->size, sizeof *comms);
    if (!comms) {
        return lks_fail(LKS_ERR_NO_MEMORY, "replica group: out of memory");
    }
    lks_comm_config_t comm = lks_comm_config_default();
    comm.cores = exclusive ? cores : 1;
    comm.timeout = config->timeout > 0 ? config->timeout : comm.timeout;
    lks_status_t status = config->processes  ? lks_comm_create_mpi(group->size, &comm, comms)
                          : group->size == 1 ? lks_comm_create_self(comms)
                                             : lks_comm_create_local(group->size, &comm, comms);
    for (int i = 0; i < group->size && status == LKS_OK; i++) {
        group->workers[i] = (worker_t){
            .replica = {.rank = lks_comm_rank(comms[i]),
                        .world_size = lks_comm_world_size(comms[i]),
                        .device = lks_device_list_get(devices, (size_t)i),
                        .comm = comms[i]},
            .group = group,
        };
    }
    free(comms);
    for (int i = 0; i < group->size && status == LKS_OK; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "replica %d", i);
        status = lks_thread_create(name, work, &group->workers[i], &group->workers[i].thread);
        group->started += status == LKS_OK;
    }
    return status;
}

lks_status_t lks_replica_group_create(const lks_device_list_t *devices,
                                      const lks_replica_config_t *config, lks_replica_group_t **out)
{
    size_t size = lks_device_list_count(devices);
    lks_replica_group_t *group = calloc(1, sizeof *group);
    worker_t *workers = calloc(size, sizeof *workers);
    if (!group || !workers) {
        free(group);
        free(workers);
        return lks_fail(LKS_ERR_NO_MEMORY, "replica group: out of memory");
    }
    group->workers = workers;
    group->size = (int)size;
    pthread_mutex_init(&group->mutex, NULL);
    lks_status_t status = start_workers(group, devices, config);
    if (status == LKS_OK) {
        lks_replica_config_t copy = *config;
        status = lks_replica_group_run(group, set_up, &copy);
    }
    if (status != LKS_OK) {
        lks_error_t error = *lks_last_error();
        lks_replica_group_destroy(group);
        return lks_error_raise(&error);
    }
    *out = group;
    return LKS_OK;
}

void lks_replica_group_destroy(lks_replica_group_t *group)
{
    if (!group) {
        return;
    }
    group->stop = true;
    atomic_fetch_add(&group->generation, 1);
    lks_futex_wake_all(&group->generation);
    for (int i = 0; i < group->started; i++) {
        lks_thread_join(group->workers[i].thread);
    }
    for (int i = 0; i < group->size; i++) {
        lks_comm_destroy(group->workers[i].replica.comm);
    }
    pthread_mutex_destroy(&group->mutex);
    free(group->workers);
    free(group);
}

int lks_replica_group_size(const lks_replica_group_t *group)
{
    return group->size;
}

lks_replica_t *lks_replica_group_get(lks_replica_group_t *group, int index)
{
    return &group->workers[index].replica;
}
