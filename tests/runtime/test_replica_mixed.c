/* SPDX-License-Identifier: Apache-2.0 */
/* Replicas whose parameters are stored in 16 bits. What must come out follows from the rule, written down in float64 with
 * the same roundings: gradients are 16-bit numbers before and after they are reduced, masters are updated from them, values
 * are masters rounded. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>
#include <math.h>
#include <stdlib.h>

enum { PARAMS = 5, MOST = 6000, BUFFER = 3 };

static const int64_t counts[PARAMS] = {12, 1, 6000, 7, 33};
static const char *const names[PARAMS] = {"a", "b", "c", "buffer", "d"};

typedef union element {
    uint16_t half[MOST];
    float single[MOST];
} element_t;

typedef struct plan {
    lks_dtype_t dtype[PARAMS];
    lks_replica_options_t options;
    lks_optim_config_t optim;
    lks_grad_scaler_t scaler;
    bool scales;
    int micro, steps;
    bool rests;             /* parameter d has no gradient in odd steps */
    int bad_step, bad_rank; /* a gradient that is `bad` */
    float bad;
} plan_t;

static plan_t plan_of(lks_dtype_t dtype, lks_optim_kind_t kind)
{
    plan_t plan = {.options = lks_replica_options_default(),
                   .optim = lks_optim_config_default(kind),
                   .scaler = lks_grad_scaler_default(),
                   .steps = 6,
                   .bad_step = -1};
    for (int p = 0; p < PARAMS; p++) {
        plan.dtype[p] = p == BUFFER ? LKS_DTYPE_F32 : dtype;
    }
    plan.optim.lr = kind == LKS_OPTIM_SGD ? 0.01 : 0.003;
    plan.scaler.scale = 1024;
    return plan;
}

static plan_t with_scaler(plan_t plan)
{
    plan.scales = true;
    return plan;
}

static float rounded(lks_dtype_t dtype, double x)
{
    float single = (float)x;
    switch (dtype) {
    case LKS_DTYPE_F16: return lks_f16_to_f32(lks_f32_to_f16(single));
    case LKS_DTYPE_BF16: return lks_bf16_to_f32(lks_f32_to_bf16(single));
    default: return single;
    }
}

static float get(lks_dtype_t dtype, const void *elements, int64_t i)
{
    switch (dtype) {
    case LKS_DTYPE_F16: return lks_f16_to_f32(((const uint16_t *)elements)[i]);
    case LKS_DTYPE_BF16: return lks_bf16_to_f32(((const uint16_t *)elements)[i]);
    default: return ((const float *)elements)[i];
    }
}

static void set(lks_dtype_t dtype, void *elements, int64_t i, float x)
{
    switch (dtype) {
    case LKS_DTYPE_F16: ((uint16_t *)elements)[i] = lks_f32_to_f16(x); break;
    case LKS_DTYPE_BF16: ((uint16_t *)elements)[i] = lks_f32_to_bf16(x); break;
    default: ((float *)elements)[i] = x; break;
    }
}

/* Of rank 0, who decides. */
static float first_value(int rank, int64_t i)
{
    return (float)(rank + 1) * 0.01f * (float)(i % 11) - 0.03f;
}

/* Eighths: 16 bits hold them and their sums, so that only the mean is rounded. */
static float made_up_grad(int step, int rank, int p, int64_t i)
{
    return (float)((step * 31 + rank * 17 + p * 7 + i) % 23) / 8 - 1;
}

static bool uses(const plan_t *plan, int step, int p)
{
    return p != BUFFER && !(plan->rests && p == PARAMS - 1 && step % 2 == 1);
}

/* --- what must come out ------------------------------------------------------------------------- */

typedef struct truth {
    double master[PARAMS][MOST], grad[PARAMS][MOST], m[PARAMS][MOST], v[PARAMS][MOST];
    lks_grad_scaler_t scaler;
    double norm;
    int updates, skipped, updates_of[PARAMS];
} truth_t;

static double scale_of(const truth_t *truth, const plan_t *plan)
{
    return plan->scales ? (double)truth->scaler.scale : 1;
}

