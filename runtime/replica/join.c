/* SPDX-License-Identifier: Apache-2.0 */
/* join.c - ranks that run out of inputs before others do.
 * In a join every rank says before each step what it is about to do, and hears what the others are: a rank without inputs
 * then does all that a step asks of it, with gradients of zero. So it reduces its part of the buckets and updates its part
 * of the parameters as ever. When nobody has inputs, the join is over. */
#include "core/fnv.h"
#include "runtime/replica/grad_sync.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a rank tells the others. Learning rates change, and a rank without inputs does not hear of it otherwise. */
struct lks_sync_word {
    lks_sync_doing_t doing;
    lks_optim_config_t optim;
};

lks_join_options_t lks_join_options_default(void)
{
    return (lks_join_options_t){.divide_by_initial_world_size = true};
}

/* --- saying and hearing ------------------------------------------------------------------------- */

static lks_status_t tell(lks_grad_sync_t *sync, lks_sync_doing_t doing)
{
    lks_sync_join_t *join = &sync->join;
    const lks_replica_t *replica = sync->replica;
    lks_sync_word_t mine;
    memset(&mine, 0, sizeof mine); /* gaps travel, too */
    mine.doing = doing;
    if (replica->optim) {
        mine.optim = *lks_optim_config(replica->optim);
    }
    LKS_TRY(
        lks_comm_all_gather(replica->comm, &mine, join->words, sizeof mine, LKS_DTYPE_U8, NULL));
    join->active = 0;
    for (int i = 0; i < replica->world_size; i++) {
        if (join->words[i].doing != LKS_SYNC_OUT) {
            join->active++;
            sync->root = i;
        }
    }
    return LKS_OK;
}

static void set_divisor(lks_grad_sync_t *sync, int divisor)
{
    if (sync->options.reduce == LKS_REDUCE_AVG) {
        sync->divisor = divisor;
        lks_exchange_set_divisor(sync->exchange, divisor);
    }
}

static void end_join(lks_grad_sync_t *sync)
{
    free(sync->join.words);
    sync->join = (lks_sync_join_t){0};
    sync->root = 0;
    set_divisor(sync, sync->replica->world_size);
}

static int first_out(const lks_sync_join_t *join)
{
    int rank = 0;
    while (join->words[rank].doing != LKS_SYNC_OUT) {
        rank++;
    }
    return rank;
}

/* Some have inputs and some have not: all ranks find so at the same time. */
static lks_status_t check_uneven(lks_grad_sync_t *sync)
{
    const lks_sync_join_t *join = &sync->join;
    if (!join->options.throw_on_early_termination || join->active == sync->replica->world_size) {
        return LKS_OK;
    }
    int out = first_out(join), in = sync->root;
    end_join(sync);
    return lks_fail(LKS_ERR_MISMATCH,
                    "step %" PRId64 ": rank %d is out of inputs and rank %d is not", sync->steps,
                    out, in);
}

/* This step has `join->active` ranks. */
static void count_active(lks_grad_sync_t *sync)
{
    if (!sync->join.options.divide_by_initial_world_size) {
        set_divisor(sync, sync->join.active);
    }
}

lks_status_t lks_grad_sync_tell(lks_grad_sync_t *sync, lks_sync_doing_t doing)
{
    if (!sync->join.words) {
        return LKS_OK;
    }
    LKS_TRY(tell(sync, doing));
    LKS_TRY(check_uneven(sync));
    count_active(sync);
    return LKS_OK;
}

int lks_grad_sync_active(const lks_grad_sync_t *sync)
{
    return sync->join.words ? sync->join.active : sync->replica->world_size;
}

/* --- life --------------------------------------------------------------------------------------- */

static lks_status_t compare_options(const lks_grad_sync_t *sync, const lks_join_options_t *options)
{
    bool agree;
    const bool mine[] = {options->divide_by_initial_world_size,
                         options->throw_on_early_termination};
    LKS_TRY(lks_comm_agree(sync->replica->comm, lks_fnv(LKS_FNV_START, mine, sizeof mine), &agree));
    return agree ? LKS_OK : lks_fail(LKS_ERR_MISMATCH, "ranks begin a join with different options");
}

lks_status_t lks_replica_join_begin(lks_replica_t *replica, const lks_join_options_t *options)
{
    lks_grad_sync_t *sync = replica->sync;
    const lks_join_options_t chosen = options ? *options : lks_join_options_default();
    if (sync->join.words) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a join begins inside a join");
    }
    lks_sync_word_t *words = calloc((size_t)replica->world_size, sizeof *words);
    if (!words) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a join: out of memory");
    }
    lks_status_t status = compare_options(sync, &chosen);
    if (status != LKS_OK) {
        free(words);
        return status;
    }
    sync->join = (lks_sync_join_t){.words = words, .options = chosen};
    sync->root = replica->world_size - 1; /* of those that join last, before any step */
    return LKS_OK;
}

/* What those with inputs do. */
static lks_status_t follow(lks_grad_sync_t *sync)
{
    lks_replica_t *replica = sync->replica;
    const lks_sync_word_t *word = &sync->join.words[sync->root];
    if (word->doing == LKS_SYNC_CLIPS) {
        double norm;
        return lks_grad_sync_norm(sync, &norm);
    }
    if (replica->optim) {
        LKS_TRY(lks_optim_set_config(replica->optim, &word->optim));
    }
    sync->no_sync = word->doing == LKS_SYNC_ACCUMULATES;
    count_active(sync);
    LKS_TRY(lks_grad_sync_begin(sync));
    return replica->optim ? lks_replica_step(replica) : lks_replica_finish(replica);
}

static lks_status_t follow_all(lks_grad_sync_t *sync)
{
    LKS_TRY(tell(sync, LKS_SYNC_OUT));
    while (sync->join.active > 0) {
        LKS_TRY(check_uneven(sync));
        LKS_TRY(follow(sync));
        LKS_TRY(tell(sync, LKS_SYNC_OUT));
    }
    return lks_grad_sync_broadcast_values(sync);
}

lks_status_t lks_replica_join_end(lks_replica_t *replica)
{
    lks_grad_sync_t *sync = replica->sync;
    bool no_sync = sync->no_sync;
    if (!sync->join.words) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a join ends that has not begun");
    }
    sync->join.out = true;
    lks_status_t status = follow_all(sync);
    sync->no_sync = no_sync;
    end_join(sync);
    return status;
}
