/* SPDX-License-Identifier: Apache-2.0 */
/* test_arena.c - memory that is given back all at once. */
#include "core/arena.h"
#include "support/support.h"

#include <stdint.h>

Test(arena, takes_no_memory_before_the_first_allocation)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 0, 0);
    cr_assert_null(arena.first);
    cr_assert_eq(arena.used, 0);
    lks_arena_fini(&arena);
}

Test(arena, aligns_as_asked)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 1024, 0);
    for (int round = 0; round < 20; round++) {
        for (size_t align = 1; align <= 4096; align *= 2) {
            void *data = lks_arena_alloc(&arena, 1 + align / 3, align);
            cr_assert_not_null(data);
            cr_assert_eq((uintptr_t)data % align, 0, "align %zu", align);
        }
    }
    lks_arena_fini(&arena);
}

/* Each piece is filled with its own number: a neighbour that overlaps would show. */
Test(arena, pieces_do_not_overlap)
{
    enum { COUNT = 500 };
    lks_arena_t arena;
    lks_arena_init(&arena, 256, 0);
    unsigned char *piece[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        piece[i] = lks_arena_alloc(&arena, i, (size_t)1 << (i % 7));
        cr_assert_not_null(piece[i]);
        memset(piece[i], (int)(i % 251), i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < i; k++) {
            cr_assert_eq(piece[i][k], i % 251);
        }
    }
    lks_arena_fini(&arena);
}

Test(arena, nothing_is_a_valid_piece)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 64, 0);
    cr_assert_not_null(lks_arena_alloc(&arena, 0, 1));
    cr_assert_not_null(lks_arena_alloc(&arena, 64, 1));
    cr_assert_not_null(lks_arena_alloc(&arena, 0, 4096));
    lks_arena_fini(&arena);
}

Test(arena, larger_than_a_block_gets_a_block_of_its_own)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 64, 0);
    unsigned char *data = lks_arena_alloc(&arena, 1 << 20, 64);
    cr_assert_not_null(data);
    memset(data, 1, 1 << 20);
    lks_arena_fini(&arena);
}

Test(arena, zalloc_zeroes_reused_memory)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 256, 0);
    unsigned char *data = lks_arena_alloc(&arena, 100, 1);
    memset(data, 0xff, 100);
    lks_arena_reset(&arena);
    unsigned char *again = lks_arena_zalloc(&arena, 100, 1);
    cr_assert_eq(again, data);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(again[i], 0);
    }
    lks_arena_fini(&arena);
}

Test(arena, reset_serves_the_same_requests_from_the_same_memory)
{
    enum { COUNT = 300 };
    lks_arena_t arena;
    lks_arena_init(&arena, 512, 0);
    void *first[COUNT];
    for (int round = 0; round < 4; round++) {
        size_t used = 0;
        for (size_t i = 0; i < COUNT; i++) {
            void *data = lks_arena_alloc(&arena, (i * 37) % 3000, 64);
            cr_assert_not_null(data);
            first[i] = round == 0 ? data : first[i];
            cr_assert_eq(data, first[i], "request %zu of round %d", i, round);
            cr_assert_gt(arena.used + 1, used);
            used = arena.used;
        }
        lks_arena_reset(&arena);
        cr_assert_eq(arena.used, 0);
    }
    lks_arena_fini(&arena);
}

Test(arena, limit_counts_every_byte)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 64, 1000);
    cr_assert_not_null(lks_arena_alloc(&arena, 600, 1));
    cr_assert_null(lks_arena_alloc(&arena, 401, 1));
    cr_assert_not_null(lks_arena_alloc(&arena, 400, 1));
    cr_assert_eq(arena.used, 1000);
    cr_assert_null(lks_arena_alloc(&arena, 1, 1));
    cr_assert_not_null(lks_arena_alloc(&arena, 0, 1));
    lks_arena_reset(&arena);
    cr_assert_not_null(lks_arena_alloc(&arena, 1000, 1));
    lks_arena_fini(&arena);
}

Test(arena, huge_requests_fail_and_leave_the_arena_usable)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 64, 0);
    cr_assert_null(lks_arena_alloc(&arena, SIZE_MAX, 1));
    cr_assert_not_null(lks_arena_alloc(&arena, 10, 1));
    cr_assert_null(lks_arena_alloc(&arena, SIZE_MAX, 4096));
    cr_assert_null(lks_arena_alloc(&arena, SIZE_MAX - 4096, 4096));
    cr_assert_null(lks_arena_zalloc(&arena, SIZE_MAX - 7, 8));
    cr_assert_null(lks_arena_copy_text(&arena, "", SIZE_MAX));
    cr_assert_not_null(lks_arena_alloc(&arena, 10, 1));
    lks_arena_fini(&arena);
}

Test(arena, copies_text_and_ends_it)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 0, 0);
    cr_assert_str_eq(lks_arena_copy_text(&arena, "hello world", 5), "hello");
    cr_assert_str_eq(lks_arena_copy_text(&arena, NULL, 0), "");
    lks_arena_fini(&arena);
}

Test(arena, may_be_finished_twice)
{
    lks_arena_t arena;
    lks_arena_init(&arena, 0, 0);
    cr_assert_not_null(lks_arena_alloc(&arena, 1, 1));
    lks_arena_fini(&arena);
    lks_arena_fini(&arena);
    cr_assert_null(arena.first);
}