/* False: the step is skipped. */
static bool reduce_truth(truth_t *truth, const plan_t *plan, int ranks, int step)
{
    double square = 0, scale = scale_of(truth, plan);
    for (int p = 0; p < PARAMS; p++) {
        for (int64_t i = 0; i < counts[p] && uses(plan, step, p); i++) {
            double sum = 0;
            for (int rank = 0; rank < ranks; rank++) {
                for (int k = 0; k <= plan->micro; k++) {
                    sum += (double)made_up_grad(step * 10 + k, rank, p, i);
                }
            }
            double g = (double)rounded(plan->dtype[p], scale * sum / ranks) / scale;
            truth->grad[p][i] = g;
            square += g * g;
        }
    }
    truth->norm = sqrt(square);
    return !(plan->scales && step == plan->bad_step && plan->bad_rank < ranks);
}

static void clip_truth(const truth_t *truth, const plan_t *plan, double *g)
{
    double factor = plan->options.clip_norm / (truth->norm + 1e-6),
           limit = plan->options.clip_value;
    *g *= plan->options.clip_norm > 0 && factor < 1 ? factor : 1;
    *g = limit > 0 ? fmax(-limit, fmin(limit, *g)) : *g;
}

static void update_truth(truth_t *truth, const plan_t *plan, int step)
{
    const lks_optim_config_t *o = &plan->optim;
    truth->updates++;
    for (int p = 0; p < PARAMS; p++) {
        int update = truth->updates_of[p] += uses(plan, step, p);
        for (int64_t i = 0; i < counts[p] && uses(plan, step, p); i++) {
            double g = truth->grad[p][i], *m = &truth->m[p][i], *v = &truth->v[p][i];
            clip_truth(truth, plan, &g);
            if (o->kind == LKS_OPTIM_SGD) {
                *m = o->momentum * *m + g;
                truth->master[p][i] -= o->lr * *m;
                continue;
            }
            *m = o->beta1 * *m + (1 - o->beta1) * g;
            *v = o->beta2 * *v + (1 - o->beta2) * g * g;
            double mean = *m / (1 - pow(o->beta1, update)), var = *v / (1 - pow(o->beta2, update));
            truth->master[p][i] -= o->lr * mean / (sqrt(var) + o->eps);
        }
    }
}

static truth_t *first_truth(const plan_t *plan)
{
    truth_t *truth = calloc(1, sizeof *truth);
    truth->scaler = plan->scaler;
    for (int p = 0; p < PARAMS; p++) {
        for (int64_t i = 0; i < counts[p]; i++) {
            truth->master[p][i] = (double)rounded(plan->dtype[p], (double)first_value(0, i));
        }
    }
    return truth;
}

static void step_truth(truth_t *truth, const plan_t *plan, int ranks, int step)
{
    bool good = reduce_truth(truth, plan, ranks, step);
    if (good) {
        update_truth(truth, plan, step);
    }
    truth->skipped += !good;
    if (plan->scales) {
        lks_grad_scaler_update(&truth->scaler, !good);
    }
}

/* --- what comes out ----------------------------------------------------------------------------- */

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, int step, int micro)
{
    float scale = (float)lks_replica_loss_scale(replica);
    for (int p = PARAMS; p-- > 0;) {
        void *grad = lks_replica_grad(replica, (size_t)p);
        for (int64_t i = 0; i < counts[p] && p != BUFFER; i++) {
            set(plan->dtype[p], grad, i,
                scale * made_up_grad(step * 10 + micro, replica->rank, p, i));
        }
        if (p == 2 && step == plan->bad_step && replica->rank == plan->bad_rank) {
            set(plan->dtype[p], grad, 4321, plan->bad);
        }
        if (uses(plan, step, p)) {
            LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
        }
    }
    return LKS_OK;
}

static lks_status_t step_once(lks_replica_t *replica, const plan_t *plan, int step)
{
    for (int k = 0; k <= plan->micro; k++) {
        lks_replica_set_sync(replica, k == plan->micro);
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(backward(replica, plan, step, k));
        LKS_TRY(lks_replica_step(replica));
    }
    return LKS_OK;
}

