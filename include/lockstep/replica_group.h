/* SPDX-License-Identifier: Apache-2.0 */
/* replica_group.h - a replica of a built-in model on every device, each with a thread of its own.
 * lks_replica_group_run hands all of them the same function; inside it a replica trains as if it were alone:
 *     lks_replica_begin -> lks_module_forward -> loss -> lks_module_backward -> lks_replica_step
 * Backward reports the gradients by itself.
 * Failure: the first replica that fails aborts the communicator, so that its peers return too; the caller gets
 *          its error, with "rank 3: " in front when there are several. A group that failed can only be
 *          destroyed.
 *          A replica that hangs cannot be ended. It is given up when the communicator's timeout is over since the first
 *          failure, or 1 second after a peer has said that it did not come in time: see lks_replica_group_is_stuck.
 * Threads: a group belongs to the thread that created it; a replica to its own thread. */
#ifndef LOCKSTEP_REPLICA_GROUP_H
#define LOCKSTEP_REPLICA_GROUP_H

#include <lockstep/replica.h>

LKS_BEGIN_DECLS

typedef struct lks_replica_config {
    /** Builds the model's description, once per replica, on its thread. NULL: replicas have no model, and may make one
     *  by lks_replica_create on their communicator. */
    lks_status_t (*build)(void *context, lks_module_t **out);
    void *context;
    const lks_replica_options_t *options; /**< NULL: the defaults, without an optimizer */
    uint64_t seed;                        /**< of the initial parameters */
    size_t threads;                       /**< per replica; 0: one per core of its device */
    double timeout;                       /**< of the communicator, seconds; 0: its default */
    /** The replicas of all processes that mpirun, mpiexec or srun started are one job (lks_comm_create_mpi). Every process
     *  makes such a group. false: those of this process alone. */
    bool processes;
} lks_replica_config_t;

typedef struct lks_replica_group lks_replica_group_t;

/** Starts a replica on every device of the list (borrowed). Rank 0 initializes the parameters from the
 *  seed and broadcasts them. Errors: those of building, NO_MEMORY, IO (no thread). */
LKS_API LKS_NODISCARD lks_status_t lks_replica_group_create(const lks_device_list_t *devices,
                                                            const lks_replica_config_t *config,
                                                            lks_replica_group_t **out);
/** Joins the threads; of a group that is stuck everything stays as it is. NULL does nothing. */
LKS_API void lks_replica_group_destroy(lks_replica_group_t *group);
LKS_API int lks_replica_group_size(const lks_replica_group_t *group); /**< of this process */

/** Replica `index` of this process, for looking at between runs (its threads are idle then). */
LKS_API lks_replica_t *lks_replica_group_get(lks_replica_group_t *group, int index);

/** Runs `run(replica, context)` on every replica's thread and waits for all.
 *  Errors: the first one of any replica, but ABORTED only if no replica has one of its own; ABORTED if the group had
 *  failed before. */
LKS_API LKS_NODISCARD lks_status_t lks_replica_group_run(lks_replica_group_t *group,
                                                         lks_status_t (*run)(lks_replica_t *replica,
                                                                             void *context),
                                                         void *context);

/** Whether lks_replica_group_run failed and gave up a replica that did not return. Its thread may come back at any time
 *  and use what `run` was given, the devices and the caller's model: leave them as they are, and end the process. */
LKS_API bool lks_replica_group_is_stuck(const lks_replica_group_t *group);

LKS_END_DECLS
#endif
