/* SPDX-License-Identifier: Apache-2.0 */
/* ranks.h - runs one function on every rank of a local communicator, a thread each.
 * Criterion's assertions work on the main thread only, so a rank's function says what is wrong as any call does,
 * by a status and a sentence, and the test looks at them when all ranks have ended. */
#ifndef LOCKSTEP_TESTS_COLLECTIVES_RANKS_H
#define LOCKSTEP_TESTS_COLLECTIVES_RANKS_H

#include <lockstep/comm.h>

#define RANKS_MAX 8

/** In a rank's function: leaves it with a sentence where `condition` does not hold. */
#define RANK_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            return lks_fail(LKS_ERR_MISMATCH, __VA_ARGS__);                                        \
        }                                                                                          \
    } while (0)

/** A rank that fails aborts the others; each destroys its own communicator, at once. */
typedef lks_status_t (*rank_fn_t)(lks_comm_t *comm, void *context);

/** Runs `run` on all ranks and waits for them; errors[rank] is what each ended with. `config` as in
 *  lks_comm_create_local. */
void run_ranks(int world_size, const lks_comm_config_t *config, rank_fn_t run, void *context,
               lks_error_t errors[RANKS_MAX]);

/** run_ranks, and every rank must succeed. */
void run_ranks_ok(int world_size, rank_fn_t run, void *context);

#endif
