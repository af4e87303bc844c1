/* SPDX-License-Identifier: Apache-2.0 */
/* grow.h - arrays that grow by doubling. */
#ifndef LOCKSTEP_CORE_GROW_H
#define LOCKSTEP_CORE_GROW_H

#include <stddef.h>

/** lks_grow where there is no room yet. */
void *lks_grow_slow(void *items, size_t *capacity, size_t wanted, size_t size);

/** An array of malloc with room for `wanted` (> 0) items of `size` bytes: `items` (NULL: none yet) itself, or in another
 *  place and at least twice as large, with *capacity set. NULL when memory ran out: then the old one is as it was. */
static inline void *lks_grow(void *items, size_t *capacity, size_t wanted, size_t size)
{
    return wanted <= *capacity ? items : lks_grow_slow(items, capacity, wanted, size);
}

#endif
