/* SPDX-License-Identifier: Apache-2.0 */
/* all_reduce_window.h - the least that an all-reduce between two processes with memory of their own can do: each owns half of
 * the vector; what is not its own goes through shared memory in chunks that stay in the cache, and comes back summed. Three
 * stages follow each other at a distance of one chunk. It checks nothing, only spins, and knows float32 and two ranks alone. */
#ifndef LOCKSTEP_BENCHES_ALL_REDUCE_WINDOW_H
#define LOCKSTEP_BENCHES_ALL_REDUCE_WINDOW_H

#include <lockstep/comm.h>

#include <stddef.h>

typedef struct floor_window floor_window_t;

/** Called by both processes of `comm`, which has one rank in each, on one machine. */
floor_window_t *floor_window_open(lks_comm_t *comm);

/** Sums `count` floats, a multiple of 2; returns when this process has the sum. */
void floor_window_all_reduce(floor_window_t *window, float *data, size_t count);

#endif
