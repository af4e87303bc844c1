/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - see clock.h. A gather ends nowhere before it has begun everywhere. So, by the clocks of rank 0 and of rank r,
 * which shows `offset` more:  begin_0 + offset <= end_r  and  begin_r <= end_0 + offset. */
#include "collectives/clock.h"

#include <stdlib.h>

enum { ROUNDS = 16 };

/* What a rank says in a round: when it came to it, and when the one before had ended for it. */
typedef struct stamps {
    int64_t begin, last_end;
} stamps_t;

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

lks_status_t lks_clock_offset(lks_comm_t *comm, int64_t (*now)(void *context), void *context,
                              int64_t *offset)
{
    int64_t least = INT64_MIN, most = INT64_MAX, last_begin = 0;
    stamps_t mine = {0}, *all = calloc((size_t)lks_comm_world_size(comm), sizeof *all);
    if (!all) {
        return lks_fail(LKS_ERR_NO_MEMORY, "clocks of ranks: out of memory");
    }
    lks_status_t status = LKS_OK;
    for (int round = 0; round < ROUNDS && status == LKS_OK; round++) {
        mine.begin = now(context);
        status = lks_comm_all_gather(comm, &mine, all, sizeof mine / sizeof(int64_t), LKS_DTYPE_I64,
                                     NULL);
        mine.last_end = now(context);
        most = sooner(most, mine.last_end - all[0].begin);
        least = round > 0 ? later(least, last_begin - all[0].last_end) : least;
        last_begin = mine.begin;
    }
    free(all);
    if (status == LKS_OK) {
        *offset = least <= 0 && most >= 0 ? 0 : least + (most - least) / 2;
    }
    return status;
}
