/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas of a caller's own model. Gradients are made up from step, rank and place, so that what every parameter must
 * become follows from a few lines of plain C in float64. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { PARAMS = 5, MOST = 6000 };

static const int64_t shapes[PARAMS][2] = {{3, 4}, {1, 1}, {60, 100}, {7, 1}, {1, 33}};
static const char *const names[PARAMS] = {"a.weight", "a.bias", "b.weight", "stats", "c.weight"};

enum { STATS = 3 }; /* the buffer */

static size_t numel(int p)
{
    return (size_t)(shapes[p][0] * shapes[p][1]);
}

typedef struct model {
    float value[PARAMS][MOST];
    lks_replica_param_t params[PARAMS];
} model_t;

static void model_init(model_t *model, int rank)
{
    for (int p = 0; p < PARAMS; p++) {
        for (size_t i = 0; i < numel(p); i++) {
            model->value[p][i] = (float)(rank + 1) * 0.01f * (float)(i % 11) - 0.03f;
        }
        model->params[p] =
            (lks_replica_param_t){.name = names[p],
                                  .kind = p == STATS ? LKS_PARAM_BUFFER : LKS_PARAM_WEIGHT,
                                  .dtype = LKS_DTYPE_F32,
                                  .ndim = 2,
                                  .shape = shapes[p],
                                  .value = model->value[p]};
    }
}

static float made_up_grad(int step, int rank, int p, size_t i)
{
    return (float)(((unsigned)step * 31 + (unsigned)rank * 17 + (unsigned)p * 7 + i) % 23) / 8 - 1;
}

typedef struct plan {
    lks_replica_options_t options;
    lks_optim_config_t optim;
    bool own_update;
    int micro;         /* steps without synchronization before each one with it */
    int unused;        /* parameter that only ranks above `unused_above` use; PARAMS: none */
    int unused_above;  /* RANKS_MAX: nobody */
    int rests;         /* every so many steps all ranks use it after all; 0: they do not */
    int order[PARAMS]; /* of the gradients */
    int steps;
} plan_t;

static plan_t plan_of(lks_optim_kind_t kind)
{
    plan_t plan = {.options = lks_replica_options_default(),
                   .optim = lks_optim_config_default(kind),
                   .unused = PARAMS,
                   .order = {4, 2, 1, 0, STATS},
                   .steps = 6};
    plan.optim.lr = 0.1;
    return plan;
}

/* `step` counts each with synchronization ten times. */
static bool uses(const plan_t *plan, int step, int rank, int p)
{
    bool works = plan->rests > 0 && step / 10 % plan->rests == plan->rests - 1;
    return p != STATS && (p != plan->unused || rank > plan->unused_above || works);
}

/* --- what must come out, by one process in float64 ---------------------------------------------- */

typedef struct truth {
    double value[PARAMS][MOST], grad[PARAMS][MOST], m[PARAMS][MOST], v[PARAMS][MOST];
    bool used[PARAMS];
    int updates[PARAMS];
} truth_t;

static void reduce_truth(truth_t *truth, const plan_t *plan, int ranks, int step)
{
    double square = 0;
    for (int p = 0; p < PARAMS; p++) {
        truth->used[p] = false;
        for (size_t i = 0; i < numel(p); i++) {
            double sum = 0;
            for (int rank = 0; rank < ranks; rank++) {
                for (int k = 0; k <= plan->micro && uses(plan, step * 10, rank, p); k++) {
                    sum += (double)made_up_grad(step * 10 + k, rank, p, i);
                    truth->used[p] = true;
                }
            }
            truth->grad[p][i] = plan->options.reduce == LKS_REDUCE_AVG ? sum / ranks : sum;
            square += truth->grad[p][i] * truth->grad[p][i];
        }
    }
    double factor = plan->options.clip_norm / (sqrt(square) + 1e-6),
           limit = plan->options.clip_value;
    for (int p = 0; p < PARAMS; p++) {
        for (size_t i = 0; i < numel(p); i++) {
            double *g = &truth->grad[p][i];
            *g *= plan->options.clip_norm > 0 && factor < 1 ? factor : 1;
            *g = limit > 0 ? fmax(-limit, fmin(limit, *g)) : *g;
        }
    }
}

