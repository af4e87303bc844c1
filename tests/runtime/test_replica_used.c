/* SPDX-License-Identifier: Apache-2.0 */
/* Which parameters ranks used, for callers who update by themselves. */
#include "collectives/ranks.h"
#include "support/support.h"

#include <lockstep/replica.h>

enum { ALL, HIGH, NEVER, BUFFER, PARAMS }; /* who has a gradient: all ranks, the highest, nobody */

typedef struct plan {
    lks_replica_options_t options;
    bool rests;       /* HIGH is used in even steps only */
    bool accumulates; /* and only in steps that do not synchronize */
} plan_t;

static bool has_grad(const plan_t *plan, const lks_replica_t *replica, int step, int p)
{
    bool high = replica->rank == replica->world_size - 1 && !(plan->rests && step % 2 == 1);
    return p == ALL || (p == HIGH && high);
}

static lks_status_t backward(lks_replica_t *replica, const plan_t *plan, int step, bool sync)
{
    lks_replica_set_sync(replica, sync);
    LKS_TRY(lks_replica_begin(replica));
    for (int p = 0; p < PARAMS; p++) {
        bool now = p == ALL || sync != plan->accumulates;
        if (has_grad(plan, replica, step, p) && now) {
            *(float *)lks_replica_grad(replica, (size_t)p) = 1;
            LKS_TRY(lks_replica_grad_ready(replica, (size_t)p));
        }
    }
    return lks_replica_finish(replica);
}

static lks_status_t check_used(const lks_replica_t *replica, bool all, bool high, bool never)
{
    const bool wanted[PARAMS + 1] = {all, high, never, false, false}; /* the last one is none */
    for (size_t p = 0; p <= PARAMS; p++) {
        RANK_CHECK(lks_replica_used(replica, p) == wanted[p], "parameter %zu: %d", p, !wanted[p]);
    }
    return LKS_OK;
}

static lks_status_t use(lks_comm_t *comm, void *context)
{
    const plan_t *plan = context;
    const lks_replica_options_t *options = &plan->options;
    float values[PARAMS] = {0};
    lks_replica_param_t params[PARAMS];
    lks_replica_t *replica;
    for (int p = 0; p < PARAMS; p++) {
        params[p] = (lks_replica_param_t){.name = "p",
                                          .kind = p == BUFFER ? LKS_PARAM_BUFFER : LKS_PARAM_WEIGHT,
                                          .dtype = LKS_DTYPE_F32,
                                          .value = &values[p]};
    }
    LKS_TRY(lks_replica_create(comm, params, PARAMS, options, &replica));
    LKS_TRY(check_used(replica, false, false, false));
    for (int step = 0; step < 4; step++) {
        if (plan->accumulates) {
            LKS_TRY(backward(replica, plan, step, false));
        }
        LKS_TRY(backward(replica, plan, step, true));
        LKS_TRY(check_used(replica, true, !(plan->rests && step % 2 == 1), false));
    }
    lks_replica_destroy(replica);
    return LKS_OK;
}

static void check(plan_t plan)
{
    for (int ranks = 1; ranks <= 4; ranks++) {
        run_ranks_ok(ranks, use, &plan);
    }
}

Test(replica_used, what_any_rank_used_is_known_to_all)
{
    plan_t plan = {.options = lks_replica_options_default()};
    plan.options.find_unused = true;
    check(plan);
    plan.rests = true;
    check(plan);
}

Test(replica_used, what_was_accumulated_counts)
{
    plan_t plan = {.options = lks_replica_options_default(), .accumulates = true};
    plan.options.find_unused = true;
    check(plan);
    plan.rests = true;
    check(plan);
}

Test(replica_used, a_static_graph_says_so_in_every_step)
{
    plan_t plan = {.options = lks_replica_options_default()};
    plan.options.static_graph = true;
    check(plan);
}

static lks_status_t use_all(lks_comm_t *comm, void *context)
{
    float value = 0;
    const lks_replica_param_t param = {.name = "p", .dtype = LKS_DTYPE_F32, .value = &value};
    lks_replica_t *replica;
    (void)context;
    LKS_TRY(lks_replica_create(comm, &param, 1, NULL, &replica));
    RANK_CHECK(!lks_replica_used(replica, 0), "used before the first step");
    LKS_TRY(lks_replica_begin(replica));
    LKS_TRY(lks_replica_grad_ready(replica, 0));
    LKS_TRY(lks_replica_finish(replica));
    RANK_CHECK(lks_replica_used(replica, 0), "not used");
    lks_replica_destroy(replica);
    return LKS_OK;
}

Test(replica_used, without_the_option_all_are)
{
    run_ranks_ok(3, use_all, NULL);
}
