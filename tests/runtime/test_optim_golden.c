/* SPDX-License-Identifier: Apache-2.0 */
/* test_optim_golden.c - 50 steps of every optimizer and option: weights and states are PyTorch's.
 * The problem and the golden numbers come from make_optim_golden.py. */
#include "runtime/optim_support.h"

#include <math.h>

#include "data/optim_golden.h"

enum { GOLDEN_CASES = sizeof golden / sizeof *golden, IN = 5, OUT = 3 };

/* The noisy quadratic of make_optim_golden.py. */
static float first_value(int i)
{
    return (float)(i * 29 % 41 - 20) / 16;
}

static float gradient(int i, int step, float value)
{
    if (i % 11 == 5) {
        return 0;
    }
    float target = (float)(i * 13 % 23 - 11) / 8, curvature = (float)(1 + i % 5) / 4;
    return curvature * (value - target) + (float)((i * 37 + step * 101) % 64 - 32) / 256;
}

enum { VALUE = -2, GRAD = -1 }; /* from 0 on: that state */

static lks_tensor_t tensor_of(const optim_job_t *job, int what, size_t param)
{
    return what == VALUE  ? optim_value(job, param)
           : what == GRAD ? optim_grad(job, param)
                          : lks_optim_state(job->optim, (size_t)what, param);
}

static void gather(const optim_job_t *job, int what, float out[GOLDEN_COUNT])
{
    size_t at = 0;
    for (size_t p = 0; p < lks_module_param_count(job->module); p++) {
        lks_tensor_t tensor = tensor_of(job, what, p);
        memcpy(out + at, lks_tensor_data(&tensor), lks_tensor_nbytes(&tensor));
        at += (size_t)lks_tensor_numel(&tensor);
    }
    cr_assert_eq(at, GOLDEN_COUNT);
}

static void scatter(const optim_job_t *job, int what, const float in[GOLDEN_COUNT])
{
    size_t at = 0;
    for (size_t p = 0; p < lks_module_param_count(job->module); p++) {
        lks_tensor_t tensor = tensor_of(job, what, p);
        memcpy(lks_tensor_data(&tensor), in + at, lks_tensor_nbytes(&tensor));
        at += (size_t)lks_tensor_numel(&tensor);
    }
}

static void take_step(optim_job_t *job, int step, bool maximize)
{
    float value[GOLDEN_COUNT], grad[GOLDEN_COUNT];
    gather(job, VALUE, value);
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        float g = gradient(i, step, value[i]);
        grad[i] = maximize ? -g : g;
    }
    scatter(job, GRAD, grad);
    assert_ok(lks_optim_step(job->optim, job->exec));
}

static void compare(const char *name, const char *what, const float *found, const float *wanted)
{
    for (int i = 0; i < GOLDEN_COUNT; i++) {
        double error = fabs((double)found[i] - (double)wanted[i]);
        cr_assert(error <= 1e-6 * fmax(1, fabs((double)wanted[i])),
                  "%s, %s[%d]: %.9g, PyTorch has %.9g", name, what, i, (double)found[i],
                  (double)wanted[i]);
    }
}

Test(optim_golden, fifty_steps_follow_pytorch)
{
    for (int c = 0; c < GOLDEN_CASES; c++) {
        optim_job_t job = optim_job_start(IN, OUT, 1, 0, &golden[c].config);
        float value[GOLDEN_COUNT];
        for (int i = 0; i < GOLDEN_COUNT; i++) {
            value[i] = first_value(i);
        }
        scatter(&job, VALUE, value);
        for (int step = 0; step < GOLDEN_STEPS; step++) {
            if (step == GOLDEN_HALVE_AT) {
                lks_optim_set_lr(job.optim, golden[c].config.lr / 2);
            }
            take_step(&job, step, golden[c].config.maximize);
        }
        cr_assert_eq(lks_optim_steps(job.optim), GOLDEN_STEPS);
        gather(&job, VALUE, value);
        compare(golden[c].name, "value", value, golden[c].value);
        cr_assert_eq(lks_optim_state_count(job.optim), golden[c].state_count);
        for (int state = 0; state < (int)golden[c].state_count; state++) {
            gather(&job, state, value);
            compare(golden[c].name, lks_optim_state_name(job.optim, (size_t)state), value,
                    golden[c].state[state]);
        }
        optim_job_end(&job);
    }
}