static void update_truth(truth_t *truth, const plan_t *plan)
{
    const lks_optim_config_t *o = &plan->optim;
    for (int p = 0; p < PARAMS; p++) {
        int update = truth->updates[p] += truth->used[p];
        for (size_t i = 0; i < numel(p) && truth->used[p]; i++) {
            double g = truth->grad[p][i], *m = &truth->m[p][i], *v = &truth->v[p][i];
            if (o->kind == LKS_OPTIM_SGD) {
                *m = update == 1 ? g : o->momentum * *m + (1 - o->dampening) * g;
                truth->value[p][i] -= o->lr * *m;
                continue;
            }
            *m = o->beta1 * *m + (1 - o->beta1) * g;
            *v = o->beta2 * *v + (1 - o->beta2) * g * g;
            double mean = *m / (1 - pow(o->beta1, update)), var = *v / (1 - pow(o->beta2, update));
            truth->value[p][i] -= o->lr * mean / (sqrt(var) + o->eps);
        }
    }
}

static truth_t *tell_truth(const plan_t *plan, int ranks)
{
    model_t model;
    truth_t *truth = calloc(1, sizeof *truth);
    model_init(&model, 0);
    for (int p = 0; p < PARAMS; p++) {
        for (size_t i = 0; i < numel(p); i++) {
            truth->value[p][i] = (double)model.value[p][i];
        }
    }
    for (int step = 0; step < plan->steps; step++) {
        reduce_truth(truth, plan, ranks, step);
        update_truth(truth, plan);
    }
    return truth;
}

/* --- what comes out ----------------------------------------------------------------------------- */

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, int step)
{
    for (int k = 0; k < PARAMS; k++) {
        int p = plan->order[k];
        if (!uses(plan, step, replica->rank, p)) {
            continue;
        }
        float *grad = lks_replica_grad(replica, (size_t)p);
        for (size_t i = 0; i < numel(p); i++) {
            grad[i] = made_up_grad(step, replica->rank, p, i);
        }
        LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
    }
    return LKS_OK;
}

/* Plain SGD of the caller's own. */
static lks_status_t update_by_hand(lks_replica_t *replica, const plan_t *plan, model_t *model)
{
    LKS_TRY(lks_replica_finish(replica));
    if (plan->options.clip_norm > 0) {
        LKS_TRY(lks_replica_clip_norm(replica, plan->options.clip_norm, NULL));
    }
    for (int p = 0; p < PARAMS; p++) {
        const float *grad = lks_replica_grad(replica, (size_t)p);
        for (size_t i = 0; i < numel(p) && p != STATS; i++) {
            model->value[p][i] -= (float)plan->optim.lr * grad[i];
        }
    }
    return LKS_OK;
}

static lks_status_t step_once(lks_replica_t *replica, const plan_t *plan, model_t *model, int step)
{
    for (int k = 0; k < plan->micro; k++) {
        lks_replica_set_sync(replica, false);
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(backward(replica, plan, step * 10 + k));
        LKS_TRY(plan->own_update ? lks_replica_finish(replica) : lks_replica_step(replica));
    }
    lks_replica_set_sync(replica, true);
    LKS_TRY(lks_replica_begin(replica));
    LKS_TRY(backward(replica, plan, step * 10 + plan->micro));
    return plan->own_update ? update_by_hand(replica, plan, model) : lks_replica_step(replica);
}

static lks_status_t compare(const model_t *model, const truth_t *truth)
{
    for (int p = 0; p < PARAMS; p++) {
        for (size_t i = 0; i < numel(p); i++) {
            double got = (double)model->value[p][i], wanted = truth->value[p][i];
            RANK_CHECK(fabs(got - wanted) < 1e-5, "%s[%zu] is %g, wanted %g", names[p], i, got,
                       wanted);
        }
    }
    return LKS_OK;
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    model_init(model, lks_comm_rank(comm));
    plan.options.optim = plan.own_update ? NULL : &plan.optim;
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan.options, &replica));
    for (int step = 0; step < plan.steps; step++) {
        LKS_TRY(step_once(replica, &plan, model, step));
    }
    truth_t *truth = tell_truth(&plan, lks_comm_world_size(comm));
    LKS_TRY(compare(model, truth));
    free(truth);
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        run_ranks_ok(ranks, train, &plan);
    }
}

