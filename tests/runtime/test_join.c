/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks with different numbers of inputs. What parameters must become is told by one process in float64. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS = 4, MOST = 1200, STATS = 3 };

static const int64_t sizes[PARAMS] = {17, 1200, 5, 2};
static const char *const names[PARAMS] = {"a", "b", "c", "stats"};

typedef struct plan {
    lks_replica_options_t options;
    lks_join_options_t join;
    lks_optim_config_t optim;
    bool own_update;
    double own_clip;       /* largest norm, of the caller's own update; 0: none */
    int window;            /* steps of which the last one synchronizes */
    int unused;            /* parameter that rank 0 alone uses; PARAMS: none */
    int inputs[RANKS_MAX]; /* of each rank: in steps, synchronized or not */
} plan_t;

static plan_t plan_of(int first, int second, int third, int fourth)
{
    plan_t plan = {.options = lks_replica_options_default(),
                   .join = lks_join_options_default(),
                   .optim = lks_optim_config_default(LKS_OPTIM_SGD),
                   .window = 1,
                   .unused = PARAMS,
                   .inputs = {first, second, third, fourth}};
    plan.optim.lr = 0.125;
    plan.optim.momentum = 0.5;
    plan.options.bucket_bytes = plan.options.first_bucket_bytes = 600;
    return plan;
}

static double lr_of(const plan_t *plan, int step)
{
    return plan->optim.lr / (1 + step);
}

static float made_up_grad(int micro, int rank, int p, int64_t i)
{
    return (float)((micro * 31 + rank * 17 + p * 7 + (int)i) % 23) / 8 - 1;
}

static float made_up_stat(int rank, int step)
{
    return (float)(100 * step + rank);
}

static bool uses(const plan_t *plan, int rank, int p)
{
    return p != STATS && (p != plan->unused || rank == 0);
}

/* --- what must come out ------------------------------------------------------------------------- */

typedef struct truth {
    double value[PARAMS][MOST], momentum[PARAMS][MOST], grad[PARAMS][MOST];
    bool used[PARAMS];
    int last; /* the rank that others follow in the end */
    int steps;
} truth_t;

/* Ranks with an input for micro-step `micro`; the highest of them goes to `last`. */
static int active(const plan_t *plan, int ranks, int micro, int *last)
{
    int count = 0;
    for (int rank = 0; rank < ranks; rank++) {
        if (plan->inputs[rank] > micro) {
            *last = rank;
            count++;
        }
    }
    return count;
}

/* What ranks have for the steps of a window, all of it. */
static void sum_window(truth_t *truth, const plan_t *plan, int ranks, int step, double divisor)
{
    memset(truth->grad, 0, sizeof truth->grad);
    memset(truth->used, 0, sizeof truth->used);
    for (int rank = 0; rank < ranks; rank++) {
        for (int k = step * plan->window; k < (step + 1) * plan->window && k < plan->inputs[rank];
             k++) {
            for (int p = 0; p < PARAMS; p++) {
                for (int64_t i = 0; i < sizes[p] && uses(plan, rank, p); i++) {
                    truth->used[p] = true;
                    truth->grad[p][i] += (double)made_up_grad(k, rank, p, i) / divisor;
                }
            }
        }
    }
}

static double clip_factor(const truth_t *truth, double most)
{
    double square = 0;
    for (int p = 0; p < PARAMS; p++) {
        for (int64_t i = 0; i < sizes[p]; i++) {
            square += truth->grad[p][i] * truth->grad[p][i];
        }
    }
    return most > 0 ? fmin(1, most / (sqrt(square) + 1e-6)) : 1;
}

static void tell_truth(truth_t *truth, const plan_t *plan, int ranks)
{
    int count;
    truth->last = ranks - 1;
    for (int step = 0; (count = active(plan, ranks, (step + 1) * plan->window - 1, &truth->last));
         step++) {
        double divisor = plan->options.reduce == LKS_REDUCE_SUM    ? 1
                         : plan->join.divide_by_initial_world_size ? ranks
                                                                   : count;
        sum_window(truth, plan, ranks, step, divisor);
        double factor =
            clip_factor(truth, plan->own_update ? plan->own_clip : plan->options.clip_norm);
        double momentum = plan->own_update ? 0 : plan->optim.momentum;
        for (int p = 0; p < PARAMS; p++) {
            for (int64_t i = 0; i < sizes[p] && truth->used[p]; i++) {
                truth->momentum[p][i] =
                    momentum * truth->momentum[p][i] + factor * truth->grad[p][i];
                truth->value[p][i] -= lr_of(plan, step) * truth->momentum[p][i];
            }
        }
        truth->steps++;
    }
}

