/* SPDX-License-Identifier: Apache-2.0 */
/* places.h - where things stand in a value tree.
 * Trees from files may be deep, shared and cyclic: every container has one place, the one nearest to the root. */
#ifndef LOCKSTEP_SERIALIZE_PLACES_H
#define LOCKSTEP_SERIALIZE_PLACES_H

#include "serialize/hashmap.h"
#include "serialize/keys.h"

#include <lockstep/value.h>

/** Bytes of a path that was found, zero included; a longer one loses its front ("..."). */
#define LKS_PATH_MAX 4096

/** Digits of an int64 or a position, sign and zero. */
#define LKS_STEP_MAX 24

typedef struct lks_place {
    const lks_value_t *value;
    size_t parent; /* index of its place; the root's is its own */
    size_t step;   /* index in the parent */
} lks_place_t;

typedef struct lks_places {
    lks_place_t *items; /* the root first, a parent before what stands in it */
    size_t count, capacity;
    lks_intmap_t seen; /* address of a value -> its place */
} lks_places_t;

/** The state dict of an optimizer: a dict `state` beside a list `param_groups`. */
bool lks_value_is_optimizer(const lks_value_t *value);

/** Every dict, list, tuple and module object that dicts, lists and tuples lead to, breadth-first. What an
 *  optimizer's state or a module holds has no place of its own. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_places_collect(const lks_value_t *root, lks_places_t *out);
void lks_places_fini(lks_places_t *places);

/** Adds a value that has no place yet. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_places_add(lks_places_t *places, const lks_value_t *value,
                                          size_t parent, size_t step);

/** The dotted path of a place; a step that cannot be said is "?". */
void lks_places_path(const lks_places_t *places, size_t at, char path[LKS_PATH_MAX]);

/** What step `index` of a container is called in a path; `digits` is room for a number. False for keys that
 *  cannot be said in a path. */
bool lks_step_name(const lks_value_t *container, size_t index, char digits[LKS_STEP_MAX],
                   lks_name_t *out);

#endif