Test(replica, adam_updates_as_one_process_would)
{
    check(plan_of(LKS_OPTIM_ADAM));
}

Test(replica, sgd_with_momentum_and_buckets_of_any_size)
{
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    plan.optim.momentum = 0.9;
    plan.optim.lr = 0.02;
    const size_t sizes[] = {1, 100, 5000, 30000, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        plan.options.bucket_bytes = sizes[i];
        plan.options.first_bucket_bytes = sizes[i];
        check(plan);
    }
}

Test(replica, gradients_may_be_summed)
{
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    plan.options.reduce = LKS_REDUCE_SUM;
    plan.optim.lr = 0.01;
    check(plan);
}

Test(replica, gradients_may_come_in_any_order)
{
    static const int orders[3][PARAMS] = {{0, 1, 2, 4, 3}, {2, 0, 4, 1, 3}, {1, 4, 0, 2, 3}};
    for (int i = 0; i < 3; i++) {
        plan_t plan = plan_of(LKS_OPTIM_ADAM);
        plan.options.bucket_bytes = plan.options.first_bucket_bytes = 200;
        memcpy(plan.order, orders[i], sizeof plan.order);
        check(plan);
        plan.own_update = true;
        plan.optim = lks_optim_config_default(LKS_OPTIM_SGD);
        check(plan);
    }
}

Test(replica, the_caller_may_update)
{
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    plan.own_update = true;
    check(plan);
    plan.options.clip_norm = 0.5;
    check(plan);
}

Test(replica, norms_and_values_are_clipped)
{
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.options.clip_norm = 3;
    check(plan);
    plan.options.clip_value = 0.01;
    check(plan);
    plan.options.clip_norm = 0;
    check(plan);
}

Test(replica, steps_without_synchronization_accumulate)
{
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    plan.micro = 2;
    check(plan);
    plan.own_update = true;
    check(plan);
}

Test(replica, parameters_that_some_ranks_do_not_use_count_as_zero)
{
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.options.find_unused = true;
    check(plan);
    plan.unused = 2;
    plan.unused_above = 0; /* ranks 1 and up use it */
    check(plan);
    plan.options.static_graph = true;
    check(plan);
}

Test(replica, parameters_that_no_rank_uses_are_not_updated)
{
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.options.find_unused = true;
    plan.options.bucket_bytes = plan.options.first_bucket_bytes = 100;
    plan.unused_above = RANKS_MAX;
    for (plan.unused = 0; plan.unused < PARAMS; plan.unused++) {
        plan.options.static_graph = plan.unused % 2;
        check(plan);
    }
}

Test(replica, steps_are_counted_for_each_parameter_that_may_be_unused)
{
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.options.find_unused = true;
    plan.unused = 2;
    plan.unused_above = RANKS_MAX;
    plan.rests = 3; /* steps 2 and 5 use it */
    check(plan);
    plan.optim = lks_optim_config_default(LKS_OPTIM_SGD);
    plan.optim.momentum = 0.9;
    plan.optim.dampening = 0.5;
    check(plan);
}

Test(replica, a_static_graph_alone_finds_what_is_unused)
{
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.options.static_graph = true;
    check(plan);
    plan.unused = 2;
    plan.unused_above = 0;
    check(plan);
    plan.unused_above = RANKS_MAX;
    check(plan);
    plan.own_update = true;
    plan.optim = lks_optim_config_default(LKS_OPTIM_SGD);
    check(plan);
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static lks_status_t leave_out(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    model_init(model, lks_comm_rank(comm));
    plan.options.optim = &plan.optim;
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan.options, &replica));
    lks_status_t status = LKS_OK;
    for (int step = 0; step < plan.steps && status == LKS_OK; step++) {
        plan_t now = plan;
        now.unused = step == 2 ? plan.unused : PARAMS;
        status = step_once(replica, &now, model, step);
    }
    lks_error_t error = *lks_last_error();
    lks_replica_destroy(replica);
    free(model);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

