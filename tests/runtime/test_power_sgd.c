/* SPDX-License-Identifier: Apache-2.0 */
/* PowerSGD against its formulas in float64, all ranks of them in one place. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS = 5, MOST = 4096, LONGEST = 64, RANKS = 4, RANK_MOST = 4 };

static const int ndims[PARAMS] = {2, 1, 3, 2, 2};
static const int64_t shapes[PARAMS][3] = {{40, 30}, {50}, {20, 3, 4}, {1, 33}, {64, 64}};
static const char *const names[PARAMS] = {"a", "b", "c", "d", "e"};

static size_t rows_of(size_t p)
{
    return (size_t)shapes[p][0];
}

static size_t columns_of(size_t p)
{
    size_t columns = 1;
    for (int i = 1; i < ndims[p]; i++) {
        columns *= (size_t)shapes[p][i];
    }
    return columns;
}

static size_t numel(size_t p)
{
    return rows_of(p) * columns_of(p);
}

typedef struct plan {
    lks_replica_options_t options;
    lks_power_sgd_config_t config;
    int steps;
} plan_t;

static double mixed(size_t a, size_t b, size_t c, size_t d)
{
    unsigned word = (unsigned)(a * 7919 + b * 104729 + c * 31 + d * 1299721);
    word = (word ^ word >> 15) * 2654435761u;
    word = (word ^ word >> 13) * 2246822519u;
    return (double)(word ^ word >> 16) * 0x1p-31 - 1;
}

static void draw(void *context, int64_t step, size_t param, size_t rank, size_t columns, float *q)
{
    (void)context;
    for (size_t i = 0; i < rank * columns; i++) {
        q[i] = (float)mixed((size_t)step, param, i, 77);
    }
}

static plan_t plan_of(int rank)
{
    plan_t plan = {.options = lks_replica_options_default(),
                   .config = lks_power_sgd_config_default(),
                   .steps = 5};
    plan.config.matrix_approximation_rank = rank;
    plan.config.start_iter = 2;
    plan.config.draw = draw;
    plan.options.hook.kind = LKS_COMM_HOOK_POWER_SGD;
    plan.options.bucket_bytes = plan.options.first_bucket_bytes = 6000;
    return plan;
}

/* A few strong directions and noise, as gradients have them. */
static double made_up_grad(int step, int rank, size_t p, size_t i)
{
    size_t row = i / columns_of(p), column = i % columns_of(p);
    double strong = 2 * mixed(p, row, 0, 1) * mixed(p, column, 0, 2) +
                    mixed(p, row, 0, 3) * mixed(p, column, 0, 4);
    return strong + 0.3 * mixed((size_t)step, (size_t)rank, p, i);
}

/* --- the formulas ------------------------------------------------------------------------------- */

typedef struct truth {
    double grad[PARAMS][MOST];
    double input[RANKS][PARAMS][MOST], error[RANKS][PARAMS][MOST];
    double q[PARAMS][LONGEST][RANK_MOST];
    bool has_q[PARAMS];
} truth_t;

static size_t rank_of(const plan_t *plan, size_t p)
{
    size_t n = rows_of(p), m = columns_of(p), r = (size_t)plan->config.matrix_approximation_rank;
    r = r < n ? r : n;
    r = r < m ? r : m;
    return (double)((n + m) * r) * plan->config.min_compression_rate < (double)(n * m) ? r : 0;
}

/* Column by column, as _orthogonalize_gram_schmidt does it. */
static void orthogonalize(double a[][RANK_MOST], size_t n, size_t rank, double epsilon)
{
    for (size_t k = 0; k < rank; k++) {
        double norm = 0;
        for (size_t i = 0; i < n; i++) {
            norm += a[i][k] * a[i][k];
        }
        for (size_t i = 0; i < n; i++) {
            a[i][k] /= sqrt(norm) + (rank <= 2 ? epsilon : 0);
        }
        for (size_t other = k + 1; other < rank; other++) {
            double along = 0;
            for (size_t i = 0; i < n; i++) {
                along += a[i][k] * a[i][other];
            }
            for (size_t i = 0; i < n; i++) {
                a[i][other] -= along * a[i][k];
            }
        }
    }
}

