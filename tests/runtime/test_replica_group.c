/* SPDX-License-Identifier: Apache-2.0 */
/* Replica groups: every rank runs, the first failure comes back with its rank, nobody waits for the dead. */
#include "support/support.h"

#include <lockstep/replica_group.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static lks_status_t build(void *context, lks_module_t **out)
{
    return lks_model_create(context ? context : "mlp:3,4,2", out);
}

typedef struct setup {
    lks_device_list_t *devices;
    lks_replica_group_t *group;
} setup_t;

static setup_t start(const char *devices)
{
    setup_t setup;
    lks_optim_config_t optim = lks_optim_config_default(LKS_OPTIM_ADAM);
    lks_replica_options_t options = lks_replica_options_default();
    options.optim = &optim;
    lks_replica_config_t config = {.build = build, .options = &options, .seed = 42};
    assert_ok(lks_device_list_open(devices, NULL, &setup.devices));
    assert_ok(lks_replica_group_create(setup.devices, &config, &setup.group));
    return setup;
}

static void stop(setup_t *setup)
{
    lks_replica_group_destroy(setup->group);
    lks_device_list_close(setup->devices);
}

static lks_status_t count_ranks(lks_replica_t *replica, void *context)
{
    atomic_fetch_add((_Atomic int *)context, 1 << (4 * replica->rank));
    return LKS_OK;
}

Test(replica_group, runs_on_every_rank_again_and_again)
{
    setup_t setup = start("host:3");
    _Atomic int ranks = 0;
    cr_assert_eq(lks_replica_group_size(setup.group), 3);
    for (int i = 1; i <= 5; i++) {
        assert_ok(lks_replica_group_run(setup.group, count_ranks, &ranks));
        cr_assert_eq(ranks, i * 0x111);
    }
    stop(&setup);
}

Test(replica_group, starts_all_ranks_with_rank_0s_parameters)
{
    setup_t setup = start("host:3");
    lks_tensor_t first = lks_module_flat_values(lks_replica_group_get(setup.group, 0)->module);
    const float *values = lks_tensor_data(&first);
    float sum = 0.0f;
    for (int64_t i = 0; i < lks_tensor_numel(&first); i++) {
        sum += fabsf(values[i]);
    }
    cr_assert(sum > 0.0f);
    for (int rank = 1; rank < 3; rank++) {
        lks_tensor_t other =
            lks_module_flat_values(lks_replica_group_get(setup.group, rank)->module);
        cr_assert(memcmp(values, lks_tensor_data(&other), lks_tensor_nbytes(&first)) == 0);
    }
    stop(&setup);
}

/* One step of a model whose gradients are made up; values follow from the update rule alone. */
static lks_status_t made_up_step(lks_replica_t *replica, void *context)
{
    (void)context;
    LKS_TRY(lks_replica_begin(replica));
    for (size_t p = lks_module_param_count(replica->module); p-- > 0;) {
        const lks_tensor_t *grad = &lks_module_param(replica->module, p)->grad;
        float *data = lks_tensor_data(grad);
        for (int64_t i = 0; i < lks_tensor_numel(grad); i++) {
            data[i] = (float)(replica->rank + 1) * (float)(i % 7);
        }
        LKS_TRY(lks_replica_grad_ready(replica, p));
    }
    return lks_replica_step(replica);
}

Test(replica_group, updates_every_rank_from_the_mean_gradient)
{
    lks_optim_config_t optim = lks_optim_config_default(LKS_OPTIM_SGD);
    lks_replica_options_t options = lks_replica_options_default();
    lks_replica_config_t config = {.build = build, .options = &options, .seed = 42};
    setup_t setup;
    optim.lr = 0.5;
    options.optim = &optim;
    assert_ok(lks_device_list_open("host:4", NULL, &setup.devices));
    assert_ok(lks_replica_group_create(setup.devices, &config, &setup.group));
    const lks_module_t *first = lks_replica_group_get(setup.group, 0)->module;
    float before[4][12];
    for (size_t p = 0; p < 4; p++) {
        const lks_tensor_t *value = &lks_module_param(first, p)->value;
        memcpy(before[p], lks_tensor_data(value), lks_tensor_nbytes(value));
    }
    assert_ok(lks_replica_group_run(setup.group, made_up_step, NULL));
    for (int rank = 0; rank < 4; rank++) {
        const lks_module_t *module = lks_replica_group_get(setup.group, rank)->module;
        for (size_t p = 0; p < 4; p++) {
            const lks_tensor_t *value = &lks_module_param(module, p)->value;
            const float *data = lks_tensor_data(value);
            for (int64_t i = 0; i < lks_tensor_numel(value); i++) {
                cr_assert_float_eq(data[i], before[p][i] - 0.5f * 2.5f * (float)(i % 7), 1e-6f);
            }
        }
    }
    stop(&setup);
}

static lks_status_t fail_on_rank_2(lks_replica_t *replica, void *context)
{
    (void)context;
    if (replica->rank == 2) {
        return lks_fail(LKS_ERR_IO, "the disk is on fire");
    }
    return lks_comm_barrier(replica->comm); /* would wait for rank 2 for ever */
}

