/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory that is given back all at once.
 * Two uses: the nodes of a tree (grow, destroy) and the scratch of a training step (grow, reset, grow): after
 * the first step a reset arena serves every later one without calling malloc.
 * Threads: an arena belongs to one thread at a time. */
#ifndef LOCKSTEP_CORE_ARENA_H
#define LOCKSTEP_CORE_ARENA_H

#include <stddef.h>

typedef struct lks_arena_block lks_arena_block_t;

typedef struct lks_arena {
    lks_arena_block_t *first, *current;
    size_t block_size; /* of the next ordinary block */
    size_t used;       /* bytes handed out since init or reset, padding included */
    size_t limit;      /* lks_arena_alloc fails beyond it */
} lks_arena_t;

/** An empty arena; no memory is taken yet. block_size 0: 64 KiB. limit 0: none. */
void lks_arena_init(lks_arena_t *arena, size_t block_size, size_t limit);
void lks_arena_fini(lks_arena_t *arena);

/** `nbytes` undefined bytes, aligned to `align` (a power of two up to 4096); NULL when out of memory or
 *  over the limit. 0 bytes give a valid pointer. */
void *lks_arena_alloc(lks_arena_t *arena, size_t nbytes, size_t align);

/** The same, zeroed. */
void *lks_arena_zalloc(lks_arena_t *arena, size_t nbytes, size_t align);

/** A copy of `nbytes` bytes with a zero behind them. */
char *lks_arena_copy_text(lks_arena_t *arena, const char *text, size_t nbytes);

/** Forgets everything handed out and keeps the blocks. */
void lks_arena_reset(lks_arena_t *arena);

#endif