Test(replica, a_missing_gradient_is_named)
{
    lks_error_t errors[RANKS_MAX];
    plan_t plan = plan_of(LKS_OPTIM_ADAM);
    plan.unused = 2;
    plan.unused_above = 0; /* rank 0 alone has none */
    run_ranks(3, NULL, leave_out, &plan, errors);
    const char *text = "step 2: 1 of 4 parameters got no gradient (b.weight)";
    cr_assert(errors[0].status == LKS_ERR_INVALID_ARG && strstr(errors[0].message, text), "%s",
              errors[0].message);
    for (int i = 1; i < 3; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED && strstr(errors[i].message, text), "%s",
                  errors[i].message);
    }
}

static lks_status_t report_twice(lks_comm_t *comm, void *context)
{
    (void)context;
    model_t model;
    lks_replica_t *replica;
    model_init(&model, 0);
    LKS_TRY(lks_replica_create(comm, model.params, PARAMS, NULL, &replica));
    LKS_TRY(lks_replica_begin(replica));
    LKS_TRY(lks_replica_grad_ready(replica, 4));
    RANK_CHECK(lks_replica_grad_ready(replica, 4) == LKS_ERR_INVALID_ARG &&
                   strstr(lks_last_error()->message, "'c.weight' was reported twice"),
               "%s", lks_last_error()->message);
    RANK_CHECK(lks_replica_grad_ready(replica, STATS) == LKS_ERR_INVALID_ARG, "a buffer");
    RANK_CHECK(lks_replica_grad_ready(replica, 99) == LKS_ERR_INVALID_ARG, "number 99");
    RANK_CHECK(lks_replica_step(replica) == LKS_ERR_INVALID_ARG, "a step without an optimizer");
    lks_replica_destroy(replica);
    return LKS_OK;
}

Test(replica, wrong_reports_are_refused)
{
    run_ranks_ok(1, report_twice, NULL);
}

/* Rank 2 registers something else. */
typedef void (*odd_fn_t)(lks_replica_param_t *params, size_t *count);

static void odd_name(lks_replica_param_t *params, size_t *count)
{
    (void)count;
    params[2].name = "b.gamma";
}

static void odd_shape(lks_replica_param_t *params, size_t *count)
{
    static const int64_t shape[] = {100, 60};
    (void)count;
    params[2].shape = shape;
}

static void odd_kind(lks_replica_param_t *params, size_t *count)
{
    (void)count;
    params[2].kind = LKS_PARAM_BUFFER;
}

static void odd_count(lks_replica_param_t *params, size_t *count)
{
    (void)params;
    *count = 2;
}

static lks_status_t register_odd(lks_comm_t *comm, void *context)
{
    model_t *model = malloc(sizeof *model);
    size_t count = PARAMS;
    lks_replica_t *replica;
    model_init(model, 0);
    if (lks_comm_rank(comm) == 2) {
        (*(odd_fn_t *)context)(model->params, &count);
    }
    lks_status_t status = lks_replica_create(comm, model->params, count, NULL, &replica);
    free(model);
    return status;
}

static void check_odd(odd_fn_t odd, const char *text)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(3, NULL, register_odd, &odd, errors);
    for (int i = 0; i < 3; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED && strstr(errors[i].message, text),
                  "rank %d: '%s' is not in '%s'", i, text, errors[i].message);
    }
}

Test(replica, the_first_difference_of_what_ranks_register_is_named)
{
    check_odd(odd_name, "parameter 2: rank 0 has b.weight float32 (60, 100), rank 2 has b.gamma");
    check_odd(odd_shape, "rank 2 has b.weight float32 (100, 60)");
    check_odd(odd_kind, "rank 2 has buffer b.weight float32 (60, 100)");
    check_odd(odd_count, "rank 2 has nothing more");
}

/* Buffers at the beginning of a step. */
static lks_status_t change_buffers(lks_comm_t *comm, void *context)
{
    lks_replica_options_t options = lks_replica_options_default();
    options.buffers = *(lks_buffer_mode_t *)context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    int rank = lks_comm_rank(comm);
    model_init(model, rank);
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &options, &replica));
    model->value[STATS][0] = (float)(rank + 1);
    LKS_TRY(lks_replica_begin(replica));
    const float wanted[] = {[LKS_BUFFERS_BROADCAST] = 1,
                            [LKS_BUFFERS_AVERAGE] = 2,
                            [LKS_BUFFERS_LEAVE] = (float)(rank + 1)};
    RANK_CHECK(model->value[STATS][0] == wanted[options.buffers], "rank %d: %g", rank,
               (double)model->value[STATS][0]);
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(replica, buffers_are_broadcast_averaged_or_left)
{
    for (lks_buffer_mode_t mode = LKS_BUFFERS_BROADCAST; mode <= LKS_BUFFERS_LEAVE; mode++) {
        run_ranks_ok(3, change_buffers, &mode);
    }
}