Test(replica_group, a_failing_rank_aborts_the_others_and_is_named)
{
    setup_t setup = start("host:3");
    assert_fails(lks_replica_group_run(setup.group, fail_on_rank_2, NULL), LKS_ERR_IO,
                 "rank 2: the disk is on fire");
    _Atomic int ranks = 0;
    assert_fails(lks_replica_group_run(setup.group, count_ranks, &ranks), LKS_ERR_ABORTED,
                 "the disk is on fire");
    cr_assert_eq(ranks, 0);
    stop(&setup);
}

static lks_status_t fail_without_a_word(lks_replica_t *replica, void *context)
{
    (void)context;
    return replica->rank == 0 ? LKS_ERR_IO : lks_comm_barrier(replica->comm);
}

Test(replica_group, a_failure_without_a_sentence_is_a_failure)
{
    setup_t setup = start("host:2");
    (void)lks_fail(LKS_ERR_NOT_FOUND, "an older story");
    assert_fails(lks_replica_group_run(setup.group, fail_without_a_word, NULL), LKS_ERR_IO,
                 "rank 0: the replica's function failed: I/O error");
    stop(&setup);
}

static lks_status_t fail_alone(lks_replica_t *replica, void *context)
{
    (void)replica;
    (void)context;
    return lks_fail(LKS_ERR_IO, "no space");
}

static lks_status_t fail_after_the_others(lks_replica_t *replica, void *context)
{
    (void)context;
    if (replica->rank == 1) {
        lks_comm_abort(replica->comm, "something went wrong");
        (void)usleep(50000);
        return lks_fail(LKS_ERR_IO, "the disk is on fire");
    }
    return lks_comm_barrier(replica->comm);
}

Test(replica_group, a_failure_of_ones_own_is_said_before_those_it_caused)
{
    setup_t setup = start("host:3");
    assert_fails(lks_replica_group_run(setup.group, fail_after_the_others, NULL), LKS_ERR_IO,
                 "rank 1: the disk is on fire");
    stop(&setup);
}

/* What a rank that hangs may come back to. */
static struct {
    _Atomic bool go_on, came_back;
} hanging;

static lks_status_t hang_on_rank_1(lks_replica_t *replica, void *context)
{
    const lks_error_t *failure = context;
    while (replica->rank == 1 && !atomic_load(&hanging.go_on)) {
        (void)usleep(1000);
    }
    lks_status_t status =
        failure && replica->rank == 0 ? lks_error_raise(failure) : lks_comm_barrier(replica->comm);
    if (replica->rank == 1) {
        atomic_store(&hanging.came_back, true);
    }
    return status;
}

/* With a rank that hangs the group returns between `least` and `most` seconds, and lets it come back. */
static void check_hanging(const lks_error_t *failure, double timeout, double least, double most,
                          const char *text)
{
    static setup_t setup; /* stays as it is */
    struct timespec begin, end;
    lks_replica_config_t config = {.threads = 1, .timeout = timeout};
    assert_ok(lks_device_list_open("host:3", NULL, &setup.devices));
    assert_ok(lks_replica_group_create(setup.devices, &config, &setup.group));
    cr_assert_not(lks_replica_group_is_stuck(setup.group));
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_fails(lks_replica_group_run(setup.group, hang_on_rank_1, (void *)(intptr_t)failure),
                 failure ? failure->status : LKS_ERR_ABORTED, text);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    double took =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    cr_assert(took > least && took < most, "it took %g s", took);
    cr_assert(lks_replica_group_is_stuck(setup.group));
    lks_replica_group_destroy(setup.group);
    atomic_store(&hanging.go_on, true);
    for (int i = 0; i < 5000 && !atomic_load(&hanging.came_back); i++) {
        (void)usleep(1000);
    }
    cr_assert(atomic_load(&hanging.came_back));
}

Test(replica_group, a_replica_that_did_not_come_in_time_is_given_up_a_second_later, .timeout = 30)
{
    check_hanging(NULL, 0.2, 1.2, 10, "rank 1 did not come within 0.2 s");
}

Test(replica_group, a_replica_has_the_timeout_to_return_after_anothers_failure, .timeout = 30)
{
    const lks_error_t failure = {LKS_ERR_IO, "the disk is on fire"};
    check_hanging(&failure, 0.4, 0.4, 10, "rank 0: the disk is on fire");
}

Test(replica_group, a_single_replica_fails_without_a_rank_in_front)
{
    setup_t setup = start("host");
    cr_assert_eq(lks_replica_group_run(setup.group, fail_alone, NULL), LKS_ERR_IO);
    cr_assert_str_eq(lks_last_error()->message, "no space");
    stop(&setup);
}

Test(replica_group, a_model_that_cannot_be_built_fails_creation)
{
    lks_device_list_t *devices;
    lks_replica_group_t *group = NULL;
    char description[] = "mlp:3";
    lks_replica_config_t config = {.build = build, .context = description};
    assert_ok(lks_device_list_open("host:3", NULL, &devices));
    assert_fails(lks_replica_group_create(devices, &config, &group), LKS_ERR_INVALID_ARG, "mlp:3");
    cr_assert_null(group);
    lks_device_list_close(devices);
}