static lks_status_t compare_param(const lks_replica_t *replica, const plan_t *plan,
                                  const truth_t *truth, int p, const void *value)
{
    lks_dtype_t dtype = plan->dtype[p];
    lks_tensor_t view = lks_optim_master(replica->optim, (size_t)p);
    const float *master = view.storage ? lks_tensor_data(&view) : value;
    RANK_CHECK((view.storage != NULL) == (dtype != LKS_DTYPE_F32), "masters of %s", names[p]);
    for (int64_t i = 0; i < counts[p]; i++) {
        double wanted = truth->master[p][i];
        RANK_CHECK(fabs((double)master[i] - wanted) < 1e-5 * fmax(1, fabs(wanted)),
                   "%s[%d] is %g, wanted %g", names[p], (int)i, (double)master[i], wanted);
        RANK_CHECK(get(dtype, value, i) == rounded(dtype, (double)master[i]),
                   "%s[%d] is %g, its master %g", names[p], (int)i, (double)get(dtype, value, i),
                   (double)master[i]);
    }
    return LKS_OK;
}

static lks_status_t compare(lks_replica_t *replica, const plan_t *plan, const truth_t *truth,
                            element_t *values)
{
    for (int p = 0; p < PARAMS; p++) {
        if (p != BUFFER) {
            LKS_TRY(compare_param(replica, plan, truth, p, &values[p]));
        }
    }
    RANK_CHECK(lks_optim_steps(replica->optim) == truth->updates, "%d updates",
               (int)lks_optim_steps(replica->optim));
    RANK_CHECK(lks_replica_skipped_steps(replica) == truth->skipped, "%d steps skipped",
               (int)lks_replica_skipped_steps(replica));
    RANK_CHECK(lks_replica_loss_scale(replica) == scale_of(truth, plan), "scale %g",
               lks_replica_loss_scale(replica));
    return lks_comm_barrier(replica->comm); /* masters are one memory */
}

static lks_status_t compare_norm(const lks_replica_t *replica, const plan_t *plan,
                                 const truth_t *truth, int step)
{
    double norm = lks_replica_grad_norm(replica);
    bool bad = step == plan->bad_step && plan->bad_rank < replica->world_size;
    if (!plan->scales) {
        return LKS_OK;
    }
    RANK_CHECK(bad ? !isfinite(norm) : fabs(norm - truth->norm) < 1e-6 * truth->norm,
               "norm %g, wanted %g", norm, truth->norm);
    return LKS_OK;
}

static lks_status_t open_replica(lks_comm_t *comm, plan_t *plan, element_t *values,
                                 lks_replica_t **out)
{
    lks_replica_param_t params[PARAMS];
    for (int p = 0; p < PARAMS; p++) {
        params[p] = (lks_replica_param_t){.name = names[p],
                                          .kind = p == BUFFER ? LKS_PARAM_BUFFER : LKS_PARAM_WEIGHT,
                                          .dtype = plan->dtype[p],
                                          .ndim = 1,
                                          .shape = &counts[p],
                                          .value = &values[p]};
        for (int64_t i = 0; i < counts[p]; i++) {
            set(plan->dtype[p], &values[p], i, first_value(lks_comm_rank(comm), i));
        }
    }
    plan->options.optim = &plan->optim;
    plan->options.grad_scaler = plan->scales ? &plan->scaler : NULL;
    return lks_replica_create(comm, params, PARAMS, &plan->options, out);
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    element_t *values = calloc(PARAMS, sizeof *values);
    lks_replica_t *replica;
    LKS_TRY(open_replica(comm, &plan, values, &replica));
    truth_t *truth = first_truth(&plan);
    LKS_TRY(compare(replica, &plan, truth, values));
    for (int step = 0; step < plan.steps; step++) {
        LKS_TRY(step_once(replica, &plan, step));
        step_truth(truth, &plan, lks_comm_world_size(comm), step);
        LKS_TRY(compare(replica, &plan, truth, values));
        LKS_TRY(compare_norm(replica, &plan, truth, step));
    }
    free(truth);
    lks_replica_destroy(replica);
    free(values);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        run_ranks_ok(ranks, train, &plan);
    }
}

