/* SPDX-License-Identifier: Apache-2.0 */
/* optim_support.h - a layer, an exec and an optimizer on the plain host device. */
#ifndef LOCKSTEP_TESTS_RUNTIME_OPTIM_SUPPORT_H
#define LOCKSTEP_TESTS_RUNTIME_OPTIM_SUPPORT_H

#include "support/support.h"

#include <lockstep/optim.h>

typedef struct optim_job {
    lks_module_t *module;
    lks_exec_t *exec;
    lks_optim_t *optim;
} optim_job_t;

/** Linear(in, out) with values drawn from `seed`. */
static inline optim_job_t optim_job_start(int64_t in, int64_t out, size_t threads, uint64_t seed,
                                          const lks_optim_config_t *config)
{
    optim_job_t job;
    lks_exec_config_t exec = lks_exec_config_default();
    exec.threads = threads;
    assert_ok(lks_exec_create(lks_device_host(), &exec, &job.exec));
    assert_ok(lks_linear_create(in, out, true, &job.module));
    assert_ok(lks_module_materialize(job.module, lks_device_host()));
    assert_ok(lks_module_init(job.module, seed));
    assert_ok(lks_optim_create(config, job.module, &job.optim));
    return job;
}

static inline void optim_job_end(optim_job_t *job)
{
    lks_optim_destroy(job->optim);
    lks_module_destroy(job->module);
    lks_exec_destroy(job->exec);
}

static inline lks_tensor_t optim_value(const optim_job_t *job, size_t param)
{
    return lks_module_param(job->module, param)->value;
}

static inline lks_tensor_t optim_grad(const optim_job_t *job, size_t param)
{
    return lks_module_param(job->module, param)->grad;
}

/** Gradients that differ from step to step and element to element; 0 for every seventh element. */
static inline void optim_job_step(optim_job_t *job)
{
    unsigned step = (unsigned)lks_optim_steps(job->optim);
    for (size_t p = 0; p < lks_module_param_count(job->module); p++) {
        lks_tensor_t tensor = optim_grad(job, p);
        float *grad = lks_tensor_data(&tensor);
        for (unsigned i = 0; i < (unsigned)lks_tensor_numel(&tensor); i++) {
            unsigned noise = (i * 37 + step * 101 + (unsigned)p) % 64;
            grad[i] = i % 7 == 0 ? 0 : ((float)noise - 31.5f) / 64;
        }
    }
    assert_ok(lks_optim_step(job->optim, job->exec));
}

/** Bitwise equal values and states. */
static inline void optim_jobs_equal(const optim_job_t *a, const optim_job_t *b)
{
    lks_tensor_t x = lks_module_flat_values(a->module), y = lks_module_flat_values(b->module);
    cr_assert_arr_eq(lks_tensor_data(&x), lks_tensor_data(&y), lks_tensor_nbytes(&x), "values");
    cr_assert_eq(lks_optim_state_count(a->optim), lks_optim_state_count(b->optim));
    for (size_t i = 0; i < lks_optim_state_count(a->optim); i++) {
        x = lks_optim_flat_state(a->optim, i);
        y = lks_optim_flat_state(b->optim, i);
        cr_assert_arr_eq(lks_tensor_data(&x), lks_tensor_data(&y), lks_tensor_nbytes(&x), "%s",
                         lks_optim_state_name(a->optim, i));
    }
}

#endif
