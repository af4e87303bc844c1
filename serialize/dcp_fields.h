/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_fields.h - looking into the dataclasses that .metadata is made of, as values. */
#ifndef LOCKSTEP_SERIALIZE_DCP_FIELDS_H
#define LOCKSTEP_SERIALIZE_DCP_FIELDS_H

#include "core/arena.h"

#include <lockstep/value.h>

/** True for an instance of a class of that name, in any of the modules that torch has had it in. */
bool lks_dcp_is(const lks_value_t *value, const char *class_name);

/** A field; NULL if it is not set. */
const lks_value_t *lks_dcp_field(const lks_value_t *object, const char *name);

/** None, or not there. */
bool lks_dcp_is_none(const lks_value_t *value);

/** The text of a str, NULL for anything else. */
const char *lks_dcp_text(const lks_value_t *value, size_t *nbytes);

/** False if it is no int, or negative. */
bool lks_dcp_get_size(const lks_value_t *value, size_t *out);

/** Zeroed memory for `count` items; NULL over the arena's limit. */
void *lks_dcp_alloc(lks_arena_t *arena, size_t count, size_t size);
LKS_NODISCARD lks_status_t lks_dcp_no_memory(void);

/** A torch.Size of numbers that are not negative, in the arena. `what` is what messages call it.
 *  Errors: FORMAT, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_get_numbers(lks_arena_t *arena, const lks_value_t *value,
                                               const char *what, int *count, const int64_t **out);

#endif
