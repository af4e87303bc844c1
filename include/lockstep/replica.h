/* SPDX-License-Identifier: Apache-2.0 */
/* replica.h - a model on every device, kept in step.
 * A group starts one thread per device. Each thread owns one replica: a communicator rank, the device's math,
 * a copy of the model and of the optimizer. lks_replica_group_run hands all of them the same function;
 * inside it a replica trains as if it were alone and calls the two synchronizing functions below.
 * Failure: the first replica that fails aborts the communicator, so that its peers return too; the caller gets
 *          that first error, with "rank 3: " in front when there are several. A group that failed can only be
 *          destroyed.
 * Threads: a group belongs to the thread that created it; a replica to its own thread. */
#ifndef LOCKSTEP_REPLICA_H
#define LOCKSTEP_REPLICA_H

#include <lockstep/comm.h>
#include <lockstep/optim.h>

LKS_BEGIN_DECLS

/** What a replica's function works with; everything is borrowed from the group. */
typedef struct lks_replica {
    int rank, world_size;
    lks_device_t *device;
    lks_comm_t *comm;
    lks_exec_t *exec;
    lks_module_t *module;
    lks_optim_t *optim; /**< NULL without an optimizer */
} lks_replica_t;

typedef struct lks_replica_config {
    /** Builds the model's description, once per replica, on its thread. */
    lks_status_t (*build)(void *context, lks_module_t **out);
    void *context;
    const lks_optim_config_t *optim; /**< NULL: no optimizer */
    uint64_t seed;                   /**< of the initial parameters */
    size_t threads;                  /**< per replica; 0: one per core of its device */
} lks_replica_config_t;

typedef struct lks_replica_group lks_replica_group_t;

/** Starts a replica on every device of the list (borrowed). Rank 0 initializes the parameters from the
 *  seed and broadcasts them. Errors: those of building, NO_MEMORY, IO (no thread). */
LKS_API LKS_NODISCARD lks_status_t lks_replica_group_create(const lks_device_list_t *devices,
                                                            const lks_replica_config_t *config,
                                                            lks_replica_group_t **out);
LKS_API void lks_replica_group_destroy(lks_replica_group_t *group);
LKS_API int lks_replica_group_size(const lks_replica_group_t *group);

/** A replica, for looking at between runs (its threads are idle then). */
LKS_API lks_replica_t *lks_replica_group_get(lks_replica_group_t *group, int rank);

/** Runs `run(replica, context)` on every replica's thread and waits for all.
 *  Errors: the first one of any replica; ABORTED if the group had failed before. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_group_run(lks_replica_group_t *group,
                                                         lks_status_t (*run)(lks_replica_t *replica,
                                                                             void *context),
                                                         void *context);

/** Copies rank 0's parameters, buffers and optimizer state to all replicas. Called by every replica. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_broadcast(lks_replica_t *replica);

/** Sums the gradients of all replicas into every replica. Called by every replica, between backward
 *  and step. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_all_reduce_grads(lks_replica_t *replica);

LKS_END_DECLS
#endif
