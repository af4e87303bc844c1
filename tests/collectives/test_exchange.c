/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient buckets, reduced while ranks go on. What is freed here right after a failure would be found by the address
 * sanitizer if a peer still touched it. */
#include "collectives/exchange.h"
#include "collectives/ranks.h"
#include "collectives/reference.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { BUCKETS = 4, STEPS = 5 };

static const size_t counts[BUCKETS] = {1, 777, 20000, 64};

typedef struct plan {
    lks_dtype_t dtype;
    lks_reduce_op_t op;
    bool take;
} plan_t;

typedef struct memory {
    lks_exchange_bucket_t buckets[BUCKETS];
} memory_t;

static void memory_init(memory_t *memory, lks_dtype_t dtype)
{
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

/* Where parts land that a rank took: one copy for all, each element written by one rank. */
static float taken[BUCKETS][20000];

static void take(void *context, size_t bucket, size_t first, size_t count, const void *numbers)
{
    (void)context;
    memcpy(&taken[bucket][first], numbers, count * sizeof(float));
}

static uint64_t seed_of(int step, int bucket)
{
    return (uint64_t)(100 * step + bucket);
}

static lks_status_t check_bucket(const plan_t *plan, int ranks, int step, int b, const void *data)
{
    size_t size = lks_dtype_size(plan->dtype);
    unsigned char wanted[16];
    for (size_t i = 0; i < counts[b]; i++) {
        rank_reduced(plan->dtype, plan->op, seed_of(step, b), ranks, i, wanted);
        const void *got = plan->take ? (const void *)&taken[b][i] : (const char *)data + i * size;
        RANK_CHECK(memcmp(got, wanted, size) == 0, "step %d, bucket %d, element %zu", step, b, i);
    }
    return LKS_OK;
}

static lks_status_t train(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    int rank = lks_comm_rank(comm), ranks = lks_comm_world_size(comm);
    memory_t memory;
    memory_init(&memory, plan->dtype);
    lks_exchange_config_t config = {.op = plan->op, .take = plan->take ? take : NULL};
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
            LKS_TRY(check_bucket(plan, ranks, step, b, memory.buckets[b].data));
        }
        LKS_TRY(lks_comm_barrier(comm)); /* of `taken`, which all read */
    }
    lks_exchange_destroy(exchange);
    memory_fini(&memory);
    return LKS_OK;
}

Test(exchange, sums_are_those_of_the_reference)
{
    static const plan_t plans[] = {
        {LKS_DTYPE_F32, LKS_REDUCE_SUM, false}, {LKS_DTYPE_F32, LKS_REDUCE_AVG, true},
        {LKS_DTYPE_F64, LKS_REDUCE_AVG, false}, {LKS_DTYPE_BF16, LKS_REDUCE_AVG, false},
        {LKS_DTYPE_F16, LKS_REDUCE_SUM, false},
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
    plan_t plan = {LKS_DTYPE_F32, LKS_REDUCE_AVG, false};
    run_ranks_ok(1, train_alone, &plan);
}

/* --- failures ----------------------------------------------------------------------------------- */

typedef struct failure {
    int rank, bucket;
    lks_status_t (*fail)(lks_comm_t *comm);
    double timeout;
} failure_t;

/* Rank `failure->rank` does not post the bucket; everybody frees all memory at once. */
static lks_status_t train_until(lks_comm_t *comm, void *context)
{
    const failure_t *failure = context;
    int rank = lks_comm_rank(comm);
    memory_t memory;
    memory_init(&memory, LKS_DTYPE_F32);
    lks_exchange_config_t config = {.op = LKS_REDUCE_SUM};
    lks_exchange_t *exchange;
    lks_status_t status = LKS_OK;
    LKS_TRY(lks_exchange_create(comm, &config, &exchange));
    LKS_TRY(lks_exchange_set_buckets(exchange, memory.buckets, BUCKETS));
    for (int step = 0; step < STEPS && status == LKS_OK; step++) {
        for (int b = 0; b < BUCKETS && status == LKS_OK; b++) {
            rank_fill(LKS_DTYPE_F32, 1, rank, 0, counts[b], memory.buckets[b].data);
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
    (void)usleep(500000);
    return LKS_OK;
}

static void check_failure(failure_t failure, const char *text)
{
    lks_comm_config_t config = lks_comm_config_default();
    config.timeout = failure.timeout;
    for (failure.bucket = 0; failure.bucket < BUCKETS; failure.bucket++) {
        lks_error_t errors[RANKS_MAX];
        run_ranks(3, &config, train_until, &failure, errors);
        for (int i = 0; i < 3; i++) {
            lks_status_t wanted =
                i == failure.rank && failure.fail != stall ? LKS_ERR_IO : LKS_ERR_ABORTED;
            cr_assert(errors[i].status == wanted, "rank %d: %s", i, errors[i].message);
            cr_assert(wanted == LKS_ERR_IO || strstr(errors[i].message, text), "rank %d: %s", i,
                      errors[i].message);
        }
    }
}

Test(exchange, abort_reaches_all_ranks)
{
    for (int i = 0; i < 20; i++) {
        check_failure((failure_t){i % 3, 0, abort_job, 60}, "aborted by rank");
    }
}

Test(exchange, a_rank_that_leaves_in_mid_step_is_named)
{
    for (int i = 0; i < 20; i++) {
        check_failure((failure_t){i % 3, 0, leave_silently, 60}, "rank");
    }
}

Test(exchange, a_rank_that_stalls_is_named_with_the_bucket)
{
    failure_t failure = {1, 0, stall, 0.1};
    check_failure(failure, "gradient exchange: gradients of step 2, bucket");
    check_failure(failure, "rank 1 did not come within 0.1 s");
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

Test(exchange, buckets_that_differ_end_the_job)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(3, NULL, other_buckets, NULL, errors);
    for (int i = 0; i < 3; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED);
        cr_assert(strstr(errors[i].message, "gradient buckets differ between ranks"));
    }
}