/* --- what comes out ----------------------------------------------------------------------------- */

typedef struct model {
    float value[PARAMS][MOST];
    lks_replica_param_t params[PARAMS];
} model_t;

static lks_status_t make(lks_comm_t *comm, const plan_t *plan, model_t *model, lks_replica_t **out)
{
    lks_replica_options_t options = plan->options;
    options.optim = plan->own_update ? NULL : &plan->optim;
    memset(model, 0, sizeof *model);
    for (int p = 0; p < PARAMS; p++) {
        model->params[p] =
            (lks_replica_param_t){.name = names[p],
                                  .kind = p == STATS ? LKS_PARAM_BUFFER : LKS_PARAM_WEIGHT,
                                  .dtype = LKS_DTYPE_F32,
                                  .ndim = 1,
                                  .shape = &sizes[p],
                                  .value = model->value[p]};
    }
    return lks_replica_create(comm, model->params, PARAMS, &options, out);
}

/* Before the forward pass of a step: what the ranks that have inputs wrote in the one before. */
static lks_status_t check_stats(lks_replica_t *replica, const plan_t *plan, const model_t *model,
                                int micro)
{
    int last = 0, count = active(plan, replica->world_size, micro, &last);
    double sum = 0;
    for (int rank = 0; rank < replica->world_size; rank++) {
        sum += plan->inputs[rank] > micro ? (double)made_up_stat(rank, micro - 1) : 0;
    }
    double wanted = plan->options.buffers == LKS_BUFFERS_AVERAGE
                        ? sum / count
                        : (double)made_up_stat(last, micro - 1);
    double got = (double)model->value[STATS][1];
    RANK_CHECK(micro == 0 || fabs(got - wanted) < 1e-4, "step %d: a buffer is %g, wanted %g", micro,
               got, wanted);
    return LKS_OK;
}

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, int micro)
{
    for (int p = PARAMS; p-- > 0;) {
        if (!uses(plan, replica->rank, p)) {
            continue;
        }
        float *grad = lks_replica_grad(replica, (size_t)p);
        for (int64_t i = 0; i < sizes[p]; i++) {
            grad[i] = made_up_grad(micro, replica->rank, p, i);
        }
        LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
    }
    return LKS_OK;
}

static lks_status_t update_by_hand(lks_replica_t *replica, const plan_t *plan, model_t *model,
                                   int step)
{
    if (plan->own_clip > 0) {
        LKS_TRY(lks_replica_clip_norm(replica, plan->own_clip, NULL));
    }
    for (int p = 0; p < STATS; p++) {
        const float *grad = lks_replica_grad(replica, (size_t)p);
        for (int64_t i = 0; i < sizes[p]; i++) {
            model->value[p][i] -= (float)lr_of(plan, step) * grad[i];
        }
    }
    return LKS_OK;
}

static lks_status_t take_step(lks_replica_t *replica, const plan_t *plan, model_t *model, int micro)
{
    int step = micro / plan->window;
    bool last = micro % plan->window == plan->window - 1;
    lks_replica_set_sync(replica, last);
    if (replica->optim) {
        lks_optim_set_lr(replica->optim, lr_of(plan, step));
    }
    LKS_TRY(lks_replica_begin(replica));
    if (plan->window == 1) {
        LKS_TRY(check_stats(replica, plan, model, micro));
    }
    for (int64_t i = 0; i < sizes[STATS]; i++) {
        model->value[STATS][i] = made_up_stat(replica->rank, micro);
    }
    LKS_TRY(backward(replica, plan, micro));
    if (!plan->own_update) {
        return lks_replica_step(replica);
    }
    LKS_TRY(lks_replica_finish(replica));
    return last ? update_by_hand(replica, plan, model, step) : LKS_OK;
}

static lks_status_t run_out(lks_replica_t *replica, const plan_t *plan, model_t *model)
{
    LKS_TRY(lks_replica_join_begin(replica, &plan->join));
    for (int micro = 0; micro < plan->inputs[replica->rank]; micro++) {
        LKS_TRY(take_step(replica, plan, model, micro));
    }
    return lks_replica_join_end(replica);
}

