/* SPDX-License-Identifier: Apache-2.0 */
#include "core/grow.h"
#include "support/support.h"

#include <stdint.h>
#include <stdlib.h>

Test(grow, keeps_what_is_there_and_doubles)
{
    size_t capacity = 0, moves = 0;
    int *items = NULL;
    for (int i = 0; i < 10000; i++) {
        size_t before = capacity;
        items = lks_grow(items, &capacity, (size_t)i + 1, sizeof *items);
        cr_assert(items && capacity > (size_t)i);
        cr_assert(capacity == before || capacity >= 2 * before);
        moves += capacity != before;
        items[i] = i;
    }
    cr_assert_lt(moves, 12);
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(items[i], i);
    }
    free(items);
}

Test(grow, goes_as_far_as_is_wanted_at_once)
{
    size_t capacity = 0;
    char *items = lks_grow(NULL, &capacity, 1000, 1);
    cr_assert(items && capacity == 1000);
    cr_assert_eq(lks_grow(items, &capacity, 1000, 1), items);
    free(items);
}

Test(grow, more_than_there_can_be_changes_nothing)
{
    size_t capacity = 0;
    char *items = lks_grow(NULL, &capacity, 10, 8);
    size_t before = capacity;
    cr_assert_null(lks_grow(items, &capacity, SIZE_MAX / 4, 8));
    cr_assert_null(lks_grow(items, &capacity, SIZE_MAX, 8));
    cr_assert_eq(capacity, before);
    free(items);
}
