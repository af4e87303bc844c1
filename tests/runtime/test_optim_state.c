/* SPDX-License-Identifier: Apache-2.0 */
/* test_optim_state.c - the state's names and layout, resuming from it, padding, threads. */
#include "runtime/optim_support.h"

static lks_optim_config_t sgd_momentum(void)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_SGD);
    config.momentum = 0.9;
    config.dampening = 0.25;
    return config;
}

static lks_optim_config_t adamw_amsgrad(void)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_ADAMW);
    config.amsgrad = true;
    return config;
}

Test(optim_state, names_are_pytorchs)
{
    lks_optim_config_t config = adamw_amsgrad();
    optim_job_t job = optim_job_start(2, 2, 1, 0, &config);
    cr_assert_eq(lks_optim_state_count(job.optim), 3);
    cr_assert_str_eq(lks_optim_state_name(job.optim, 0), "exp_avg");
    cr_assert_str_eq(lks_optim_state_name(job.optim, 1), "exp_avg_sq");
    cr_assert_str_eq(lks_optim_state_name(job.optim, 2), "max_exp_avg_sq");
    optim_job_end(&job);
    config.amsgrad = false;
    job = optim_job_start(2, 2, 1, 0, &config);
    cr_assert_eq(lks_optim_state_count(job.optim), 2);
    optim_job_end(&job);
    config = sgd_momentum();
    job = optim_job_start(2, 2, 1, 0, &config);
    cr_assert_eq(lks_optim_state_count(job.optim), 1);
    cr_assert_str_eq(lks_optim_state_name(job.optim, 0), "momentum_buffer");
    optim_job_end(&job);
}

Test(optim_state, starts_at_zero_and_lies_like_the_values)
{
    lks_optim_config_t config = adamw_amsgrad();
    optim_job_t job = optim_job_start(5, 3, 1, 0, &config);
    cr_assert_eq(lks_optim_steps(job.optim), 0);
    lks_tensor_t values = lks_module_flat_values(job.module);
    for (size_t state = 0; state < 3; state++) {
        lks_tensor_t flat = lks_optim_flat_state(job.optim, state);
        cr_assert(lks_tensor_same_shape(&flat, &values));
        const float *data = lks_tensor_data(&flat), *origin = lks_tensor_data(&values);
        for (int64_t i = 0; i < lks_tensor_numel(&flat); i++) {
            cr_assert_eq(data[i], 0);
        }
        for (size_t p = 0; p < lks_module_param_count(job.module); p++) {
            lks_tensor_t view = lks_optim_state(job.optim, state, p), value = optim_value(&job, p);
            cr_assert(lks_tensor_same_shape(&view, &value));
            cr_assert_eq((float *)lks_tensor_data(&view) - data,
                         (float *)lks_tensor_data(&value) - origin);
        }
    }
    optim_job_end(&job);
}

static void copy_flat(lks_tensor_t to, lks_tensor_t from)
{
    memcpy(lks_tensor_data(&to), lks_tensor_data(&from), lks_tensor_nbytes(&from));
}

/* Steps on from a copy of values, states, step count and config as from the original. */
static void check_resume(const lks_optim_config_t *config)
{
    optim_job_t a = optim_job_start(5, 3, 1, 1, config), b = optim_job_start(5, 3, 1, 2, config);
    for (int i = 0; i < 7; i++) {
        optim_job_step(&a);
    }
    lks_optim_set_lr(a.optim, config->lr / 3);
    copy_flat(lks_module_flat_values(b.module), lks_module_flat_values(a.module));
    for (size_t i = 0; i < lks_optim_state_count(a.optim); i++) {
        copy_flat(lks_optim_flat_state(b.optim, i), lks_optim_flat_state(a.optim, i));
    }
    assert_ok(lks_optim_set_config(b.optim, lks_optim_config(a.optim)));
    lks_optim_set_steps(b.optim, lks_optim_steps(a.optim));
    for (int i = 0; i < 7; i++) {
        optim_job_step(&a);
        optim_job_step(&b);
    }
    cr_assert_eq(lks_optim_steps(b.optim), 14);
    optim_jobs_equal(&a, &b);
    optim_job_end(&a);
    optim_job_end(&b);
}

