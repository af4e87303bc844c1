/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - where a communicator finds what the ranks of other processes hold (lks_comm_memory_t).
 * Each rank makes a memory file and maps those of all ranks, by way of /proc: no name that could stay behind, and nobody's
 * memory goes while a peer reads it. Memories are numbered as they are made, alike on all ranks: a *place* in one of them
 * is the same number and offset for everybody. */
#ifndef LOCKSTEP_COLLECTIVES_MEMORY_H
#define LOCKSTEP_COLLECTIVES_MEMORY_H

#include <lockstep/comm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Zeroed: nowhere, in memory that nobody else sees. */
typedef struct lks_place {
    uint64_t memory; /* its number, from 1 on */
    size_t offset;   /* bytes */
} lks_place_t;

bool lks_place_same(lks_place_t a, lks_place_t b);

/** The place of two vectors, nowhere if they have not the same. */
lks_place_t lks_place_of_both(lks_place_t a, lks_place_t b);

/** Where `nbytes` bytes from `data` on lie; zeroed if not all in one memory of this rank's that is shared. */
lks_place_t lks_comm_place(const lks_comm_t *comm, const void *data, size_t nbytes);

/** What all ranks have at a place that is not nowhere: views[0..world_size). */
void lks_comm_views(const lks_comm_t *comm, lks_place_t place, void **views);

/** Forgets its memories, which live on until their owner destroys them. With the communicator. */
void lks_comm_forget_memories(lks_comm_t *comm);

#endif