static void begin_q(truth_t *truth, const plan_t *plan, int step, size_t p)
{
    size_t rank = rank_of(plan, p), m = columns_of(p);
    if (!truth->has_q[p] || !plan->config.warm_start) {
        float q[RANK_MOST * LONGEST];
        draw(NULL, step, p, rank, m, q);
        for (size_t j = 0; j < m; j++) {
            for (size_t k = 0; k < rank; k++) {
                truth->q[p][j][k] = (double)q[k * m + j];
            }
        }
        truth->has_q[p] = true;
    }
    orthogonalize(truth->q[p], m, rank, plan->config.orthogonalization_epsilon);
}

static void compress(truth_t *truth, const plan_t *plan, int ranks, double divisor, size_t p)
{
    size_t rank = rank_of(plan, p), n = rows_of(p), m = columns_of(p);
    static _Thread_local double left[LONGEST][RANK_MOST];
    memset(left, 0, sizeof left);
    for (int r = 0; r < ranks; r++) {
        for (size_t i = 0; i < n * m; i++) {
            for (size_t k = 0; k < rank; k++) {
                left[i / m][k] += truth->input[r][p][i] * truth->q[p][i % m][k];
            }
        }
    }
    orthogonalize(left, n, rank, plan->config.orthogonalization_epsilon);
    memset(truth->q[p], 0, sizeof truth->q[p]);
    for (int r = 0; r < ranks; r++) {
        for (size_t i = 0; i < n * m; i++) {
            for (size_t k = 0; k < rank; k++) {
                truth->q[p][i % m][k] += truth->input[r][p][i] * left[i / m][k] / divisor;
            }
        }
    }
    for (size_t i = 0; i < n * m; i++) {
        truth->grad[p][i] = 0;
        for (size_t k = 0; k < rank; k++) {
            truth->grad[p][i] += left[i / m][k] * truth->q[p][i % m][k];
        }
    }
}

static void tell_truth(truth_t *truth, const plan_t *plan, int ranks, int step)
{
    bool average = plan->options.reduce == LKS_REDUCE_AVG;
    double divisor = average ? ranks : 1, share = average ? 1 : 1 / (double)ranks;
    for (size_t p = 0; p < PARAMS; p++) {
        bool compressed = rank_of(plan, p) > 0 && step >= plan->config.start_iter;
        for (size_t i = 0; i < numel(p); i++) {
            truth->grad[p][i] = 0;
            for (int r = 0; r < ranks; r++) {
                truth->input[r][p][i] = made_up_grad(step, r, p, i) + truth->error[r][p][i];
                truth->grad[p][i] += truth->input[r][p][i] / divisor;
            }
        }
        if (compressed) {
            begin_q(truth, plan, step, p);
            compress(truth, plan, ranks, divisor, p);
        }
        for (size_t i = 0;
             i < numel(p) && plan->config.use_error_feedback && step >= plan->config.start_iter;
             i++) {
            for (int r = 0; r < ranks; r++) { /* PyTorch: of all, compressed or not */
                truth->error[r][p][i] = truth->input[r][p][i] - share * truth->grad[p][i];
            }
        }
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
    options.hook.power_sgd = &plan->config;
    memset(model, 0, sizeof *model);
    for (size_t p = 0; p < PARAMS; p++) {
        model->params[p] = (lks_replica_param_t){.name = names[p],
                                                 .dtype = LKS_DTYPE_F32,
                                                 .ndim = ndims[p],
                                                 .shape = shapes[p],
                                                 .value = model->value[p]};
    }
    return lks_replica_create(comm, model->params, PARAMS, &options, out);
}

typedef double (*grad_fn_t)(int step, int rank, size_t p, size_t i);

static lks_status_t step_once(lks_replica_t *replica, int step, grad_fn_t grad_of)
{
    static const size_t order[PARAMS] = {4, 2, 3, 1, 0};
    LKS_TRY(lks_replica_begin(replica));
    for (size_t k = 0; k < PARAMS; k++) {
        float *grad = lks_replica_grad(replica, order[k]);
        for (size_t i = 0; i < numel(order[k]); i++) {
            grad[i] = (float)grad_of(step, replica->rank, order[k], i);
        }
        LKS_TRY(lks_replica_grad_ready(replica, order[k]));
    }
    return replica->optim ? lks_replica_step(replica) : lks_replica_finish(replica);
}

static lks_status_t compare(lks_replica_t *replica, const truth_t *truth, int step)
{
    for (size_t p = 0; p < PARAMS; p++) {
        const float *grad = lks_replica_grad(replica, p);
        for (size_t i = 0; i < numel(p); i++) {
            double got = (double)grad[i], wanted = truth->grad[p][i];
            RANK_CHECK(fabs(got - wanted) < 1e-4 * (1 + fabs(wanted)),
                       "step %d, %s[%zu] is %.7g, wanted %.7g", step, names[p], i, got, wanted);
        }
    }
    return LKS_OK;
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    truth_t *truth = calloc(1, sizeof *truth);
    lks_replica_t *replica;
    LKS_TRY(make(comm, plan, model, &replica));
    for (int step = 0; step < plan->steps; step++) {
        LKS_TRY(step_once(replica, step, made_up_grad));
        tell_truth(truth, plan, replica->world_size, step);
        LKS_TRY(compare(replica, truth, step));
    }
    RANK_CHECK(lks_power_sgd_steps(lks_replica_power_sgd(replica)) == plan->steps, "steps");
    lks_replica_destroy(replica);
    free(truth);
    free(model);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= RANKS; ranks++) {
        run_ranks_ok(ranks, train, &plan);
    }
}