Test(optim_state, sgd_resumes_with_the_same_bits)
{
    lks_optim_config_t config = sgd_momentum();
    check_resume(&config);
}

Test(optim_state, adamw_resumes_with_the_same_bits)
{
    lks_optim_config_t config = adamw_amsgrad();
    check_resume(&config);
}

Test(optim_state, first_momentum_is_the_gradient_undampened)
{
    lks_optim_config_t config = sgd_momentum();
    optim_job_t job = optim_job_start(5, 3, 1, 0, &config);
    optim_job_step(&job);
    lks_tensor_t grads = lks_module_flat_grads(job.module);
    lks_tensor_t buffer = lks_optim_flat_state(job.optim, 0);
    cr_assert_arr_eq(lks_tensor_data(&buffer), lks_tensor_data(&grads), lks_tensor_nbytes(&grads));
    optim_job_end(&job);
}

Test(optim_state, momentum_turned_on_later_starts_from_the_gradient)
{
    lks_optim_config_t config = lks_optim_config_default(LKS_OPTIM_SGD);
    optim_job_t job = optim_job_start(5, 3, 1, 0, &config);
    optim_job_step(&job);
    cr_assert_eq(lks_optim_state_count(job.optim), 0);
    config = sgd_momentum();
    assert_ok(lks_optim_set_config(job.optim, &config));
    cr_assert_eq(lks_optim_state_count(job.optim), 1);
    optim_job_step(&job);
    lks_tensor_t grads = lks_module_flat_grads(job.module);
    lks_tensor_t buffer = lks_optim_flat_state(job.optim, 0);
    cr_assert_arr_eq(lks_tensor_data(&buffer), lks_tensor_data(&grads), lks_tensor_nbytes(&grads));
    optim_job_end(&job);
}

Test(optim_state, momentum_turned_off_leaves_its_buffer_alone)
{
    lks_optim_config_t config = sgd_momentum();
    optim_job_t job = optim_job_start(5, 3, 1, 0, &config);
    optim_job_step(&job);
    float before[18], after[18];
    lks_tensor_t weight = lks_optim_state(job.optim, 0, 0);
    memcpy(before, lks_tensor_data(&weight), lks_tensor_nbytes(&weight));
    config.momentum = 0;
    assert_ok(lks_optim_set_config(job.optim, &config));
    optim_job_step(&job);
    memcpy(after, lks_tensor_data(&weight), lks_tensor_nbytes(&weight));
    cr_assert_arr_eq(before, after, lks_tensor_nbytes(&weight));
    optim_job_end(&job);
}

/* Every element of the flat values that belongs to no parameter. */
static void assert_padding_is_zero(const optim_job_t *job)
{
    lks_tensor_t flat = lks_module_flat_values(job->module);
    const float *at = lks_tensor_data(&flat), *end = at + lks_tensor_numel(&flat);
    int padding = 0;
    for (size_t p = 0; p <= lks_module_param_count(job->module); p++) {
        bool is_param = p < lks_module_param_count(job->module);
        lks_tensor_t value = is_param ? optim_value(job, p) : flat;
        const float *next = is_param ? lks_tensor_data(&value) : end;
        for (; at < next; at++, padding++) {
            cr_assert_eq(*at, 0, "padding is %g", (double)*at);
        }
        at = next + (is_param ? lks_tensor_numel(&value) : 0);
    }
    cr_assert_gt(padding, 0, "this module has no padding to test");
}

