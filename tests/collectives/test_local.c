/* SPDX-License-Identifier: Apache-2.0 */
/* What collectives among threads compute. Every result is compared by its bits with a reference that reduces one
 * element after the other along the same tree; world sizes go beyond this machine's cores. */
#include "collectives/backend.h"
#include "collectives/ranks.h"
#include "collectives/reduce.h"
#include "collectives/reference.h"
#include "collectives/shared_trials.h"
#include "collectives/trials.h"
#include "support/support.h"

#include <stdatomic.h>
#include <stdlib.h>

static const int world_sizes[] = {1, 2, 3, 5, 8};
#define WORLD_SIZES (sizeof world_sizes / sizeof *world_sizes)

Test(local, reductions_of_every_dtype_and_op_equal_the_reference)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], reduce_every_dtype_and_op, NULL);
    }
}

Test(local, broadcast_and_all_gather_move_every_dtype)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], move_every_dtype, NULL);
    }
}

Test(local, a_million_elements_sum_exactly)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], reduce_a_million, NULL);
    }
}

/* The data of try_all_reduce would notice another order: summed backwards it has other bits. */
Test(local, the_reference_depends_on_the_order)
{
    int different = 0;
    for (size_t i = 0; i < 100; i++) {
        float forward, x, backward = 0;
        rank_reduced(LKS_DTYPE_F32, LKS_REDUCE_SUM, 1, 5, i, &forward);
        for (int rank = 4; rank >= 0; rank--) {
            rank_element(LKS_DTYPE_F32, 1, rank, i, &x);
            backward += x;
        }
        different += forward != backward;
    }
    cr_assert(different > 20);
}

Test(local, counts_around_the_limit_of_staging_are_right)
{
    run_ranks_ok(3, reduce_counts_around_the_stage, NULL);
    run_ranks_ok(8, reduce_counts_around_the_stage, NULL);
}

Test(local, two_hundred_random_collectives_in_sequence)
{
    for (size_t i = 0; i < WORLD_SIZES; i++) {
        run_ranks_ok(world_sizes[i], run_random_collectives, &(uint64_t){i});
    }
}

Test(local, ranks_that_spin_without_a_core_of_their_own_get_there)
{
    lks_error_t errors[RANKS_MAX];
    lks_comm_config_t config = lks_comm_config_default();
    config.cores = 64;
    run_ranks(8, &config, run_random_collectives, &(uint64_t){77}, errors);
    for (int i = 0; i < 8; i++) {
        cr_assert(errors[i].status == LKS_OK, "%s", errors[i].message);
    }
}

Test(local, memory_of_a_communicator_is_memory)
{
    run_ranks_ok(3, reduce_shared, NULL);
    run_ranks_ok(3, make_memories, NULL);
    destroy_kept_memories(); /* after their communicators */
}

Test(local, a_buffer_may_be_reused_at_once)
{
    run_ranks_ok(3, reuse_a_buffer_at_once, NULL);
}

static lks_status_t count_arrivals(lks_comm_t *comm, void *context)
{
    _Atomic int *arrived = context;
    int ranks = lks_comm_world_size(comm);
    for (int round = 1; round <= 100; round++) {
        atomic_fetch_add(arrived, 1);
        LKS_TRY(lks_comm_barrier(comm));
        int seen = atomic_load(arrived);
        RANK_CHECK(seen >= round * ranks, "round %d: %d arrivals", round, seen);
        LKS_TRY(lks_comm_barrier(comm));
    }
    return LKS_OK;
}

Test(local, nobody_passes_a_barrier_early)
{
    _Atomic int arrived = 0;
    run_ranks_ok(5, count_arrivals, &arrived);
}

/* run_ranks destroys a rank's communicator as soon as its function returns: the others may still be waking up. */
static lks_status_t reduce_once(lks_comm_t *comm, void *context)
{
    trial_t trial = {.dtype = LKS_DTYPE_F32, .count = *(const size_t *)context, .in_place = true};
    return try_all_reduce(comm, &trial);
}

Test(local, destroying_after_the_last_collective_disturbs_nobody)
{
    for (int i = 0; i < 100; i++) {
        run_ranks_ok(3, reduce_once, &(size_t){10});
        run_ranks_ok(3, reduce_once, &(size_t){1100});
    }
}

/* Rank 1 has another digest: by one bit, each in turn. */
static lks_status_t compare_digests(lks_comm_t *comm, void *context)
{
    (void)context;
    for (int bit = -1; bit < 64; bit++) {
        bool agree;
        uint64_t digest = 0x9e3779b97f4a7c15u;
        if (bit >= 0 && lks_comm_rank(comm) == 1) {
            digest ^= (uint64_t)1 << bit;
        }
        LKS_TRY(lks_comm_agree(comm, digest, &agree));
        RANK_CHECK(agree == (bit < 0), "bit %d", bit);
    }
    return LKS_OK;
}

Test(local, digests_agree_in_every_bit_or_not)
{
    run_ranks_ok(3, compare_digests, NULL);
}
