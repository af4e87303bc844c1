/* SPDX-License-Identifier: Apache-2.0 */
/* optim_params.h - the parameters that the state dict of an optimizer has, and the dict written anew with other
 * keys for them. */
#ifndef LOCKSTEP_SERIALIZE_OPTIM_PARAMS_H
#define LOCKSTEP_SERIALIZE_OPTIM_PARAMS_H

#include "serialize/keys.h"

#include <lockstep/value.h>

/* One parameter, in the order of the groups. */
typedef struct lks_optim_param {
    lks_name_t name;
    lks_value_t *old_key, *key; /* in the groups that were read, and that are written */
    size_t group, order;        /* order: where it stands in the model */
} lks_optim_param_t;

typedef struct lks_optim_params {
    lks_tree_t *tree;
    const lks_value_t *states, *groups;
    lks_optim_param_t *params; /* over all groups */
    size_t count;
    lks_value_t *result;
} lks_optim_params_t;

/** The list under a key of a parameter group; NULL if there is none. */
const lks_value_t *lks_optim_list(const lks_value_t *group, const char *key);

/** Lists the parameters: keys, groups, orders. Free `params` also after errors.
 *  kind: of their keys. Errors: MISMATCH (no optimizer's dict, keys of another kind), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_optim_params_init(lks_optim_params_t *o, lks_tree_t *tree,
                                                 const lks_value_t *optimizer,
                                                 lks_value_kind_t kind);

/** The dict with the parameters in this order, under their new keys and names; `params` is sorted by groups.
 *  Errors: MISMATCH (a state of no parameter), those of the tree. */
LKS_NODISCARD lks_status_t lks_optim_params_write(lks_optim_params_t *o, lks_value_t **out);

/** MISMATCH with a name from a file in it: "the optimizer's state dict: <before> '<name>' <behind>". */
lks_status_t lks_optim_mismatch(const char *before, lks_name_t name, const char *behind);

#endif
