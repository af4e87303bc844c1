/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/shared_trials.h"

#include "collectives/memory.h"
#include "collectives/reduce.h"
#include "collectives/trials.h"

#include <stdint.h>
#include <string.h>

enum { MEMORY = 1 << 20, LATER = 64 * 37, MOST = 5000 /* elements */ };

/* Only if other processes are on this node is there anything to see. */
static lks_status_t check_place(lks_comm_t *comm, const void *data)
{
    bool others = lks_comm_local_size(comm) < lks_comm_world_size(comm);
    RANK_CHECK((lks_comm_place(comm, data, 64).memory > 0) == others, "the memory is %s",
               others ? "private" : "shared");
    return LKS_OK;
}

lks_status_t reduce_shared(lks_comm_t *comm, void *context)
{
    (void)context;
    static const size_t counts[] = {2049, 4099, MOST}; /* none is staged, of any dtype */
    lks_comm_memory_t *memory;
    LKS_TRY(lks_comm_memory_create(comm, MEMORY, &memory));
    char *data = lks_comm_memory_data(memory);
    LKS_TRY(check_place(comm, data));
    for (int pair = 0; pair < LKS_DTYPE_COUNT * LKS_REDUCE_OP_COUNT; pair++) {
        trial_t trial = {.dtype = (lks_dtype_t)(pair / LKS_REDUCE_OP_COUNT),
                         .op = (lks_reduce_op_t)(pair % LKS_REDUCE_OP_COUNT),
                         .in_place = true};
        for (size_t i = 0; i < 6 && lks_reduce_supports(trial.dtype, trial.op); i++) {
            trial.count = counts[i / 2];
            trial.memory = data + i % 2 * LATER;
            trial.seed = (uint64_t)pair * 10 + i;
            LKS_TRY(try_all_reduce(comm, &trial));
        }
    }
    lks_comm_memory_destroy(memory);
    return LKS_OK;
}

lks_status_t reduce_partly_shared(lks_comm_t *comm, void *context)
{
    (void)context;
    lks_comm_memory_t *first, *second;
    LKS_TRY(lks_comm_memory_create(comm, MEMORY, &first));
    LKS_TRY(lks_comm_memory_create(comm, MEMORY, &second));
    char *places[] = {NULL, lks_comm_memory_data(first),
                      (char *)lks_comm_memory_data(first) + LATER, lks_comm_memory_data(second)};
    uint64_t state = 1;
    for (int i = 0; i < 300; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        unsigned bits = (unsigned)(state >> 32);
        bool apart = bits % 3 > 0; /* else all at one place */
        unsigned mine = bits / 4 + (apart ? (unsigned)lks_comm_rank(comm) * (bits / 64 % 4) : 0);
        const trial_t trial = {.dtype = LKS_DTYPE_I32,
                               .count = bits / 256 % MOST,
                               .in_place = bits / 8192 % 4 > 0,
                               .memory = places[mine % 4],
                               .seed = state};
        LKS_TRY(try_all_reduce(comm, &trial));
    }
    lks_comm_memory_destroy(second);
    lks_comm_memory_destroy(first);
    return LKS_OK;
}

enum { MEMORIES = 5 };
static lks_comm_memory_t *kept[RANKS_MAX];

lks_status_t make_memories(lks_comm_t *comm, void *context)
{
    (void)context;
    lks_comm_memory_t *memories[MEMORIES] = {0};
    for (size_t i = 0; i < 60; i++) {
        lks_comm_memory_t **memory = &memories[i * 7 % MEMORIES];
        if (i % 3 == (size_t)lks_comm_rank(comm) % 3 || i % 3 == 2) {
            lks_comm_memory_destroy(*memory); /* now or later, before it is made anew */
            *memory = NULL;
        }
        lks_comm_memory_destroy(*memory);
        LKS_TRY(lks_comm_memory_create(comm, MEMORY + i, memory));
        const char *data = lks_comm_memory_data(*memory);
        for (size_t k = 0; k < MEMORY + i; k += 511) {
            RANK_CHECK(data[k] == 0, "byte %zu of memory %zu is %d", k, i, data[k]);
        }
        const trial_t trial = {.dtype = LKS_DTYPE_F64,
                               .count = MOST,
                               .in_place = true,
                               .memory = lks_comm_memory_data(*memory),
                               .seed = i};
        LKS_TRY(try_all_reduce(comm, &trial));
    }
    kept[lks_comm_local_rank(comm)] = memories[0];
    for (size_t i = 1; i < MEMORIES; i++) {
        lks_comm_memory_destroy(memories[i]);
    }
    return LKS_OK;
}

void destroy_kept_memories(void)
{
    for (size_t i = 0; i < RANKS_MAX; i++) {
        lks_comm_memory_destroy(kept[i]);
    }
}

lks_status_t fall_back(lks_comm_t *comm, void *context)
{
    (void)context;
    lks_comm_memory_t *memory;
    LKS_TRY(lks_comm_memory_create(comm, (size_t)64 << 20, &memory));
    char *data = lks_comm_memory_data(memory);
    RANK_CHECK(lks_comm_place(comm, data, 64).memory == 0, "the memory is shared");
    const trial_t trial = {.dtype = LKS_DTYPE_F32,
                           .op = LKS_REDUCE_SUM,
                           .count = MOST,
                           .in_place = true,
                           .memory = data,
                           .seed = 1};
    LKS_TRY(try_all_reduce(comm, &trial));
    lks_comm_memory_destroy(memory);
    return reduce_partly_shared(comm, NULL); /* smaller ones are shared */
}

lks_status_t sizes_differ(lks_comm_t *comm, void *context)
{
    (void)context;
    lks_comm_memory_t *memory = NULL;
    bool last = lks_comm_rank(comm) + 1 == lks_comm_world_size(comm);
    lks_status_t status = lks_comm_memory_create(comm, last ? 200 : 100, &memory);
    RANK_CHECK(status == LKS_ERR_INVALID_ARG &&
                   strstr(lks_last_error()->message, "rank 0 wants 100 bytes"),
               "it ended with %d", (int)status);
    return lks_comm_barrier(comm); /* the communicator lives */
}
