/* SPDX-License-Identifier: Apache-2.0 */
/* Communication hooks. Gradients are made up from step, rank and place; what they must become follows from a few lines of
 * C in float64. They are between 0.5 and 2 in magnitude, so that sums of their 16-bit roundings are exact. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS = 4, MOST = 3000, STEPS = 3 };

static const int64_t shapes[PARAMS][2] = {{3, 5}, {50, 60}, {1, 1}, {1, 700}};

static size_t numel(size_t p)
{
    return (size_t)(shapes[p][0] * shapes[p][1]);
}

typedef struct plan {
    lks_replica_options_t options;
    lks_optim_config_t optim;
    lks_dtype_t dtypes[PARAMS];
} plan_t;

static plan_t plan_of(lks_comm_hook_kind_t kind)
{
    plan_t plan = {.options = lks_replica_options_default(),
                   .optim = lks_optim_config_default(LKS_OPTIM_SGD),
                   .dtypes = {LKS_DTYPE_F32, LKS_DTYPE_F32, LKS_DTYPE_F32, LKS_DTYPE_F32}};
    plan.options.hook.kind = kind;
    plan.options.bucket_bytes = plan.options.first_bucket_bytes = 4000;
    return plan;
}

typedef struct model {
    double value[PARAMS][MOST]; /* memory for any dtype */
    lks_replica_param_t params[PARAMS];
} model_t;

static model_t *model_create(const plan_t *plan)
{
    model_t *model = calloc(1, sizeof *model);
    static const char *const names[PARAMS] = {"a", "b", "c", "d"};
    for (size_t p = 0; p < PARAMS; p++) {
        model->params[p] = (lks_replica_param_t){.name = names[p],
                                                 .dtype = plan->dtypes[p],
                                                 .ndim = 2,
                                                 .shape = shapes[p],
                                                 .value = model->value[p]};
    }
    return model;
}

static double made_up_grad(int step, int rank, size_t p, size_t i)
{
    unsigned mixed =
        ((unsigned)step * 7919u + (unsigned)rank * 104729u + (unsigned)p * 31u + (unsigned)i) *
        2654435761u;
    double size = 0.5 + 1.5 * (double)(mixed >> 12) / (1 << 20);
    return mixed & 1024 ? size : -size;
}

static double get(lks_dtype_t dtype, const void *data, size_t i)
{
    switch (dtype) {
    case LKS_DTYPE_F64: return ((const double *)data)[i];
    case LKS_DTYPE_F32: return (double)((const float *)data)[i];
    case LKS_DTYPE_F16: return (double)lks_f16_to_f32(((const uint16_t *)data)[i]);
    default: return (double)lks_bf16_to_f32(((const uint16_t *)data)[i]);
    }
}

static void set(lks_dtype_t dtype, void *data, size_t i, double x)
{
    switch (dtype) {
    case LKS_DTYPE_F64: ((double *)data)[i] = x; break;
    case LKS_DTYPE_F32: ((float *)data)[i] = (float)x; break;
    case LKS_DTYPE_F16: ((uint16_t *)data)[i] = lks_f32_to_f16((float)x); break;
    default: ((uint16_t *)data)[i] = lks_f32_to_bf16((float)x); break;
    }
}

static double rounded(lks_dtype_t dtype, double x)
{
    double room;
    set(dtype, &room, 0, x);
    return get(dtype, &room, 0);
}

/* What the gradient of an element must become. */
static double truth(const plan_t *plan, int ranks, int step, size_t p, size_t i)
{
    lks_comm_hook_kind_t kind = plan->options.hook.kind;
    lks_dtype_t own = plan->dtypes[p];
    lks_dtype_t wire = kind == LKS_COMM_HOOK_FP16   ? LKS_DTYPE_F16
                       : kind == LKS_COMM_HOOK_BF16 ? LKS_DTYPE_BF16
                                                    : LKS_DTYPE_F64;
    double sum = 0, divisor = plan->options.reduce == LKS_REDUCE_AVG ? ranks : 1;
    for (int rank = 0; rank < ranks; rank++) {
        double x = rounded(own, made_up_grad(step, rank, p, i));
        sum += wire == LKS_DTYPE_F64 ? x / divisor : rounded(wire, rounded(wire, x) / divisor);
    }
    return rounded(own, rounded(wire, sum));
}

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, int step)
{
    for (size_t p = PARAMS; p-- > 0;) {
        void *grad = lks_replica_grad(replica, p);
        for (size_t i = 0; i < numel(p); i++) {
            set(plan->dtypes[p], grad, i, made_up_grad(step, replica->rank, p, i));
        }
        LKS_TRY(lks_replica_grad_ready(replica, p));
    }
    return LKS_OK;
}

