/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of numbers as text and as JSON. */
#include "runtime/cli/numbers.h"
#include "support/support.h"

#include <stdlib.h>

static void assert_printed(size_t count, const unsigned *items, const char *want)
{
    unsigned room[16];
    numbers_t numbers = {.items = room};
    for (size_t i = 0; i < count; i++) {
        numbers_add(&numbers, items[i]);
    }
    char *out;
    size_t length;
    FILE *stream = open_memstream(&out, &length);
    numbers_print(stream, &numbers);
    (void)fclose(stream);
    cr_assert_str_eq(out, want);
    free(out);
}

#define PRINTED(want, ...)                                                                         \
    assert_printed(sizeof((unsigned[]){__VA_ARGS__}) / sizeof(unsigned),                           \
                   (unsigned[]){__VA_ARGS__}, want)

Test(numbers, numbers_in_a_row_are_a_range)
{
    PRINTED("7", 7);
    PRINTED("0-1", 0, 1);
    PRINTED("0-3,8-9,12", 0, 1, 2, 3, 8, 9, 12);
    assert_printed(0, NULL, "");
}

Test(numbers, three_at_an_equal_distance_are_a_range_two_are_not)
{
    PRINTED("0-6:2", 0, 2, 4, 6);
    PRINTED("0,4", 0, 4);
    PRINTED("1,5-9:2,10", 1, 5, 7, 9, 10);
}

Test(numbers, their_order_is_kept)
{
    PRINTED("3,2,1", 3, 2, 1);
    PRINTED("0,4,2,6", 0, 4, 2, 6);
    PRINTED("5,5", 5, 5);
    PRINTED("4-5,0-1", 4, 5, 0, 1);
}

Test(numbers, json_has_each)
{
    unsigned room[] = {3, 1, 2};
    numbers_t numbers = {.items = room, .count = 3};
    numbers_sort(&numbers);
    char *out;
    size_t length;
    FILE *stream = open_memstream(&out, &length);
    numbers_json(stream, &numbers);
    numbers.count = 0;
    numbers_json(stream, &numbers);
    (void)fclose(stream);
    cr_assert_str_eq(out, "[1, 2, 3][]");
    free(out);
}

Test(numbers, what_is_there_is_not_added_again)
{
    unsigned room[2];
    numbers_t numbers = {.items = room};
    numbers_add_new(&numbers, 4);
    numbers_add_new(&numbers, 0);
    numbers_add_new(&numbers, 4);
    cr_assert_eq(numbers.count, 2);
    cr_assert_eq(room[0], 4);
    cr_assert_eq(room[1], 0);
}