Test(power_sgd, gradients_are_what_the_formulas_say)
{
    for (int rank = 1; rank <= 4; rank++) {
        check(plan_of(rank));
    }
}

Test(power_sgd, buckets_may_have_any_size)
{
    const size_t sizes[] = {1, 500, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        plan_t plan = plan_of(2);
        plan.options.bucket_bytes = plan.options.first_bucket_bytes = sizes[i];
        check(plan);
    }
}

Test(power_sgd, without_error_feedback_or_warm_start)
{
    plan_t plan = plan_of(2);
    plan.config.use_error_feedback = false;
    check(plan);
    plan.config.warm_start = false;
    check(plan);
    plan.config.use_error_feedback = true;
    check(plan);
}

Test(power_sgd, an_epsilon_is_added_to_norms)
{
    plan_t plan = plan_of(2);
    plan.config.orthogonalization_epsilon = 0.1;
    check(plan);
    plan.config.matrix_approximation_rank = 3; /* QR has none */
    check(plan);
}

Test(power_sgd, the_first_step_may_be_compressed)
{
    plan_t plan = plan_of(1);
    plan.config.start_iter = 0; /* buckets are rebuilt after it */
    check(plan);
}

Test(power_sgd, what_saves_too_little_is_not_compressed)
{
    plan_t plan = plan_of(1);
    const double rates[] = {0.5, 10, 20, 1000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        plan.config.min_compression_rate = rates[i];
        check(plan);
    }
}

Test(power_sgd, gradients_may_be_summed)
{
    plan_t plan = plan_of(1);
    plan.options.reduce = LKS_REDUCE_SUM;
    check(plan);
}

/* --- random Q ----------------------------------------------------------------------------------- */

static double product_grad(int step, int rank, size_t p, size_t i)
{
    (void)rank;
    return 1e-3 + mixed(p, i / columns_of(p), (size_t)step, 1) * mixed(p, i % columns_of(p), 0, 2);
}

