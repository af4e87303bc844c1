/* SPDX-License-Identifier: Apache-2.0 */
/* Moments of a batch that is spread over ranks, against those of the whole batch in float64. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/moments.h>
#include <math.h>
#include <string.h>

enum { CHANNELS = 5, SAMPLES = 40 };

typedef struct plan {
    int64_t counts[RANKS_MAX];
    double offset; /* of all values */
} plan_t;

static double value(const plan_t *plan, int rank, int64_t sample, int channel)
{
    unsigned word = (unsigned)(rank * 7919 + (int)sample * 104729 + channel * 31) * 2654435761u;
    double uniform = (double)(word >> 8) * 0x1p-24;
    return (double)(float)(plan->offset + (1 + channel) * (uniform + (double)rank / 4));
}

/* Of the ranks [first, last) together, in two passes. */
typedef struct truth {
    int64_t count;
    double mean, var;
} truth_t;

static truth_t tell_truth(const plan_t *plan, int first, int last, int channel)
{
    truth_t truth = {0};
    for (int rank = first; rank < last; rank++) {
        for (int64_t i = 0; i < plan->counts[rank]; i++) {
            truth.mean += value(plan, rank, i, channel);
            truth.count++;
        }
    }
    truth.mean /= truth.count > 0 ? (double)truth.count : 1;
    for (int rank = first; rank < last; rank++) {
        for (int64_t i = 0; i < plan->counts[rank]; i++) {
            double x = value(plan, rank, i, channel) - truth.mean;
            truth.var += x * x;
        }
    }
    truth.var /= truth.count > 0 ? (double)truth.count : 1;
    return truth;
}

/* What this rank knows alone; without values, nothing that may be looked at. */
static void own_moments(const plan_t *plan, int rank, float *mean, float *var)
{
    for (int c = 0; c < CHANNELS; c++) {
        truth_t own = tell_truth(plan, rank, rank + 1, c);
        mean[c] = own.count > 0 ? (float)own.mean : NAN;
        var[c] = own.count > 0 ? (float)own.var : NAN;
    }
}

static lks_status_t check_same(lks_comm_t *comm, const float *numbers)
{
    float least[CHANNELS];
    LKS_TRY(
        lks_comm_all_reduce(comm, numbers, least, CHANNELS, LKS_DTYPE_F32, LKS_REDUCE_MIN, NULL));
    RANK_CHECK(memcmp(least, numbers, sizeof least) == 0, "ranks have different bits");
    return LKS_OK;
}

static lks_status_t combine(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    int rank = lks_comm_rank(comm);
    int64_t count = plan->counts[rank];
    float mean[CHANNELS], var[CHANNELS];
    own_moments(plan, rank, mean, var);
    LKS_TRY(lks_comm_moments(comm, CHANNELS, &count, mean, var));
    for (int c = 0; c < CHANNELS; c++) {
        truth_t wanted = tell_truth(plan, 0, lks_comm_world_size(comm), c);
        /* A rank's own mean was rounded to float32, and the distances between means with it. */
        double slack = 1e-6 + 1e-7 * fabs(plan->offset);
        RANK_CHECK(count == wanted.count, "%lld values", (long long)count);
        RANK_CHECK(fabs((double)mean[c] - wanted.mean) <= slack, "mean %.9g, wanted %.9g",
                   (double)mean[c], wanted.mean);
        RANK_CHECK(fabs((double)var[c] - wanted.var) <= 1e-6 + 2 * slack * sqrt(wanted.var),
                   "variance %.9g, wanted %.9g", (double)var[c], wanted.var);
    }
    LKS_TRY(check_same(comm, mean));
    return check_same(comm, var);
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= RANKS_MAX; ranks++) {
        run_ranks_ok(ranks, combine, &plan);
    }
}

Test(moments, of_all_ranks_are_those_of_the_whole_batch)
{
    check((plan_t){.counts = {8, 8, 8, 8, 8, 8, 8, 8}});
}

Test(moments, ranks_may_have_different_numbers_of_values_or_none)
{
    check((plan_t){.counts = {1, 40, 3, 7, 2, 39, 1, 20}});
    check((plan_t){.counts = {0, 5, 0, 0, 9, 1, 0, 3}});
    check((plan_t){.counts = {5, 0, 0, 0, 0, 0, 0, 0}});
    check((plan_t){.counts = {0}});
}

Test(moments, a_large_mean_does_not_swallow_the_variance)
{
    check((plan_t){.counts = {8, 8, 8, 8, 8, 8, 8, 8}, .offset = 4096});
    check((plan_t){.counts = {1, 40, 0, 7, 2, 39, 1, 20}, .offset = -100000});
}

/* --- backward ----------------------------------------------------------------------------------- */

static double made_up_dy(int rank, int64_t sample, int channel)
{
    return (double)((rank * 5 + (int)sample * 3 + channel) % 7) / 4 - 0.7;
}

