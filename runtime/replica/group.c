/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - the threads of a replica group and the jobs they are handed.
 * A job is announced by a generation number that the threads wait for; they count down when done.
 * A thread cannot be ended from outside. One that does not come back after another's failure is given up: the caller must not
 * hang with it. Everything that it may still touch stays as it is. */
#include "collectives/backend.h"
#include "core/thread.h"
#include "runtime/kernels/exec_team.h"
#include "runtime/replica/grad_sync.h"

#include <lockstep/log.h>
#include <lockstep/replica_group.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Nanoseconds: for a rank that somebody has waited for already; between looks at what other processes did. */
#define LAST_PATIENCE 1000000000u
#define LOOK_EVERY 200000000u

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
    lks_gate_t gate;             /* advances when one of them is done */
    lks_replica_config_t config; /* while replicas are set up */
    bool stop, stuck;

    pthread_mutex_t mutex; /* guards what follows */
    lks_error_t first_error;
    uint64_t
        patience; /* lks_now_ns: until then the others have time to return; 0: nobody has failed */
};

/* A rank that failed by itself says more than those that it took along, and may speak after them. */
static bool says_more(lks_status_t failed, lks_status_t before)
{
    return before == LKS_OK || (before == LKS_ERR_ABORTED && failed != LKS_ERR_ABORTED);
}

/* The others have the time that a rank has to come to a collective, unless one of them has had it. */
static uint64_t patience(lks_comm_t *comm)
{
    const lks_comm_host_t *host = comm->backend->host ? comm->backend->host(comm) : NULL;
    bool late = host && lks_abort_state_is_late(&host->aborted);
    return lks_deadline_in(late ? LAST_PATIENCE : host ? host->timeout : UINT64_MAX);
}

static void record_failure(worker_t *worker, lks_status_t failed)
{
    lks_replica_group_t *group = worker->group;
    if (lks_last_error()->status != failed) { /* a sentence of something else, or none */
        (void)lks_fail(failed, "the replica's function failed: %s", lks_status_name(failed));
    }
    const lks_error_t error = *lks_last_error();
    pthread_mutex_lock(&group->mutex);
    if (says_more(failed, group->first_error.status)) {
        if (worker->replica.world_size > 1) {
            (void)lks_error_prefix(failed, "rank %d", worker->replica.rank);
        }
        group->first_error = *lks_last_error();
    }
    group->patience = group->patience ? group->patience : patience(worker->replica.comm);
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
        (void)atomic_fetch_sub(&group->busy, 1);
        lks_gate_advance(&group->gate);
    }
    /* What this thread created, it takes down: the exec's team and scratch are bound to its cores. */
    lks_grad_sync_destroy(worker->replica.sync);
    lks_module_destroy(worker->replica.module);
    lks_exec_destroy(worker->replica.exec);
}

static uint64_t patience_of(lks_replica_group_t *group)
{
    pthread_mutex_lock(&group->mutex);
    uint64_t until = group->patience ? group->patience : UINT64_MAX;
    pthread_mutex_unlock(&group->mutex);
    return until;
}

/* Every replica of this process may hang while another process ends the job. */
static void look_around(lks_replica_group_t *group)
{
    lks_comm_t *comm = group->workers[0].replica.comm;
    if (!comm->backend->ended_elsewhere || !comm->backend->ended_elsewhere(comm)) {
        return;
    }
    pthread_mutex_lock(&group->mutex);
    group->patience = group->patience ? group->patience : patience(comm);
    pthread_mutex_unlock(&group->mutex);
}

/* False if patience ends before the last one. */
static bool wait_for_all(lks_replica_group_t *group)
{
    bool looks = group->workers[0].replica.comm->backend->ended_elsewhere != NULL;
    for (;;) {
        uint32_t closed = atomic_load(&group->gate.value);
        if (atomic_load(&group->busy) == 0) {
            return true;
        }
        uint64_t patience = patience_of(group);
        uint64_t look = looks ? lks_deadline_in(LOOK_EVERY) : UINT64_MAX;
        (void)lks_gate_wait_until(&group->gate, closed, 0, patience < look ? patience : look);
        if (lks_now_ns() >= patience) {
            return atomic_load(&group->busy) == 0;
        }
        if (looks) {
            look_around(group);
        }
    }
}

static void give_up(lks_replica_group_t *group)
{
    lks_comm_t *comm = group->workers[0].replica.comm;
    pthread_mutex_lock(&group->mutex);
    if (group->first_error.status == LKS_OK) { /* every replica hangs */
        group->first_error.status =
            lks_abort_state_check(&comm->backend->host(comm)->aborted, "a replica hangs");
        group->first_error = *lks_last_error();
    }
    pthread_mutex_unlock(&group->mutex);
    group->stuck = true;
    lks_log(LKS_LOG_WARN, "%u of %d replicas did not return after a failure, and are given up",
            atomic_load(&group->busy), group->size);
}

/* The mutex: a replica that is given up may come to say something after all. */
static lks_status_t raise_first_error(lks_replica_group_t *group)
{
    pthread_mutex_lock(&group->mutex);
    const lks_error_t error = group->first_error;
    pthread_mutex_unlock(&group->mutex);
    return error.status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

lks_status_t lks_replica_group_run(lks_replica_group_t *group,
                                   lks_status_t (*run)(lks_replica_t *replica, void *context),
                                   void *context)
{
    if (raise_first_error(group) != LKS_OK) {
        const lks_error_t error = *lks_last_error();
        return lks_fail(LKS_ERR_ABORTED, "the replica group failed before: %s", error.message);
    }
    group->run = run;
    group->context = context;
    atomic_store(&group->busy, (uint32_t)group->size);
    atomic_fetch_add(&group->generation, 1);
    lks_futex_wake_all(&group->generation);
    if (!wait_for_all(group)) {
        give_up(group);
    }
    return raise_first_error(group);
}

bool lks_replica_group_is_stuck(const lks_replica_group_t *group)
{
    return group->stuck;
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
        group->config = *config;
        status = lks_replica_group_run(group, set_up, &group->config);
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
    if (!group || group->stuck) {
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
