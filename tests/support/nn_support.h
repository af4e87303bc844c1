/* SPDX-License-Identifier: Apache-2.0 */
/* nn_support.h - what the suites of runtime/nn and runtime/models share. */
#ifndef LOCKSTEP_TESTS_NN_SUPPORT_H
#define LOCKSTEP_TESTS_NN_SUPPORT_H

#include "core/rng.h"
#include "support/support.h"

#include <lockstep/module.h>

static inline lks_exec_t *test_exec(size_t threads)
{
    lks_exec_config_t config = lks_exec_config_default();
    config.threads = threads;
    lks_exec_t *exec;
    assert_ok(lks_exec_create(lks_device_host(), &config, &exec));
    lks_exec_set_training(exec, true);
    return exec;
}

/* (rows, cols) float32, uniform in [-1, 1). */
static inline lks_tensor_t test_matrix(int64_t rows, int64_t cols, uint64_t seed)
{
    lks_tensor_t tensor;
    assert_ok(
        lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 2, (int64_t[]){rows, cols}, &tensor));
    lks_rng_t rng;
    lks_rng_init(&rng, seed, 99);
    float *data = lks_tensor_data(&tensor);
    for (int64_t i = 0; i < rows * cols; i++) {
        data[i] = 2 * lks_uniform_f32(lks_rng_u32(&rng)) - 1;
    }
    return tensor;
}

static inline lks_tensor_t test_labels(int64_t rows, int64_t classes, uint64_t seed)
{
    lks_tensor_t tensor;
    assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_I64, 1, &rows, &tensor));
    lks_rng_t rng;
    lks_rng_init(&rng, seed, 98);
    int64_t *data = lks_tensor_data(&tensor);
    for (int64_t i = 0; i < rows; i++) {
        data[i] = (int64_t)lks_rng_below(&rng, (uint64_t)classes);
    }
    return tensor;
}

/* On the host, with initial values. */
static inline void test_prepare(lks_module_t *module)
{
    assert_ok(lks_module_materialize(module, lks_device_host()));
    assert_ok(lks_module_init(module, 3));
}

static inline lks_module_t *test_model(const char *description)
{
    lks_module_t *module;
    assert_ok(lks_model_create(description, &module));
    test_prepare(module);
    return module;
}

static inline float *test_floats(const lks_tensor_t *tensor)
{
    return lks_tensor_data(tensor);
}

#endif
