/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient buckets, reduced while ranks go on. What is freed here right after a failure would be found by the address
 * sanitizer if a peer still touched it. */
#include "collectives/exchange.h"
#include "collectives/ranks.h"
#include "collectives/reference.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUCKETS = 4, STEPS = 5 };

typedef struct plan {
    lks_dtype_t dtype;
    lks_reduce_op_t op;
    bool take, each;
} plan_t;

static const size_t many[BUCKETS] = {1, 777, 20000, 64}, few[BUCKETS] = {1, 61, 100, 16};

static const size_t *counts_of(const plan_t *plan)
{
    return plan->each ? few : many;
}

typedef struct memory {
    lks_exchange_bucket_t buckets[BUCKETS];
} memory_t;

static void memory_init(memory_t *memory, const plan_t *plan)
{
    const size_t *counts = counts_of(plan);
    lks_dtype_t dtype = plan->dtype;
    for (int b = 0; b < BUCKETS; b++) {
        memory->buckets[b] = (lks_exchange_bucket_t){
            .data = aligned_alloc(64, (counts[b] * lks_dtype_size(dtype) + 63) / 64 * 64),
            .count = counts[b],
            .dtype = dtype};
    }
}

static void memory_fini(memory_t *memory)
{
    for (int b = 0; b < BUCKETS; b++) {
        free(memory->buckets[b].data);
    }
}

/* Where parts land that a rank took: one copy for all, each element written by one rank; or one for each. */
typedef float taken_t[BUCKETS][20000];
static taken_t taken[RANKS_MAX];

static void take(void *context, size_t bucket, size_t first, size_t count, const void *numbers)
{
    memcpy(&(*(taken_t *)context)[bucket][first], numbers, count * sizeof(float));
}

static uint64_t seed_of(int step, int bucket)
{
    return (uint64_t)(100 * step + bucket);
}

static lks_status_t check_bucket(const plan_t *plan, int ranks, int step, int b, const void *data,
                                 const taken_t *took)
{
    const size_t *counts = counts_of(plan);
    size_t size = lks_dtype_size(plan->dtype);
    unsigned char wanted[16];
    for (size_t i = 0; i < counts[b]; i++) {
        rank_reduced(plan->dtype, plan->op, seed_of(step, b), ranks, i, wanted);
        const void *got = plan->take ? (const void *)&(*took)[b][i] : (const char *)data + i * size;
        RANK_CHECK(memcmp(got, wanted, size) == 0, "step %d, bucket %d, element %zu", step, b, i);
    }
    return LKS_OK;
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    int rank = lks_comm_rank(comm), ranks = lks_comm_world_size(comm);
    memory_t memory;
    memory_init(&memory, plan);
    const size_t *counts = counts_of(plan);
    lks_exchange_config_t config = {.op = plan->op,
                                    .take = plan->take ? take : NULL,
                                    .context = &taken[plan->each ? rank : 0],
                                    .each = plan->each};
    lks_exchange_t *exchange;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, memory.buckets, BUCKETS));
    for (int step = 0; step < STEPS; step++) {
        for (int b = 0; b < BUCKETS; b++) {
            rank_fill(plan->dtype, seed_of(step, b), rank, 0, counts[b], memory.buckets[b].data);
            LKS_TRY(lks_exchange_post(exchange));
        }
        LKS_TRY(lks_exchange_finish(exchange));
        for (int b = 0; b < BUCKETS; b++) {
            LKS_TRY(check_bucket(plan, ranks, step, b, memory.buckets[b].data, config.context));
        }
        LKS_TRY(plan->each ? LKS_OK : lks_comm_barrier(comm)); /* of `taken`, which all read */
    }
    lks_exchange_destroy(exchange);
    memory_fini(&memory);
    return LKS_OK;
}

Test(exchange, sums_are_those_of_the_reference)
{
    static const plan_t plans[] = {
        {.dtype = LKS_DTYPE_F32, .op = LKS_REDUCE_SUM},
        {.dtype = LKS_DTYPE_F32, .op = LKS_REDUCE_AVG, .take = true},
        {.dtype = LKS_DTYPE_F64, .op = LKS_REDUCE_AVG},
        {.dtype = LKS_DTYPE_BF16, .op = LKS_REDUCE_AVG},
        {.dtype = LKS_DTYPE_F16, .op = LKS_REDUCE_SUM},
        {.dtype = LKS_DTYPE_F32, .op = LKS_REDUCE_SUM, .take = true, .each = true},
        {.dtype = LKS_DTYPE_F64, .op = LKS_REDUCE_AVG, .each = true},
        {.dtype = LKS_DTYPE_BF16, .op = LKS_REDUCE_AVG, .each = true},
    };
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        for (int ranks = 1; ranks <= 5; ranks++) {
            plan_t plan = plans[i];
            run_ranks_ok(ranks, train, &plan);
        }
    }
}

static lks_status_t train_alone(lks_comm_t *comm, void *context)
{
    (void)comm;
    lks_comm_t *self;
    LKS_TRY(lks_comm_create_self(&self));
    lks_status_t status = train(self, context);
    lks_comm_destroy(self);
    return status;
}

Test(exchange, one_rank_exchanges_with_itself)
{
    plan_t plan = {.dtype = LKS_DTYPE_F32, .op = LKS_REDUCE_AVG};
    run_ranks_ok(1, train_alone, &plan);
}

/* --- failures ----------------------------------------------------------------------------------- */

typedef struct failure {
    int rank, bucket;
    lks_status_t (*fail)(lks_comm_t *comm);
    double timeout;
    bool each;
} failure_t;

