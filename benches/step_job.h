/* SPDX-License-Identifier: Apache-2.0 */
/* step_job.h - one training step of a built-in model on data that no file holds: forward, cross-entropy, backward, update;
 * by a model of its own, or by a replica, which exchanges gradients with its peers. */
#ifndef LOCKSTEP_BENCHES_STEP_JOB_H
#define LOCKSTEP_BENCHES_STEP_JOB_H

#include <lockstep/replica.h>

typedef struct step_case {
    const char *name, *model;
    lks_optim_kind_t optim;
    int64_t batch;
    int steps; /* in one sample: a short step is below the clock's noise */
    lks_dtype_t dtype;
} step_case_t;

typedef struct step_job {
    const step_case_t *step_case;
    lks_exec_t *exec;       /* borrowed */
    lks_replica_t *replica; /* borrowed; NULL: the model is the job's */
    lks_module_t *module;
    lks_optim_t *optim; /* NULL: the replica's */
    lks_tensor_t x, labels;
    uint64_t steps;
    double flops; /* of the products in a step: the first layer has no gradient of its input */
} step_job_t;

/** `replica` may be NULL; else it has a model. Batches differ by rank. */
step_job_t step_job_open(const step_case_t *c, lks_device_t *device, lks_exec_t *exec,
                         lks_replica_t *replica);
void step_job_close(step_job_t *job);
void step_job_run(step_job_t *job, int steps);

#endif
