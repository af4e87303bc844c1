/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_cases.h - the state dicts that bench_checkpoint saves and loads; their tensors lie one behind the
 * other in one block of memory, so that a floor has the same bytes. */
#ifndef LOCKSTEP_BENCHES_CHECKPOINT_CASES_H
#define LOCKSTEP_BENCHES_CHECKPOINT_CASES_H

#include <lockstep/checkpoint.h>

/** A case in memory. */
typedef struct bench_state {
    lks_tree_t *tree;
    unsigned char *data;
    size_t nbytes; /* of the tensors, and of `data` but for some alignment */
    size_t tensors;
    size_t room; /* of `data` */
} bench_state_t;

/** "resnet152": 932 tensors, 241 MB; "large": 300 tensors, 1.5 GB; "many": 100,000 tensors of 16 bytes. */
extern const char *const bench_state_cases[];
extern const size_t bench_state_case_count;

/** Ends the process with a sentence where something fails. */
bench_state_t bench_state_create(const char *name);
void bench_state_destroy(bench_state_t *state);

#endif
