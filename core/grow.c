/* SPDX-License-Identifier: Apache-2.0 */
/* grow.c - see grow.h. */
#include "core/grow.h"
#include "core/checked.h"

#include <stdlib.h>

#define LEAST 16

void *lks_grow_slow(void *items, size_t *capacity, size_t wanted, size_t size)
{
    size_t larger = LEAST, nbytes;
    if (*capacity > 0 && !lks_mul_size(*capacity, 2, &larger)) {
        return NULL;
    }
    larger = larger < wanted ? wanted : larger;
    void *moved = lks_mul_size(larger, size, &nbytes) ? realloc(items, nbytes) : NULL;
    if (moved) {
        *capacity = larger;
    }
    return moved;
}
