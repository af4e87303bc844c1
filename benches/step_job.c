/* SPDX-License-Identifier: Apache-2.0 */
#include "step_job.h"

#include "bench.h"

/* Any numbers will do, as long as they are the same in every run. */
static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static double product_flops(const lks_module_t *module, int64_t batch)
{
    double flops = 0;
    for (size_t i = 0; i < lks_module_param_count(module); i++) {
        const lks_tensor_t *value = &lks_module_param(module, i)->value;
        if (value->ndim == 2) {
            flops += (i == 0 ? 2 : 3) * 2.0 * (double)batch * (double)lks_tensor_numel(value);
        }
    }
    return flops;
}

static void make_model(step_job_t *job, lks_device_t *device)
{
    const step_case_t *c = job->step_case;
    bench_must(lks_model_create(c->model, &job->module));
    bench_must(lks_module_set_dtype(job->module, c->dtype));
    bench_must(lks_module_materialize(job->module, device));
    bench_must(lks_module_init(job->module, 0));
    lks_optim_config_t optim = lks_optim_config_default(c->optim);
    bench_must(lks_optim_create(&optim, job->module, &job->optim));
}

static void make_batch(step_job_t *job, lks_device_t *device)
{
    int64_t batch = job->step_case->batch, in = lks_module_in_features(job->module);
    int64_t out = lks_module_out_features(job->module);
    const int64_t shape[] = {batch, in};
    bench_must(lks_tensor_create(device, LKS_DTYPE_F32, 2, shape, &job->x));
    bench_must(lks_tensor_create(device, LKS_DTYPE_I64, 1, shape, &job->labels));
    uint32_t random = 1 + (job->replica ? (uint32_t)job->replica->rank : 0);
    float *x = lks_tensor_data(&job->x);
    for (int64_t i = 0; i < batch * in; i++) {
        x[i] = (float)next_random(&random) * 0x1p-23f - 1;
    }
    int64_t *labels = lks_tensor_data(&job->labels);
    for (int64_t i = 0; i < batch; i++) {
        labels[i] = next_random(&random) % (uint32_t)out;
    }
}

step_job_t step_job_open(const step_case_t *c, lks_device_t *device, lks_exec_t *exec,
                         lks_replica_t *replica)
{
    step_job_t job = {.step_case = c, .exec = exec, .replica = replica};
    lks_exec_set_training(exec, true);
    if (replica) {
        job.module = replica->module;
    } else {
        make_model(&job, device);
    }
    make_batch(&job, device);
    job.flops = product_flops(job.module, c->batch);
    return job;
}

void step_job_close(step_job_t *job)
{
    lks_tensor_release(&job->labels);
    lks_tensor_release(&job->x);
    if (!job->replica) {
        lks_optim_destroy(job->optim);
        lks_module_destroy(job->module);
    }
}

static void step(step_job_t *job)
{
    lks_tensor_t logits, grad;
    double loss;
    lks_exec_reset(job->exec);
    lks_exec_set_position(job->exec, 0, job->steps++, 0);
    if (job->replica) {
        bench_must(lks_replica_begin(job->replica));
    }
    bench_must(lks_module_forward(job->module, job->exec, &job->x, &logits));
    bench_must(lks_cross_entropy(job->exec, &logits, &job->labels, job->step_case->batch, &loss,
                                 &grad, NULL));
    bench_must(lks_module_backward(job->module, job->exec, &grad, NULL));
    bench_must(job->replica ? lks_replica_step(job->replica)
                            : lks_optim_step(job->optim, job->exec));
}

void step_job_run(step_job_t *job, int steps)
{
    for (int i = 0; i < steps; i++) {
        step(job);
    }
}
