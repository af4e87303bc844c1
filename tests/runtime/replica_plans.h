/* SPDX-License-Identifier: Apache-2.0 */
/* replica_plans.h - the features of replicas that replica_job goes through. */
#ifndef LOCKSTEP_TESTS_RUNTIME_REPLICA_PLANS_H
#define LOCKSTEP_TESTS_RUNTIME_REPLICA_PLANS_H

#include <lockstep/replica.h>

/** What to do with the model in replica_job.c. */
typedef struct plan {
    const char *name;
    lks_replica_options_t options;
    lks_optim_config_t optim;
    lks_dtype_t dtype; /* of the parameters */
    lks_power_sgd_config_t power_sgd;
    lks_grad_scaler_t scaler;
    lks_join_options_t join;
    bool own_update, joins;
    bool few;        /* a model of few gradients */
    double own_clip; /* largest norm, of the caller's own update; 0: none */
    int micro;       /* steps without synchronization before each one with it */
    int bad_step;    /* in which rank 1 has an infinite gradient; -1: none */
} plan_t;

/** The plan of feature `index`; what it points to is in it. False: there are no more. */
bool plan_of(size_t index, plan_t *plan);

#endif