static lks_status_t compare(const plan_t *plan, const model_t *model, int ranks)
{
    truth_t *truth = calloc(1, sizeof *truth);
    tell_truth(truth, plan, ranks);
    lks_status_t status = LKS_OK;
    for (int p = 0; p < STATS; p++) {
        for (int64_t i = 0; i < sizes[p] && status == LKS_OK; i++) {
            double got = (double)model->value[p][i], wanted = truth->value[p][i];
            status = fabs(got - wanted) < 1e-5
                         ? LKS_OK
                         : lks_fail(LKS_ERR_MISMATCH, "%s[%d] is %g, wanted %g", names[p], (int)i,
                                    got, wanted);
        }
    }
    int micros = 0;
    for (int rank = 0; rank < ranks; rank++) {
        micros = plan->inputs[rank] > micros ? plan->inputs[rank] : micros;
    }
    (void)active(plan, ranks, micros - 1, &truth->last);
    float stat = micros > 0 ? made_up_stat(truth->last, micros - 1) : 0;
    free(truth);
    RANK_CHECK(model->value[STATS][0] == stat, "a buffer is %g, wanted %g",
               (double)model->value[STATS][0], (double)stat);
    return status;
}

/* All ranks have the same bits. */
static lks_status_t compare_ranks(lks_comm_t *comm, const model_t *model)
{
    float *least = malloc(MOST * sizeof *least);
    lks_status_t status = LKS_OK;
    for (int p = 0; p < PARAMS && status == LKS_OK; p++) {
        status = lks_comm_all_reduce(comm, model->value[p], least, (size_t)sizes[p], LKS_DTYPE_F32,
                                     LKS_REDUCE_MIN, NULL);
        if (status == LKS_OK &&
            memcmp(least, model->value[p], (size_t)sizes[p] * sizeof *least) != 0) {
            status = lks_fail(LKS_ERR_MISMATCH, "%s differs between ranks", names[p]);
        }
    }
    free(least);
    return status;
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, plan, model, &replica));
    LKS_TRY(run_out(replica, plan, model));
    LKS_TRY(compare(plan, model, replica->world_size));
    LKS_TRY(compare_ranks(comm, model));
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        plan.join.divide_by_initial_world_size = true;
        run_ranks_ok(ranks, train, &plan);
        plan.join.divide_by_initial_world_size = false;
        run_ranks_ok(ranks, train, &plan);
    }
}

/* With ranks that run out early, late, at once, or have nothing. */
static void check_all(plan_t plan)
{
    static const int inputs[][4] = {{5, 3, 4, 1}, {1, 3, 3, 7}, {0, 4, 2, 0},
                                    {4, 0, 1, 6}, {3, 3, 3, 3}, {0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        memcpy(plan.inputs, inputs[i], sizeof inputs[i]);
        check(plan);
    }
}

Test(join, ranks_without_inputs_add_nothing)
{
    check_all(plan_of(0, 0, 0, 0));
}

Test(join, gradients_may_be_summed)
{
    plan_t plan = plan_of(5, 3, 4, 1);
    plan.options.reduce = LKS_REDUCE_SUM;
    check(plan);
}

Test(join, updates_may_wait_for_all_buckets)
{
    plan_t plan = plan_of(0, 0, 0, 0);
    plan.options.clip_norm = 2;
    check_all(plan);
    plan.options.measure_norm = true;
    plan.options.clip_norm = 0;
    check(plan);
}

Test(join, the_caller_may_update_and_clip)
{
    plan_t plan = plan_of(0, 0, 0, 0);
    plan.own_update = true;
    check_all(plan);
    plan.own_clip = 2;
    check_all(plan);
}

Test(join, buffers_may_be_averaged_over_ranks_with_inputs)
{
    plan_t plan = plan_of(2, 5, 1, 4);
    plan.options.buffers = LKS_BUFFERS_AVERAGE;
    check(plan);
}

Test(join, what_was_accumulated_is_not_lost)
{
    plan_t plan = plan_of(4, 7, 12, 2);
    plan.window = 3;
    check(plan);
    plan.own_update = true;
    check(plan);
}

Test(join, parameters_of_ranks_without_inputs_count_as_unused)
{
    plan_t plan = plan_of(2, 4, 3, 4);
    plan.options.find_unused = true;
    plan.unused = 2;
    check(plan);
}

Test(join, hooks_run_on_ranks_without_inputs)
{
    plan_t plan = plan_of(5, 3, 4, 1);
    plan.options.hook =
        (lks_comm_hook_t){.kind = LKS_COMM_HOOK_OWN, .run = lks_comm_hook_all_reduce};
    check_all(plan);
}

/* --- more than one join ------------------------------------------------------------------------- */

static lks_status_t train_twice(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, &plan, model, &replica));
    for (int epoch = 0; epoch < 3; epoch++) {
        plan.inputs[0] = epoch;
        LKS_TRY(run_out(replica, &plan, model));
        LKS_TRY(compare_ranks(comm, model));
    }
    LKS_TRY(lks_replica_begin(replica)); /* outside a join */
    LKS_TRY(backward(replica, &plan, 0));
    LKS_TRY(lks_replica_step(replica));
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(join, epochs_may_follow_each_other_and_end_with_equal_models)
{
    plan_t plans[3] = {plan_of(0, 2, 3, 1), plan_of(0, 2, 3, 1), plan_of(0, 2, 3, 1)};
    lks_power_sgd_config_t config = lks_power_sgd_config_default();
    config.start_iter = 2;
    config.min_compression_rate = 0.25;
    plans[1].options.hook =
        (lks_comm_hook_t){.kind = LKS_COMM_HOOK_POWER_SGD, .power_sgd = &config};
    plans[2].options.hook.kind = LKS_COMM_HOOK_BF16;
    for (int i = 0; i < 3; i++) {
        plans[i].join.divide_by_initial_world_size = i == 0;
        run_ranks_ok(4, train_twice, &plans[i]);
    }
}

