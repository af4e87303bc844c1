/* SPDX-License-Identifier: Apache-2.0 */
/* all_reduce_floor.h - the least an all-reduce among threads can do, compiled for the machine at hand: every thread sums its
 * slice of all buffers and writes it to all, between two meetings on a word that everyone looks at. It checks nothing, cannot
 * be aborted and knows float32 alone. */
#ifndef LOCKSTEP_BENCHES_ALL_REDUCE_FLOOR_H
#define LOCKSTEP_BENCHES_ALL_REDUCE_FLOOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { FLOOR_RANKS_MAX = 8 };

typedef struct floor_team {
    _Alignas(64) _Atomic int arrived;
    _Alignas(64) _Atomic int round;
    int ranks;    /* 2 to FLOOR_RANKS_MAX */
    bool crowded; /* more of them than cores: they let each other run */
    float *buffers[FLOOR_RANKS_MAX];
} floor_team_t;

/** Sums `count` floats of all ranks into all ranks' buffers; every rank calls it. */
void floor_all_reduce(floor_team_t *team, int rank, size_t count);

/** Nanoseconds for a word to go from core 0 to core 1 and back: half of what any two threads need to agree. */
double floor_round_trip(void);

#endif