/* The gradient of batch normalization in one piece, as the derivative of its formula. */
static double dx_of_whole(const plan_t *plan, int ranks, int rank, int64_t sample, int channel)
{
    truth_t all = tell_truth(plan, 0, ranks, channel);
    double invstd = 1 / sqrt(all.var + 1e-5), sum = 0, sum_hat = 0;
    double hat = (value(plan, rank, sample, channel) - all.mean) * invstd;
    for (int r = 0; r < ranks; r++) {
        for (int64_t i = 0; i < plan->counts[r]; i++) {
            double dy = made_up_dy(r, i, channel);
            sum += dy;
            sum_hat += dy * (value(plan, r, i, channel) - all.mean) * invstd;
        }
    }
    double n = (double)all.count;
    return invstd * (made_up_dy(rank, sample, channel) - sum / n - hat * sum_hat / n);
}

static lks_status_t normalize(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    int rank = lks_comm_rank(comm);
    int64_t own = plan->counts[rank], count = own;
    float mean[CHANNELS], var[CHANNELS], sum_dy[CHANNELS] = {0}, sum_dy_xmu[CHANNELS] = {0};
    own_moments(plan, rank, mean, var);
    LKS_TRY(lks_comm_moments(comm, CHANNELS, &count, mean, var));
    for (int c = 0; c < CHANNELS; c++) {
        for (int64_t i = 0; i < own; i++) {
            float dy = (float)made_up_dy(rank, i, c);
            sum_dy[c] += dy;
            sum_dy_xmu[c] += dy * ((float)value(plan, rank, i, c) - mean[c]);
        }
    }
    LKS_TRY(lks_comm_moments_backward(comm, CHANNELS, sum_dy, sum_dy_xmu));
    for (int c = 0; c < CHANNELS; c++) {
        double invstd = 1 / sqrt((double)var[c] + 1e-5);
        for (int64_t i = 0; i < own; i++) {
            double xmu = value(plan, rank, i, c) - (double)mean[c];
            double dx = (made_up_dy(rank, i, c) - (double)sum_dy[c] / (double)count -
                         xmu * invstd * invstd * (double)sum_dy_xmu[c] / (double)count) *
                        invstd;
            double wanted = dx_of_whole(plan, lks_comm_world_size(comm), rank, i, c);
            RANK_CHECK(fabs(dx - wanted) < 1e-5, "dx is %g, wanted %g", dx, wanted);
        }
    }
    return check_same(comm, sum_dy_xmu);
}

Test(moments, gradients_are_those_of_the_whole_batch)
{
    plan_t plan = {.counts = {7, 0, 12, 3}};
    for (int ranks = 1; ranks <= 4; ranks++) {
        run_ranks_ok(ranks, normalize, &plan);
    }
}

static lks_status_t cancel(lks_comm_t *comm, void *context)
{
    static const float terms[] = {1e8f, 1, -1e8f, 0.5f};
    (void)context;
    float a = terms[lks_comm_rank(comm)], b = -a;
    LKS_TRY(lks_comm_moments_backward(comm, 1, &a, &b));
    RANK_CHECK(a == 1.5f && b == -1.5f, "%g, %g", (double)a, (double)b);
    return LKS_OK;
}

Test(moments, sums_are_rounded_once)
{
    run_ranks_ok(4, cancel, NULL);
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static lks_status_t differ(lks_comm_t *comm, void *context)
{
    int64_t count = 1;
    float mean[2] = {0}, var[2] = {0};
    (void)context;
    return lks_comm_moments(comm, lks_comm_rank(comm) == 1 ? 1 : 2, &count, mean, var);
}

Test(moments, other_numbers_of_channels_are_told)
{
    lks_error_t errors[RANKS_MAX];
    run_ranks(2, NULL, differ, NULL, errors);
    for (int i = 0; i < 2; i++) {
        cr_assert(errors[i].status == LKS_ERR_ABORTED && strstr(errors[i].message, "all_gather of"),
                  "%s", errors[i].message);
    }
}

Test(moments, arguments_are_checked_and_nothing_is_touched)
{
    lks_comm_t *comm;
    int64_t count = -1;
    float mean = 3, var = 4;
    assert_ok(lks_comm_create_self(&comm));
    assert_fails(lks_comm_moments(comm, 1, &count, &mean, &var), LKS_ERR_INVALID_ARG,
                 "moments of -1 values");
    cr_assert(count == -1 && mean == 3 && var == 4);
    assert_fails(lks_comm_moments(comm, SIZE_MAX / 4, &(int64_t){1}, &mean, &var),
                 LKS_ERR_NO_MEMORY, "out of memory");
    count = 6;
    assert_ok(lks_comm_moments(comm, 0, &count, NULL, NULL));
    cr_assert(count == 6);
    lks_comm_destroy(comm);
}
