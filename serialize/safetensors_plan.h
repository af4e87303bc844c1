/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_plan.h - what of a tree goes into safetensors files: decided, and refused, before the first byte is
 * written. The rules are in safetensors.h. */
#ifndef LOCKSTEP_SERIALIZE_SAFETENSORS_PLAN_H
#define LOCKSTEP_SERIALIZE_SAFETENSORS_PLAN_H

#include "serialize/keys.h"
#include "serialize/safetensors.h"

typedef struct lks_safetensors_item {
    lks_name_t name; /* in the tree */
    const lks_value_tensor_t *tensor;
    const lks_safetensors_dtype_t *dtype;
    uint64_t nbytes;
    lks_name_t kept; /* of the item that is written for both; text NULL: this one is written */
} lks_safetensors_item_t;

typedef struct lks_safetensors_plan {
    const lks_tree_t *tree;
    lks_safetensors_item_t
        *items;     /* in the order of the dict; those that are not written at the end */
    size_t count;   /* to be written */
    size_t aliases; /* behind them */
    const lks_value_t *metadata; /* a dict of str; NULL: there is none */
    size_t *users;               /* by storage of the tree: items that are still to be written */
    bool *held;                  /* by storage: it is loaded for the sake of those */
} lks_safetensors_plan_t;

/** Decides. `*out` is to be cleared also on failure. Errors: UNSUPPORTED, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_safetensors_plan_init(const lks_tree_t *tree,
                                                     const lks_save_options_t *options,
                                                     lks_safetensors_plan_t *out);
void lks_safetensors_plan_fini(lks_safetensors_plan_t *plan);

/** Writes a file of items [first, first + count). Each item can be written once.
 *  Errors: UNSUPPORTED (a header beyond the limit), NO_MEMORY, IO, those of loading a storage. */
LKS_NODISCARD lks_status_t lks_safetensors_plan_write(lks_safetensors_plan_t *plan, size_t first,
                                                      size_t count, lks_sink_t *sink);

/** Finds items that share bytes with others. Each one that is the same view as one before it is handed to
 *  `found` with that one as `other`, and each one that overlaps with another, `same` false. Errors: NO_MEMORY, and
 *  those of `found`, which end the search. */
LKS_NODISCARD lks_status_t
lks_safetensors_find_shared(const lks_safetensors_plan_t *plan,
                            lks_status_t (*found)(void *context, lks_safetensors_item_t *item,
                                                  const lks_safetensors_item_t *other, bool same),
                            void *context);

#endif