static lks_status_t check_grads(lks_replica_t *replica, const plan_t *plan, int step)
{
    for (size_t p = 0; p < PARAMS; p++) {
        const void *grad = lks_replica_grad(replica, p);
        for (size_t i = 0; i < numel(p); i++) {
            double got = get(plan->dtypes[p], grad, i);
            double wanted = truth(plan, replica->world_size, step, p, i);
            double slack = plan->options.hook.kind == LKS_COMM_HOOK_OWN ? 1e-2 : 0;
            slack = plan->dtypes[p] == LKS_DTYPE_F32 && slack > 0 ? 1e-6 : slack;
            RANK_CHECK(fabs(got - wanted) <= slack, "step %d, %s[%zu] is %.9g, wanted %.9g", step,
                       lks_dtype_name(plan->dtypes[p]), i, got, wanted);
        }
    }
    return LKS_OK;
}

static lks_status_t exchange(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = model_create(plan);
    lks_replica_t *replica;
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica));
    for (int step = 0; step < STEPS; step++) {
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(backward(replica, plan, step));
        LKS_TRY(lks_replica_finish(replica));
        LKS_TRY(check_grads(replica, plan, step));
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        plan.options.reduce = LKS_REDUCE_AVG;
        run_ranks_ok(ranks, exchange, &plan);
        plan.options.reduce = LKS_REDUCE_SUM;
        run_ranks_ok(ranks, exchange, &plan);
    }
}

Test(comm_hook, float16_on_the_way_rounds_divides_and_sums_as_pytorch_does)
{
    check(plan_of(LKS_COMM_HOOK_FP16));
}

Test(comm_hook, bfloat16_on_the_way_rounds_divides_and_sums_as_pytorch_does)
{
    check(plan_of(LKS_COMM_HOOK_BF16));
}

Test(comm_hook, gradients_of_any_dtype_are_compressed)
{
    for (lks_comm_hook_kind_t kind = LKS_COMM_HOOK_FP16; kind <= LKS_COMM_HOOK_BF16; kind++) {
        plan_t plan = plan_of(kind);
        const lks_dtype_t dtypes[] = {LKS_DTYPE_F64, LKS_DTYPE_BF16, LKS_DTYPE_F32, LKS_DTYPE_F16};
        memcpy(plan.dtypes, dtypes, sizeof dtypes);
        check(plan);
    }
}

/* --- updates ------------------------------------------------------------------------------------ */