/* --- early termination -------------------------------------------------------------------------- */

static lks_status_t stop_early(lks_comm_t *comm, void *context)
{
    plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, plan, model, &replica));
    RANK_CHECK(run_out(replica, plan, model) == LKS_ERR_MISMATCH, "it went on");
    RANK_CHECK(
        strcmp(lks_last_error()->message, "step 2: rank 1 is out of inputs and rank 2 is not") == 0,
        "%s", lks_last_error()->message);
    plan_t even = *plan;
    for (int i = 0; i < 4; i++) {
        even.inputs[i] = 2;
    }
    LKS_TRY(run_out(replica, &even, model)); /* even inputs are no error, and the replica lives */
    LKS_TRY(compare_ranks(comm, model));
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(join, early_termination_is_told_on_all_ranks)
{
    plan_t plan = plan_of(4, 2, 3, 2);
    plan.join.throw_on_early_termination = true;
    run_ranks_ok(3, stop_early, &plan);
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static lks_status_t misuse(lks_comm_t *comm, void *context)
{
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, context, model, &replica));
    RANK_CHECK(lks_replica_join_end(replica) == LKS_ERR_INVALID_ARG &&
                   strstr(lks_last_error()->message, "a join ends that has not begun"),
               "%s", lks_last_error()->message);
    LKS_TRY(lks_replica_join_begin(replica, NULL));
    RANK_CHECK(lks_replica_join_begin(replica, NULL) == LKS_ERR_INVALID_ARG &&
                   strstr(lks_last_error()->message, "a join begins inside a join"),
               "%s", lks_last_error()->message);
    LKS_TRY(lks_replica_join_end(replica));
    lks_join_options_t options = lks_join_options_default();
    options.divide_by_initial_world_size = replica->rank == 1;
    RANK_CHECK(lks_replica_join_begin(replica, &options) == LKS_ERR_MISMATCH &&
                   strstr(lks_last_error()->message, "ranks begin a join with different options"),
               "%s", lks_last_error()->message);
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(join, wrong_calls_are_refused)
{
    plan_t plan = plan_of(0, 0, 0, 0);
    run_ranks_ok(2, misuse, &plan);
}

/* Rank 2 fails in its second step, while rank 0 has joined. */
static lks_status_t fail_late(lks_comm_t *comm, void *context)
{
    plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, plan, model, &replica));
    lks_status_t status = lks_replica_join_begin(replica, NULL);
    for (int micro = 0; micro < plan->inputs[replica->rank] && status == LKS_OK; micro++) {
        status = take_step(replica, plan, model, micro);
        if (micro == 0 && replica->rank == 2) {
            status = lks_fail(LKS_ERR_IO, "no second batch");
        }
    }
    if (status == LKS_OK) {
        status = lks_replica_join_end(replica);
    }
    lks_error_t error = *lks_last_error();
    if (status == LKS_ERR_IO) {
        lks_comm_abort(comm, error.message);
    }
    lks_replica_destroy(replica);
    free(model);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

Test(join, a_rank_that_fails_ends_the_job_of_those_that_wait)
{
    lks_error_t errors[RANKS_MAX];
    plan_t plan = plan_of(1, 3, 3, 0);
    run_ranks(3, NULL, fail_late, &plan, errors);
    cr_assert(errors[2].status == LKS_ERR_IO, "%s", errors[2].message);
    for (int i = 0; i < 2; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED &&
                      strstr(errors[i].message, "no second batch"),
                  "rank %d: %s", i, errors[i].message);
    }
}