static const lks_dtype_t halves[] = {LKS_DTYPE_F16, LKS_DTYPE_BF16};

Test(replica_mixed, masters_are_updated_and_values_are_masters_rounded)
{
    for (int i = 0; i < 2; i++) {
        check(plan_of(halves[i], LKS_OPTIM_ADAM));
        plan_t plan = plan_of(halves[i], LKS_OPTIM_SGD);
        plan.optim.momentum = 0.9;
        check(plan);
        plan.options.bucket_bytes = plan.options.first_bucket_bytes = 1000;
        check(plan);
    }
}

Test(replica_mixed, an_update_too_small_for_16_bits_is_not_lost)
{
    plan_t plan = plan_of(LKS_DTYPE_BF16, LKS_OPTIM_SGD);
    plan.optim.lr = 1e-5;
    plan.steps = 40;
    check(plan);
}

Test(replica_mixed, dtypes_may_be_mixed)
{
    plan_t plan = plan_of(LKS_DTYPE_F16, LKS_OPTIM_ADAM);
    plan.dtype[0] = LKS_DTYPE_BF16;
    plan.dtype[1] = LKS_DTYPE_F32;
    check(plan);
    check(with_scaler(plan));
}

Test(replica_mixed, steps_without_synchronization_accumulate)
{
    plan_t plan = plan_of(LKS_DTYPE_BF16, LKS_OPTIM_SGD);
    plan.micro = 2;
    check(plan);
    check(with_scaler(plan));
}

Test(replica_mixed, gradients_are_unscaled_before_they_are_clipped)
{
    for (int i = 0; i < 2; i++) {
        plan_t plan = with_scaler(plan_of(halves[i], LKS_OPTIM_ADAM));
        check(plan);
        plan.options.clip_norm = 3;
        check(plan);
        plan.options.clip_value = 0.01;
        check(plan);
        plan.options.clip_norm = 0;
        check(plan);
        plan.scales = false;
        plan.options.clip_norm = 3;
        check(plan);
    }
}

Test(replica_mixed, one_infinite_gradient_of_one_rank_skips_the_step_on_all)
{
    const float bad[] = {INFINITY, -INFINITY, NAN};
    for (int i = 0; i < 3; i++) {
        plan_t plan = with_scaler(plan_of(halves[i % 2], LKS_OPTIM_ADAM));
        plan.scaler.growth_interval = 2;
        plan.bad_step = i;
        plan.bad_rank = i;
        plan.bad = bad[i];
        check(plan);
        plan.options.find_unused = true;
        plan.options.clip_norm = 1;
        check(plan);
    }
}

Test(replica_mixed, a_skipped_step_counts_for_no_parameter_used_or_not)
{
    plan_t plan = with_scaler(plan_of(LKS_DTYPE_F16, LKS_OPTIM_ADAM));
    plan.options.find_unused = true;
    plan.rests = true;
    check(plan);
    plan.bad = INFINITY;
    for (plan.bad_step = 0; plan.bad_step < 4; plan.bad_step++) {
        check(plan);
    }
}

Test(replica_mixed, a_sum_that_16_bits_cannot_hold_skips_the_step)
{
    plan_t plan = with_scaler(plan_of(LKS_DTYPE_F16, LKS_OPTIM_SGD));
    plan.options.reduce = LKS_REDUCE_SUM;
    plan.bad_step = 0;
    plan.bad_rank = 1;
    plan.bad = 65504; /* finite on its own rank, and there is a 2 * 1024 on another */
    plan.steps = 1;
    run_ranks_ok(3, train, &plan);
}

Test(replica_mixed, float32_parameters_may_have_a_scaler)
{
    plan_t plan = with_scaler(plan_of(LKS_DTYPE_F32, LKS_OPTIM_SGD));
    check(plan);
    plan.bad_step = 1;
    plan.bad = (float)NAN;
    check(plan);
}