static lks_status_t train(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    model_t *model = model_create(&plan);
    lks_replica_t *replica;
    plan.options.optim = &plan.optim;
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &plan.options, &replica));
    for (int step = 0; step < STEPS; step++) {
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(backward(replica, &plan, step));
        LKS_TRY(lks_replica_step(replica));
    }
    for (size_t p = 0; p < PARAMS; p++) {
        for (size_t i = 0; i < numel(p); i++) {
            double wanted = 0, got = (double)((float *)model->value[p])[i];
            for (int step = 0; step < STEPS; step++) {
                wanted -= plan.optim.lr * truth(&plan, replica->world_size, step, p, i);
            }
            RANK_CHECK(fabs(got - wanted) < 1e-5, "%zu[%zu] is %g, wanted %g", p, i, got, wanted);
        }
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

/* The hook that PyTorch's allreduce_hook is. */
static plan_t plan_of_all_reduce(void)
{
    plan_t plan = plan_of(LKS_COMM_HOOK_OWN);
    plan.options.hook.run = lks_comm_hook_all_reduce;
    return plan;
}

static void check_updates(plan_t plan)
{
    plan.optim.lr = 0.1;
    for (int ranks = 1; ranks <= 4; ranks++) {
        run_ranks_ok(ranks, train, &plan);
    }
}

Test(comm_hook, what_hooks_leave_is_what_optimizers_get)
{
    check_updates(plan_of(LKS_COMM_HOOK_FP16));
    check_updates(plan_of(LKS_COMM_HOOK_BF16));
    check_updates(plan_of_all_reduce());
}

Test(comm_hook, clipping_and_unused_parameters_see_what_hooks_leave)
{
    plan_t plans[] = {plan_of(LKS_COMM_HOOK_FP16), plan_of(LKS_COMM_HOOK_BF16),
                      plan_of_all_reduce()};
    for (int i = 0; i < 3; i++) {
        plans[i].options.clip_norm = 1e6; /* all buckets come first, nothing is clipped */
        check_updates(plans[i]);
        plans[i].options.clip_norm = 0;
        plans[i].options.find_unused = true;
        check_updates(plans[i]);
    }
}

/* --- hooks of one's own ------------------------------------------------------------------------- */

Test(comm_hook, all_reduce_is_what_is_done_without_a_hook)
{
    plan_t plan = plan_of_all_reduce();
    const lks_dtype_t dtypes[] = {LKS_DTYPE_F64, LKS_DTYPE_BF16, LKS_DTYPE_F32, LKS_DTYPE_F16};
    check(plan);
    memcpy(plan.dtypes, dtypes, sizeof dtypes);
    check(plan);
}

typedef struct watch {
    size_t next;          /* bucket of this step */
    size_t steps;         /* that were seen to their end */
    bool seen[PARAMS];    /* in this step */
    const plan_t *plan;   /* of all */
    int rank, world_size; /* of this one */
} watch_t;

static lks_status_t look(watch_t *watch, const lks_grad_bucket_t *bucket)
{
    size_t end = 0;
    RANK_CHECK(bucket->index == watch->next++, "bucket %zu came out of order", bucket->index);
    RANK_CHECK(bucket->divisor == watch->world_size, "divisor %d", bucket->divisor);
    for (size_t k = 0; k < bucket->param_count; k++) {
        const lks_grad_bucket_param_t *param = &bucket->params[k];
        const float *grad = (const float *)bucket->data + param->first;
        RANK_CHECK(param->first >= end && param->count == numel(param->param), "%zu at %zu, %zu",
                   param->param, param->first, param->count);
        RANK_CHECK(param->ndim == 2 && param->shape[1] == shapes[param->param][1], "shape");
        for (size_t i = 0; i < param->count; i++) {
            double wanted = made_up_grad((int)watch->steps, watch->rank, param->param, i);
            RANK_CHECK(grad[i] == (float)wanted, "%zu[%zu]", param->param, i);
        }
        for (size_t i = end; i < param->first; i++) {
            RANK_CHECK(((float *)bucket->data)[i] == 0, "a gap is not zero");
        }
        end = param->first + param->count;
        watch->seen[param->param] = true;
    }
    RANK_CHECK(end <= bucket->count && bucket->param_count > 0, "%zu elements", bucket->count);
    return LKS_OK;
}

static lks_status_t watch_bucket(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    watch_t *watch = (watch_t *)context + lks_comm_rank(comm);
    watch->rank = lks_comm_rank(comm);
    watch->world_size = lks_comm_world_size(comm);
    LKS_TRY(look(watch, bucket));
    if (bucket->is_last) {
        for (int p = 0; p < PARAMS; p++) {
            RANK_CHECK(watch->seen[p], "parameter %d is in no bucket", p);
        }
        memset(watch->seen, 0, sizeof watch->seen);
        watch->next = 0;
        watch->steps++;
    }
    return lks_comm_hook_all_reduce(NULL, comm, bucket);
}

Test(comm_hook, a_hook_sees_every_bucket_in_order_and_the_parameters_in_it)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        watch_t watches[4] = {0};
        plan_t plan = plan_of(LKS_COMM_HOOK_OWN);
        plan.options.hook.run = watch_bucket;
        plan.options.hook.context = watches;
        run_ranks_ok(ranks, exchange, &plan);
        for (int i = 0; i < ranks; i++) {
            cr_assert(watches[i].steps == STEPS && watches[i].next == 0);
        }
    }
}

static lks_status_t count_buckets(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    (void)bucket;
    ((int *)context)[lks_comm_rank(comm)]++;
    return lks_comm_barrier(comm);
}