/* Rank `failure->rank` does not post the bucket; everybody frees all memory at once. */
static lks_status_t train_until(lks_comm_t *comm, void *context)
{
    const failure_t *failure = context;
    int rank = lks_comm_rank(comm);
    memory_t memory;
    const plan_t plan = {LKS_DTYPE_F32, LKS_REDUCE_SUM, false, failure->each};
    memory_init(&memory, &plan);
    lks_exchange_config_t config = {.op = plan.op, .each = plan.each};
    lks_exchange_t *exchange;
    lks_status_t status = LKS_OK;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, memory.buckets, BUCKETS));
    for (int step = 0; step < STEPS && status == LKS_OK; step++) {
        for (int b = 0; b < BUCKETS && status == LKS_OK; b++) {
            rank_fill(plan.dtype, 1, rank, 0, memory.buckets[b].count, memory.buckets[b].data);
            bool fails = step == 2 && rank == failure->rank && b == failure->bucket;
            status = fails ? failure->fail(comm) : LKS_OK;
            if (status == LKS_OK) {
                status = lks_exchange_post(exchange);
            }
        }
        if (status == LKS_OK) {
            status = lks_exchange_finish(exchange);
        }
    }
    lks_error_t error = *lks_last_error();
    lks_exchange_destroy(exchange);
    memory_fini(&memory);
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

static lks_status_t abort_job(lks_comm_t *comm)
{
    lks_comm_abort(comm, "disk full");
    return lks_fail(LKS_ERR_IO, "disk full");
}

static lks_status_t leave_silently(lks_comm_t *comm)
{
    (void)comm;
    return lks_fail(LKS_ERR_IO, "gone");
}

static lks_status_t stall(lks_comm_t *comm)
{
    (void)comm;
    (void)usleep(1000000);
    return LKS_OK;
}

/* At every bucket, or at the first and the last one where that takes long. `text` may have a %d for it. */
__attribute__((format(printf, 2, 0))) static void check_failure_at_buckets(failure_t failure,
                                                                           const char *text)
{
    lks_comm_config_t config = lks_comm_config_default();
    config.timeout = failure.timeout;
    for (failure.bucket = 0; failure.bucket < BUCKETS;
         failure.bucket += failure.fail == stall ? BUCKETS - 1 : 1) {
        lks_error_t errors[RANKS_MAX];
        char wanted_text[128];
        (void)snprintf(wanted_text, sizeof wanted_text, text, failure.bucket);
        run_ranks(3, &config, train_until, &failure, errors);
        for (int i = 0; i < 3; i++) {
            lks_status_t wanted =
                i == failure.rank && failure.fail != stall ? LKS_ERR_IO : LKS_ERR_ABORTED;
            cr_assert(errors[i].status == wanted, "rank %d: %s", i, errors[i].message);
            cr_assert(wanted == LKS_ERR_IO || strstr(errors[i].message, wanted_text), "rank %d: %s",
                      i, errors[i].message);
        }
    }
}

static void check_failure(failure_t failure, const char *text)
{
    check_failure_at_buckets(failure, text);
    failure.each = true;
    check_failure_at_buckets(failure, text);
}

Test(exchange, abort_reaches_all_ranks)
{
    for (int i = 0; i < 20; i++) {
        check_failure((failure_t){.rank = i % 3, .fail = abort_job, .timeout = 60},
                      "aborted by rank");
    }
}

Test(exchange, a_rank_that_leaves_in_mid_step_is_named)
{
    for (int i = 0; i < 20; i++) {
        check_failure((failure_t){.rank = i % 3, .fail = leave_silently, .timeout = 60}, "rank");
    }
}

Test(exchange, a_rank_that_stalls_is_named_with_the_bucket)
{
    failure_t failure = {.rank = 1, .fail = stall, .timeout = 0.4};
    check_failure(
        failure,
        "gradient exchange: gradients of step 2, bucket %d: rank 1 did not come within 0.4 s");
}

static lks_status_t other_buckets(lks_comm_t *comm, void *context)
{
    (void)context;
    float data[64] = {0};
    lks_exchange_config_t config = {.op = LKS_REDUCE_SUM};
    lks_exchange_bucket_t bucket = {.data = data, .count = 64, .dtype = LKS_DTYPE_F32};
    bucket.count -= lks_comm_rank(comm) == 1;
    lks_exchange_t *exchange;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    lks_status_t status = lks_exchange_set_buckets(exchange, &bucket, 1);
    lks_exchange_destroy(exchange);
    return status;
}

static lks_status_t too_many_for_each(lks_comm_t *comm, void *context)
{
    (void)context;
    static float data[600];
    const lks_exchange_config_t config = {.op = LKS_REDUCE_SUM, .each = true};
    const lks_exchange_bucket_t buckets[] = {
        {.data = data, .count = 1, .dtype = LKS_DTYPE_F32}, /* 64 bytes of room */
        {.data = data, .count = 496, .dtype = LKS_DTYPE_F32},
        {.data = data, .count = 1, .dtype = LKS_DTYPE_F32}};
    lks_exchange_t *exchange;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, buckets, 2));
    lks_status_t status = lks_exchange_set_buckets(exchange, buckets, 3);
    lks_exchange_destroy(exchange);
    return status;
}

Test(exchange, each_has_room_for_so_many_bytes)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(2, NULL, too_many_for_each, NULL, errors);
    for (int i = 0; i < 2; i++) {
        cr_assert(errors[i].status == LKS_ERR_INVALID_ARG, "%s", errors[i].message);
    }
}

Test(exchange, buckets_that_differ_end_the_job)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(3, NULL, other_buckets, NULL, errors);
    for (int i = 0; i < 3; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED);
        cr_assert(strstr(errors[i].message, "gradient buckets differ between ranks"));
    }
}
