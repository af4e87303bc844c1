/* SPDX-License-Identifier: Apache-2.0 */
/* numbers.h - short lists of numbers as people write them: processing units 0-3,8-14:2. */
#ifndef LOCKSTEP_CLI_NUMBERS_H
#define LOCKSTEP_CLI_NUMBERS_H

#include <stddef.h>
#include <stdio.h>

/** The caller gives room for what it adds. */
typedef struct numbers {
    unsigned *items;
    size_t count;
} numbers_t;

void numbers_add(numbers_t *numbers, unsigned number);

/** The same, unless it is there already. */
void numbers_add_new(numbers_t *numbers, unsigned number);

void numbers_sort(numbers_t *numbers);

/** In their order, as taskset -c takes them: two or more in a row are a-b, three or more at an equal distance a-b:distance. */
void numbers_print(FILE *out, const numbers_t *numbers);

/** A JSON array. */
void numbers_json(FILE *out, const numbers_t *numbers);

#endif