/* A gradient of rank 2, whatever Q is; and all ranks have the same bits. */
static lks_status_t reproduce(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, plan, model, &replica));
    for (int step = 0; step < plan->steps; step++) {
        LKS_TRY(step_once(replica, step, product_grad));
        for (size_t p = 0; p < PARAMS; p++) {
            const float *grad = lks_replica_grad(replica, p);
            float *least = malloc(numel(p) * sizeof *least);
            LKS_TRY(lks_comm_all_reduce(comm, grad, least, numel(p), LKS_DTYPE_F32, LKS_REDUCE_MIN,
                                        NULL));
            for (size_t i = 0; i < numel(p); i++) {
                double got = (double)grad[i], wanted = product_grad(step, 0, p, i);
                RANK_CHECK(least[i] == grad[i], "%s[%zu] differs between ranks", names[p], i);
                RANK_CHECK(fabs(got - wanted) < 1e-5, "step %d, %s[%zu] is %g, wanted %g", step,
                           names[p], i, got, wanted);
            }
            free(least);
        }
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(power_sgd, a_gradient_of_low_rank_comes_back_from_random_numbers)
{
    for (int rank = 2; rank <= 4; rank++) { /* more than it has: nothing counts twice */
        plan_t plan = plan_of(rank);
        plan.config.draw = NULL;
        plan.config.seed = 12;
        for (int ranks = 1; ranks <= RANKS; ranks++) {
            plan.config.warm_start = ranks % 2 == 0;
            run_ranks_ok(ranks, reproduce, &plan);
        }
    }
}

static double zero_grad(int step, int rank, size_t p, size_t i)
{
    (void)step;
    (void)rank;
    (void)p;
    (void)i;
    return 0;
}

/* Two steps without gradients: all stays zero, and finite. */
static lks_status_t do_nothing(lks_comm_t *comm, void *context)
{
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, context, model, &replica));
    for (int step = 0; step < 4; step++) {
        LKS_TRY(step_once(replica, step, zero_grad));
        const float *grad = lks_replica_grad(replica, 4);
        for (size_t i = 0; i < numel(4); i++) {
            RANK_CHECK(grad[i] == 0, "step %d: %g", step, (double)grad[i]);
        }
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(power_sgd, gradients_of_zero_stay_zero)
{
    plan_t plan = plan_of(2);
    plan.config.draw = NULL;
    run_ranks_ok(2, do_nothing, &plan);
}

typedef struct seen {
    uint64_t seed;
    double sum, squares;
    float first, count;
} seen_t;

/* The Q of step 0 before it is orthonormal is not to be had; the one after it is: M = I, so Q stays. */
static double identity_grad(int step, int rank, size_t p, size_t i)
{
    (void)step;
    (void)rank;
    return i / columns_of(p) == i % columns_of(p);
}

static lks_status_t look_at_q(lks_comm_t *comm, void *context)
{
    seen_t *seen = context;
    plan_t plan = plan_of(1);
    plan.config.draw = NULL;
    plan.config.seed = seen->seed;
    plan.config.start_iter = 0;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, &plan, model, &replica));
    LKS_TRY(step_once(replica, 0, identity_grad));
    lks_power_sgd_param_t param = lks_power_sgd_param(lks_replica_power_sgd(replica), 4);
    RANK_CHECK(param.rank == 1 && param.rows == 64 && param.columns == 64, "%zu", param.rank);
    *seen = (seen_t){.first = param.q[0], .count = (float)param.columns};
    for (size_t i = 0; i < param.columns; i++) {
        seen->sum += (double)param.q[i];
        seen->squares += (double)param.q[i] * (double)param.q[i];
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(power_sgd, random_numbers_follow_the_seed)
{
    seen_t seen[] = {{.seed = 1}, {.seed = 2}, {.seed = 1}};
    for (int i = 0; i < 3; i++) {
        run_ranks_ok(1, look_at_q, &seen[i]);
        cr_assert(fabs(seen[i].squares - 1) < 1e-5 && fabs(seen[i].sum) < 4);
    }
    cr_assert(seen[0].first != seen[1].first && seen[0].first == seen[2].first);
}

/* --- state -------------------------------------------------------------------------------------- */

typedef struct saved {
    int64_t steps;
    float error[PARAMS][MOST], q[PARAMS][RANK_MOST * LONGEST];
} saved_t;

static void move(const lks_power_sgd_t *state, saved_t *saved, bool save)
{
    for (size_t p = 0; p < PARAMS; p++) {
        lks_power_sgd_param_t param = lks_power_sgd_param(state, p);
        size_t error = param.error ? param.rows * param.columns * sizeof(float) : 0;
        size_t q = param.rank * param.columns * sizeof(float);
        if (param.rank > 0) {
            memcpy(save ? saved->error[p] : param.error, save ? param.error : saved->error[p],
                   error);
            memcpy(save ? saved->q[p] : param.q, save ? param.q : saved->q[p], q);
        }
    }
}

/* Six steps; then three, and three more of a new replica that begins where these ended. */
static lks_status_t resume(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *models = calloc(2, sizeof *models);
    saved_t *saved = calloc(1, sizeof *saved);
    lks_replica_t *whole, *half;
    LKS_TRY(make(comm, plan, &models[0], &whole));
    LKS_TRY(make(comm, plan, &models[1], &half));
    for (int step = 0; step < 6; step++) {
        LKS_TRY(step_once(whole, step, made_up_grad));
        if (step == 3) {
            lks_replica_destroy(half);
            LKS_TRY(make(comm, plan, &models[1], &half));
            move(lks_replica_power_sgd(half), saved, false);
            lks_power_sgd_set_steps(lks_replica_power_sgd(half), saved->steps);
        }
        LKS_TRY(step_once(half, step, made_up_grad));
        if (step == 2) {
            move(lks_replica_power_sgd(half), saved, true);
            saved->steps = lks_power_sgd_steps(lks_replica_power_sgd(half));
        }
    }
    for (size_t p = 0; p < PARAMS; p++) {
        RANK_CHECK(memcmp(lks_replica_grad(whole, p), lks_replica_grad(half, p),
                          numel(p) * sizeof(float)) == 0,
                   "%s differs", names[p]);
    }
    lks_replica_destroy(whole);
    lks_replica_destroy(half);
    free(saved);
    free(models);
    return LKS_OK;
}

Test(power_sgd, a_state_that_was_restored_goes_on_as_it_would_have)
{
    plan_t plan = plan_of(2);
    run_ranks_ok(3, resume, &plan);
}

static lks_status_t update(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    lks_optim_config_t optim = lks_optim_config_default(LKS_OPTIM_SGD);
    plan.options.optim = &optim;
    model_t *model = malloc(sizeof *model);
    truth_t *truth = calloc(1, sizeof *truth);
    double *wanted = calloc(MOST, sizeof *wanted);
    lks_replica_t *replica;
    LKS_TRY(make(comm, &plan, model, &replica));
    for (int step = 0; step < plan.steps; step++) {
        LKS_TRY(step_once(replica, step, made_up_grad));
        tell_truth(truth, &plan, replica->world_size, step);
        for (size_t i = 0; i < numel(0); i++) {
            wanted[i] -= optim.lr * truth->grad[0][i];
        }
    }
    for (size_t i = 0; i < numel(0); i++) {
        RANK_CHECK(fabs((double)model->value[0][i] - wanted[i]) < 1e-5, "%zu: %g, wanted %g", i,
                   (double)model->value[0][i], wanted[i]);
    }
    lks_replica_destroy(replica);
    free(wanted);
    free(truth);
    free(model);
    return LKS_OK;
}

Test(power_sgd, optimizers_get_what_comes_out)
{
    plan_t plan = plan_of(1);
    for (int ranks = 1; ranks <= RANKS; ranks++) {
        run_ranks_ok(ranks, update, &plan);
    }
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static void refuse(lks_power_sgd_config_t config, const char *text)
{
    lks_comm_t *comm;
    lks_replica_t *replica;
    lks_replica_options_t options = lks_replica_options_default();
    options.hook = (lks_comm_hook_t){.kind = LKS_COMM_HOOK_POWER_SGD, .power_sgd = &config};
    assert_ok(lks_comm_create_self(&comm));
    assert_fails(lks_replica_create(comm, NULL, 0, &options, &replica), LKS_ERR_INVALID_ARG, text);
    lks_comm_destroy(comm);
}

Test(power_sgd, options_are_checked)
{
    lks_power_sgd_config_t config = lks_power_sgd_config_default();
    config.matrix_approximation_rank = 0;
    refuse(config, "PowerSGD: a matrix_approximation_rank of 0; it must be at least 1");
    config = lks_power_sgd_config_default();
    config.start_iter = -1;
    refuse(config, "PowerSGD: a start_iter of -1 is before all steps");
    config = lks_power_sgd_config_default();
    config.min_compression_rate = 0;
    refuse(config, "PowerSGD: a min_compression_rate of 0; it must be positive");
    config = lks_power_sgd_config_default();
    config.orthogonalization_epsilon = (double)NAN;
    refuse(config, "PowerSGD: an orthogonalization_epsilon of nan; it must be at least 0");
}

/* Rank 1 wants another rank of the matrices. */
static lks_status_t differ(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    plan.config.matrix_approximation_rank = 1 + lks_comm_rank(comm) % 2;
    plan.config.start_iter = 0;
    model_t *model = malloc(sizeof *model);
    lks_replica_t *replica;
    LKS_TRY(make(comm, &plan, model, &replica));
    lks_status_t status = step_once(replica, 0, made_up_grad);
    lks_error_t error = *lks_last_error();
    lks_replica_destroy(replica);
    free(model);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

Test(power_sgd, ranks_with_other_options_are_told)
{
    lks_error_t errors[RANKS_MAX];
    plan_t plan = plan_of(1);
    run_ranks(2, NULL, differ, &plan, errors);
    for (int i = 0; i < 2; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED &&
                      strstr(errors[i].message, "rank 1 called all_reduce"),
                  "rank %d: %s", i, errors[i].message);
    }
}
