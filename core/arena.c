/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - a chain of blocks; the current one is cut from the front. */
#include "core/arena.h"
#include "core/checked.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct lks_arena_block {
    lks_arena_block_t *next;
    size_t size, used; /* of bytes[] */
    unsigned char bytes[];
};

#define BLOCK_SIZE_DEFAULT ((size_t)64 << 10)
#define BLOCK_SIZE_MAX ((size_t)8 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

void lks_arena_init(lks_arena_t *arena, size_t block_size, size_t limit)
{
    *arena = (lks_arena_t){
        .block_size = block_size ? block_size : BLOCK_SIZE_DEFAULT,
        .limit = limit ? limit : SIZE_MAX,
    };
}

void lks_arena_fini(lks_arena_t *arena)
{
    lks_arena_block_t *block = arena->first;
    while (block) {
        lks_arena_block_t *next = block->next;
        free(block);
        block = next;
    }
    *arena = (lks_arena_t){0};
}

/* Bytes to skip in the block so that the next one is aligned. */
static size_t padding(const lks_arena_block_t *block, size_t align)
{
    uintptr_t at = (uintptr_t)(block->bytes + block->used);
    return (size_t)(-at & (align - 1));
}

static bool fits(const lks_arena_block_t *block, size_t nbytes, size_t align)
{
    size_t need;
    return lks_add_size(nbytes, padding(block, align), &need) && need <= block->size - block->used;
}

/* Large blocks come in whole huge pages, where the system has them: the first touch of small ones takes longer
 * than most uses of the memory. Makes `*nbytes` more, if need be. */
static void *block_memory(size_t *nbytes)
{
    size_t rounded;
    if (*nbytes < 2 * HUGE_PAGE || !lks_add_size(*nbytes, HUGE_PAGE - 1, &rounded)) {
        return malloc(*nbytes);
    }
    *nbytes = rounded & ~(HUGE_PAGE - 1);
    void *memory = aligned_alloc(HUGE_PAGE, *nbytes);
    if (memory) {
        (void)madvise(memory, *nbytes, MADV_HUGEPAGE);
    }
    return memory;
}

static lks_arena_block_t *block_create(lks_arena_t *arena, size_t nbytes, size_t align)
{
    size_t size, total;
    if (!lks_add_size(nbytes, align, &size)) {
        return NULL;
    }
    if (size < arena->block_size) {
        size = arena->block_size;
    }
    if (!lks_add_size(size, sizeof(lks_arena_block_t), &total)) {
        return NULL;
    }
    lks_arena_block_t *block = block_memory(&total);
    if (!block) {
        return NULL;
    }
    *block = (lks_arena_block_t){.size = total - sizeof *block};
    if (arena->block_size < BLOCK_SIZE_MAX) {
        arena->block_size *= 2;
    }
    return block;
}

/* A block with room: the current one, a later one that a reset left, or a new one behind the current. */
static lks_arena_block_t *block_with_room(lks_arena_t *arena, size_t nbytes, size_t align)
{
    for (lks_arena_block_t *block = arena->current; block; block = block->next) {
        if (fits(block, nbytes, align)) {
            return block;
        }
    }
    lks_arena_block_t *block = block_create(arena, nbytes, align);
    if (!block) {
        return NULL;
    }
    if (arena->current) {
        block->next = arena->current->next;
        arena->current->next = block;
    } else {
        arena->first = block;
    }
    return block;
}

void *lks_arena_alloc(lks_arena_t *arena, size_t nbytes, size_t align)
{
    if (nbytes > arena->limit - arena->used) {
        return NULL;
    }
    lks_arena_block_t *block = block_with_room(arena, nbytes, align);
    if (!block) {
        return NULL;
    }
    size_t pad = padding(block, align);
    if (nbytes + pad > arena->limit - arena->used) {
        return NULL;
    }
    void *data = block->bytes + block->used + pad;
    block->used += pad + nbytes;
    arena->used += pad + nbytes;
    arena->current = block;
    return data;
}

void *lks_arena_zalloc(lks_arena_t *arena, size_t nbytes, size_t align)
{
    void *data = lks_arena_alloc(arena, nbytes, align);
    if (data) {
        memset(data, 0, nbytes);
    }
    return data;
}

char *lks_arena_copy_text(lks_arena_t *arena, const char *text, size_t nbytes)
{
    size_t total;
    char *copy = lks_add_size(nbytes, 1, &total) ? lks_arena_alloc(arena, total, 1) : NULL;
    if (copy) {
        if (nbytes > 0) {
            memcpy(copy, text, nbytes);
        }
        copy[nbytes] = '\0';
    }
    return copy;
}

void lks_arena_reset(lks_arena_t *arena)
{
    for (lks_arena_block_t *block = arena->first; block; block = block->next) {
        block->used = 0;
    }
    arena->current = arena->first;
    arena->used = 0;
}
