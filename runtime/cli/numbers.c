/* SPDX-License-Identifier: Apache-2.0 */
/* numbers.c - see numbers.h. */
#include "runtime/cli/numbers.h"
#include "runtime/cli/print.h"

#include <stdlib.h>

void numbers_add(numbers_t *numbers, unsigned number)
{
    numbers->items[numbers->count++] = number;
}

void numbers_add_new(numbers_t *numbers, unsigned number)
{
    for (size_t i = 0; i < numbers->count; i++) {
        if (numbers->items[i] == number) {
            return;
        }
    }
    numbers_add(numbers, number);
}

static int compare(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

void numbers_sort(numbers_t *numbers)
{
    qsort(numbers->items, numbers->count, sizeof *numbers->items, compare);
}

/* How many numbers from items[0] on, of `left`, ascend at the distance of the first two. */
static size_t run_length(const unsigned *items, size_t left)
{
    if (left < 2 || items[1] <= items[0]) {
        return 1;
    }
    size_t length = 2;
    while (length < left && items[length] > items[length - 1] &&
           items[length] - items[length - 1] == items[1] - items[0]) {
        length++;
    }
    return length > 2 || items[1] - items[0] == 1 ? length : 1;
}

void numbers_print(FILE *out, const numbers_t *numbers)
{
    for (size_t i = 0; i < numbers->count;) {
        const unsigned *run = &numbers->items[i];
        size_t length = run_length(run, numbers->count - i);
        (void)print_text(out, i == 0 ? "" : ",");
        (void)print_int(out, run[0]);
        if (length > 1) {
            print_char(out, '-');
            (void)print_int(out, run[length - 1]);
        }
        if (length > 1 && run[1] - run[0] > 1) {
            print_char(out, ':');
            (void)print_int(out, run[1] - run[0]);
        }
        i += length;
    }
}

void numbers_json(FILE *out, const numbers_t *numbers)
{
    print_char(out, '[');
    for (size_t i = 0; i < numbers->count; i++) {
        (void)print_text(out, i == 0 ? "" : ", ");
        (void)print_int(out, numbers->items[i]);
    }
    print_char(out, ']');
}
