/* SPDX-License-Identifier: Apache-2.0 */
/* power_sgd.h - PowerSGD as a communication hook; what it computes is in lockstep/power_sgd.h. */
#ifndef LOCKSTEP_RUNTIME_REPLICA_POWER_SGD_H
#define LOCKSTEP_RUNTIME_REPLICA_POWER_SGD_H

#include <lockstep/comm_hook.h>
#include <lockstep/exec.h>

/** Errors: INVALID_ARG (the sentence names the option). */
LKS_NODISCARD lks_status_t lks_power_sgd_check(const lks_power_sgd_config_t *config);

/** What it must know of a parameter; shape is borrowed for the call. */
typedef struct lks_power_sgd_shape {
    bool float32; /* with a gradient */
    int ndim;
    const int64_t *shape;
} lks_power_sgd_shape_t;

/** `exec` (borrowed) has the threads; NULL: the caller's alone. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_power_sgd_create(const lks_power_sgd_config_t *config,
                                                const lks_power_sgd_shape_t *params, size_t count,
                                                lks_exec_t *exec, lks_power_sgd_t **out);
void lks_power_sgd_destroy(lks_power_sgd_t *power_sgd);

/** A lks_comm_hook_fn_t; `power_sgd` is the rank's own. */
LKS_NODISCARD lks_status_t lks_power_sgd_run(void *power_sgd, lks_comm_t *comm,
                                             const lks_grad_bucket_t *bucket);

#endif