static lks_status_t accumulate(lks_comm_t *comm, void *context)
{
    int counts[4] = {0};
    plan_t *plan = context;
    model_t *model = model_create(plan);
    lks_replica_t *replica;
    lks_replica_options_t options = plan->options;
    options.hook.context = counts;
    LKS_TRY(lks_replica_create(comm, model->params, PARAMS, &options, &replica));
    for (int step = 0; step < 3; step++) {
        lks_replica_set_sync(replica, step == 2);
        LKS_TRY(lks_replica_begin(replica));
        LKS_TRY(backward(replica, plan, step));
        LKS_TRY(lks_replica_finish(replica));
        RANK_CHECK((counts[replica->rank] > 0) == (step == 2), "%d in step %d",
                   counts[replica->rank], step);
    }
    lks_replica_destroy(replica);
    free(model);
    return LKS_OK;
}

Test(comm_hook, steps_without_synchronization_run_no_hook)
{
    plan_t plan = plan_of(LKS_COMM_HOOK_OWN);
    plan.options.hook.run = count_buckets;
    run_ranks_ok(3, accumulate, &plan);
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static lks_status_t fail_second(void *context, lks_comm_t *comm, const lks_grad_bucket_t *bucket)
{
    if (lks_comm_rank(comm) == 1 && bucket->index == 1) {
        return context ? lks_fail(LKS_ERR_NO_MEMORY, "no room for %zu elements", bucket->count)
                       : LKS_ERR_NOT_FOUND;
    }
    return lks_comm_hook_all_reduce(NULL, comm, bucket);
}

/* As exchange, but what was created goes also where a step fails. */
static lks_status_t try_exchange(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    model_t *model = model_create(plan);
    lks_replica_t *replica = NULL;
    lks_status_t status = lks_replica_create(comm, model->params, PARAMS, &plan->options, &replica);
    if (status == LKS_OK) {
        status = lks_replica_begin(replica);
    }
    if (status == LKS_OK) {
        status = backward(replica, plan, 0);
    }
    if (status == LKS_OK) {
        status = lks_replica_finish(replica);
    }
    lks_error_t error = *lks_last_error();
    lks_replica_destroy(replica);
    free(model);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

static void check_failure(plan_t plan, lks_status_t status, const char *text)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(3, NULL, try_exchange, &plan, errors);
    for (int i = 0; i < 3; i++) {
        cr_assert(errors[i].status == (i == 1 ? status : LKS_ERR_ABORTED) &&
                      strstr(errors[i].message, text),
                  "rank %d: %s", i, errors[i].message);
    }
}

Test(comm_hook, a_hook_that_fails_ends_the_job_with_its_sentence)
{
    plan_t plan = plan_of(LKS_COMM_HOOK_OWN);
    plan.options.hook.run = fail_second;
    plan.options.hook.context = &plan;
    check_failure(plan, LKS_ERR_NO_MEMORY, "communication hook of bucket 1: no room for ");
    plan.options.hook.context = NULL;
    check_failure(plan, LKS_ERR_NOT_FOUND, "communication hook of bucket 1: not found");
}

static lks_status_t try_different(lks_comm_t *comm, void *context)
{
    plan_t plan = *(plan_t *)context;
    if (lks_comm_rank(comm) == 1) {
        plan.options.hook = (lks_comm_hook_t){0};
    }
    return try_exchange(comm, &plan);
}

Test(comm_hook, ranks_with_and_without_a_hook_are_told)
{
    plan_t plans[] = {plan_of(LKS_COMM_HOOK_FP16), plan_of_all_reduce()};
    for (int k = 0; k < 2; k++) {
        lks_error_t errors[RANKS_MAX];
        run_ranks(3, NULL, try_different, &plans[k], errors);
        for (int i = 0; i < 3; i++) {
            cr_assert(errors[i].status == LKS_ERR_ABORTED &&
                          strstr(errors[i].message, "gradient buckets differ between ranks"),
                      "rank %d: %s", i, errors[i].message);
        }
    }
}

Test(comm_hook, options_are_checked)
{
    lks_comm_t *comm;
    lks_replica_t *replica;
    lks_replica_options_t options = lks_replica_options_default();
    assert_ok(lks_comm_create_self(&comm));
    options.hook.kind = LKS_COMM_HOOK_OWN;
    assert_fails(lks_replica_create(comm, NULL, 0, &options, &replica), LKS_ERR_INVALID_ARG,
                 "a communication hook of one's own has no function to run");
    options.hook.kind = LKS_COMM_HOOK_COUNT;
    assert_fails(lks_replica_create(comm, NULL, 0, &options, &replica), LKS_ERR_INVALID_ARG,
                 "a communication hook of kind");
    lks_comm_destroy(comm);
}
