/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks whose clocks are apart by as much as the test says. */
#include "collectives/clock.h"
#include "collectives/ranks.h"
#include "core/thread.h"
#include "support/support.h"

#define SECOND 1000000000

typedef struct clocks {
    int64_t apart; /* of one rank and the next */
} clocks_t;

static int64_t skewed(void *context)
{
    return (int64_t)lks_now_ns() + *(const int64_t *)context;
}

static lks_status_t measure(lks_comm_t *comm, void *context)
{
    const clocks_t *clocks = context;
    int64_t ahead = lks_comm_rank(comm) * clocks->apart, offset = -1;
    LKS_TRY(lks_clock_offset(comm, skewed, &ahead, &offset));
    RANK_CHECK(clocks->apart != 0 || offset == 0, "rank %d is %lld ns off its own clock",
               lks_comm_rank(comm), (long long)offset);
    RANK_CHECK(lks_comm_rank(comm) != 0 || offset == 0, "rank 0 differs from itself");
    RANK_CHECK(offset - ahead < SECOND / 4 && ahead - offset < SECOND / 4, /* a busy machine */
               "rank %d is ahead by %lld ns, found %lld", lks_comm_rank(comm), (long long)ahead,
               (long long)offset);
    return LKS_OK;
}

Test(clock, ranks_with_one_clock_are_not_apart)
{
    clocks_t clocks = {0};
    run_ranks_ok(3, measure, &clocks);
    run_ranks_ok(1, measure, &clocks);
}

Test(clock, ranks_find_how_far_they_are_ahead_or_behind)
{
    clocks_t ahead = {86400LL * SECOND}, behind = {-3LL * SECOND};
    run_ranks_ok(4, measure, &ahead);
    run_ranks_ok(2, measure, &behind);
}