/* --- checkpoints -------------------------------------------------------------------------------- */

/* Six steps are three, everything rank 0 has put into other replicas, and three more. */
static lks_status_t move_at_half_time(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    element_t *values = calloc(2 * PARAMS, sizeof *values), *moved = values + PARAMS;
    lks_replica_t *from, *to;
    LKS_TRY(open_replica(comm, &plan, values, &from));
    for (int step = 0; step < 3; step++) {
        LKS_TRY(step_once(from, &plan, step));
    }
    LKS_TRY(open_replica(comm, &plan, moved, &to));
    if (to->rank == 0) {
        memcpy(moved, values, PARAMS * sizeof *values);
        for (size_t p = 0; p < PARAMS; p++) {
            for (size_t i = 0; i <= lks_optim_state_count(to->optim); i++) {
                bool state = i < lks_optim_state_count(to->optim);
                lks_tensor_t a =
                    state ? lks_optim_state(from->optim, i, p) : lks_optim_master(from->optim, p);
                lks_tensor_t b =
                    state ? lks_optim_state(to->optim, i, p) : lks_optim_master(to->optim, p);
                if (a.storage) {
                    LKS_TRY(lks_tensor_copy(&b, &a));
                }
            }
        }
        lks_optim_set_steps(to->optim, lks_optim_steps(from->optim));
        *lks_replica_grad_scaler(to) = *lks_replica_grad_scaler(from);
    }
    LKS_TRY(lks_replica_broadcast(to));
    for (int step = 3; step < 6; step++) {
        LKS_TRY(step_once(from, &plan, step));
        LKS_TRY(step_once(to, &plan, step));
    }
    RANK_CHECK(memcmp(values, moved, PARAMS * sizeof *values) == 0, "values differ");
    RANK_CHECK(lks_replica_loss_scale(from) == lks_replica_loss_scale(to), "scales differ");
    LKS_TRY(lks_comm_barrier(comm));
    lks_replica_destroy(from);
    lks_replica_destroy(to);
    free(values);
    return LKS_OK;
}

Test(replica_mixed, masters_and_scale_move_to_other_replicas)
{
    for (int i = 0; i < 2; i++) {
        plan_t plan = with_scaler(plan_of(halves[i], LKS_OPTIM_ADAM));
        plan.scaler.growth_interval = 2;
        for (int ranks = 1; ranks <= 3; ranks++) {
            run_ranks_ok(ranks, move_at_half_time, &plan);
        }
    }
}

/* --- mistakes ----------------------------------------------------------------------------------- */

Test(replica_mixed, options_are_checked)
{
    lks_comm_t *comm;
    lks_replica_t *replica;
    plan_t plan = with_scaler(plan_of(LKS_DTYPE_F16, LKS_OPTIM_SGD));
    element_t *values = calloc(PARAMS, sizeof *values);
    assert_ok(lks_comm_create_self(&comm));
    plan.scaler.scale = -1;
    assert_fails(open_replica(comm, &plan, values, &replica), LKS_ERR_INVALID_ARG,
                 "the loss scale is -1");
    lks_comm_destroy(comm);

    assert_ok(lks_comm_create_self(&comm));
    plan.scaler.scale = 1;
    plan.options.optim = NULL;
    plan.options.grad_scaler = &plan.scaler;
    assert_fails(lks_replica_create(comm, NULL, 0, &plan.options, &replica), LKS_ERR_INVALID_ARG,
                 "needs an optimizer");
    lks_comm_destroy(comm);

    assert_ok(lks_comm_create_self(&comm));
    double number = 0;
    const lks_replica_param_t param = {.name = "x", .dtype = LKS_DTYPE_F64, .value = &number};
    plan.options.optim = &plan.optim;
    assert_fails(lks_replica_create(comm, &param, 1, &plan.options, &replica), LKS_ERR_UNSUPPORTED,
                 "parameter 'x' is float64");
    lks_comm_destroy(comm);
    free(values);
}