Test(optim_state, padding_stays_zero_even_with_eps_zero)
{
    lks_optim_config_t config = adamw_amsgrad();
    config.eps = 0;
    optim_job_t job = optim_job_start(5, 3, 1, 0, &config);
    for (int i = 0; i < 5; i++) {
        optim_job_step(&job);
    }
    assert_padding_is_zero(&job);
    optim_job_end(&job);
}

static void check_threads(const lks_optim_config_t *config)
{
    optim_job_t one = optim_job_start(701, 301, 1, 3, config);
    for (int i = 0; i < 3; i++) {
        optim_job_step(&one);
    }
    for (size_t threads = 2; threads <= 5; threads++) {
        optim_job_t many = optim_job_start(701, 301, threads, 3, config);
        for (int i = 0; i < 3; i++) {
            optim_job_step(&many);
        }
        optim_jobs_equal(&one, &many);
        optim_job_end(&many);
    }
    optim_job_end(&one);
}

Test(optim_state, sgd_gives_the_same_bits_on_any_number_of_threads)
{
    lks_optim_config_t config = sgd_momentum();
    check_threads(&config);
}

Test(optim_state, adamw_gives_the_same_bits_on_any_number_of_threads)
{
    lks_optim_config_t config = adamw_amsgrad();
    check_threads(&config);
}

/* A module of 16 bits beside one of float32 that has its values for masters: both get the same gradients. */
static void check_masters(lks_dtype_t dtype, const lks_optim_config_t *config, size_t threads)
{
    optim_job_t job = optim_job_start(41, 67, threads, 3, config), half = job;
    assert_ok(lks_linear_create(41, 67, true, &half.module));
    assert_ok(lks_module_set_dtype(half.module, dtype));
    assert_ok(lks_module_materialize(half.module, lks_device_host()));
    assert_ok(lks_module_init(half.module, 3));
    assert_ok(lks_optim_create(config, half.module, &half.optim));
    for (size_t p = 0; p < 2; p++) {
        lks_tensor_t value = optim_value(&half, p), master = lks_optim_master(half.optim, p);
        lks_tensor_t to = optim_value(&job, p), none = lks_optim_master(job.optim, p);
        cr_assert_null(none.storage);
        assert_ok(lks_tensor_convert(&to, &value));
        cr_assert_arr_eq(lks_tensor_data(&master), lks_tensor_data(&to), lks_tensor_nbytes(&to));
    }
    for (int step = 0; step < 5; step++) {
        optim_job_step(&job); /* its gradients are exact in 16 bits */
        for (size_t p = 0; p < 2; p++) {
            lks_tensor_t from = optim_grad(&job, p), to = optim_grad(&half, p);
            assert_ok(lks_tensor_convert(&to, &from));
        }
        assert_ok(lks_optim_step(half.optim, half.exec));
    }
    for (size_t p = 0; p < 2; p++) {
        lks_tensor_t value = optim_value(&job, p), master = lks_optim_master(half.optim, p);
        lks_tensor_t rounded = optim_value(&half, p);
        const uint16_t *got = lks_tensor_data(&rounded);
        const float *wanted = lks_tensor_data(&value);
        cr_assert_arr_eq(lks_tensor_data(&master), wanted, lks_tensor_nbytes(&value));
        for (int64_t i = 0; i < lks_tensor_numel(&value); i++) {
            cr_assert_eq(got[i], dtype == LKS_DTYPE_F16 ? lks_f32_to_f16(wanted[i])
                                                        : lks_f32_to_bf16(wanted[i]));
        }
    }
    lks_optim_destroy(half.optim);
    lks_module_destroy(half.module);
    optim_job_end(&job);
}

Test(optim_state, parameters_of_16_bits_have_masters_that_float32_ones_would_be)
{
    lks_optim_config_t configs[] = {sgd_momentum(), adamw_amsgrad()};
    for (size_t i = 0; i < 2; i++) {
        check_masters(LKS_DTYPE_BF16, &configs[i], 1);
        check_masters(LKS_DTYPE_F16, &configs[i], 2);
    }
}