static lks_status_t accumulate_beside_buffers(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    int rank = lks_comm_rank(comm);
    model_init(model, rank);
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica));
    for (int step = 0; step < 6; step++) {
        bool sync = step % 3 == 2, first = step % 3 == 0;
        float before = (float)(10 * step + rank);
        model->value[STATS][0] = before;
        lks_replica_set_sync(replica, sync);
        LKS_TRY(lks_replica_begin(replica));
        RANK_CHECK(model->value[STATS][0] == (first ? (float)(10 * step) : before),
                   "step %d, rank %d: %g", step, rank, (double)model->value[STATS][0]);
        LKS_TRY(backward(replica, plan, step));
        LKS_TRY(lks_replica_finish(replica));
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(replica, buffers_are_equal_where_an_accumulation_begins_and_not_before_its_end)
{
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    run_ranks_ok(3, accumulate_beside_buffers, &plan);
}

static lks_status_t stall_in_backward(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    model_init(model, 0);
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica));
    LKS_TRY(lks_replica_begin(replica));
    if (lks_comm_rank(comm) == 1) {
        (void)usleep(300000);
    }
    lks_status_t status = backward(replica, plan, 0);
    status = status == LKS_OK ? lks_replica_finish(replica) : status;
    lks_error_t error = *lks_last_error();
    lks_replica_destroy(replica);
    free(model);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

Test(replica, a_rank_that_stalls_in_backward_is_named)
{
    lks_error_t errors[RANKS_MAX];
    lks_comm_config_t config = {.timeout = 0.1};
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    run_ranks(3, &config, stall_in_backward, &plan, errors);
    for (int i = 0; i < 3; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED);
        cr_assert(strstr(errors[i].message, "step 0, bucket 0: rank 1 did not come within 0.1 s"),
                  "rank %d: %s", i, errors[i].message);
    }
}

/* Fails between two gradients, as a model's own code may; the others may learn of it before theirs. */
static lks_status_t fail_in_backward(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica = NULL;
    lks_status_t status;
    model_init(model, 0);
    LKS_GOTO(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica), leave);
    LKS_GOTO(lks_replica_begin(replica), leave);
    LKS_GOTO(lks_replica_grad_ready(replica, 4), leave);
    if (lks_comm_rank(comm) == 1) {
        status = lks_fail(LKS_ERR_IO, "the disk is on fire");
    } else {
        status = lks_replica_finish(replica);
    }
leave:
    lks_replica_destroy(replica); /* leaves the sentence as it is */
    free(model);
    return status;
}

Test(replica, a_rank_that_leaves_in_backward_says_why)
{
    lks_error_t errors[RANKS_MAX];
    plan_t plan = plan_of(LKS_OPTIM_SGD);
    plan.options.find_unused = true; /* the others finish */
    plan.options.bucket_bytes = plan.options.first_bucket_bytes = 1;
    run_ranks(3, NULL, fail_in_backward, &plan, errors);
    cr_assert(errors[1].status == LKS_ERR_IO, "%s", errors[1].message);
    cr_assert_str_eq(errors[1].message, "the disk is on fire");
    for (int i = 0; i < 3; i += 2) {
        cr_assert(strstr(errors[i].message, "aborted by rank 1: it left in the middle of a step, "
                                            "its last error: the disk is on fire"),
                  "rank %d: %s", i, errors[i].message);
    }
}

Test(replica, options_are_checked)
{
    lks_comm_t *comm;
    lks_replica_t *replica;
    lks_replica_options_t options = lks_replica_options_default();
    assert_ok(lks_comm_create_self(&comm));
    options.clip_norm = (double)NAN;
    assert_fails(lks_replica_create(comm, NULL, 0, &options, &replica), LKS_ERR_INVALID_ARG,
                 "norm of nan");
    lks_comm_destroy(comm);
}
