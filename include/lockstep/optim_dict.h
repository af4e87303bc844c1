/* SPDX-License-Identifier: Apache-2.0 */
/* optim_dict.h - the state dict of a torch optimizer, by number or by name.
 * Files have parameters by number:  {'state': {0: {...}, 1: {...}}, 'param_groups': [{..., 'params': [0, 1]}]}
 * Numbers count over the groups in order; torch before 0.4 had addresses instead, any numbers will do. By name it
 * is the same dict with names for numbers: {'state': {'fc.weight': {...}}, ...'params': ['fc.weight', ...]},
 * which survives another order of parameters, renaming (rename.h) and sharding. A parameter without a state has
 * no entry. Everything else, hyper-parameters and the states themselves, is the same values in both.
 * Threads: as value.h. */
#ifndef LOCKSTEP_OPTIM_DICT_H
#define LOCKSTEP_OPTIM_DICT_H

#include <lockstep/value.h>

LKS_BEGIN_DECLS

/** `*out` = the optimizer's dict by name, a new value in `tree`, which has to be the one `optimizer` is in.
 *  names: the parameters over all groups, in the order of the file; NULL: the groups' own `param_names` (torch
 *  2.6 writes them for optimizers over named_parameters()).
 *  Errors: MISMATCH (no optimizer's dict; another number of parameters; a number twice, or in the state and in no
 *  group; `params` that are no numbers; no `param_names`), INVALID_ARG (a name twice), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_optim_dict_by_name(lks_tree_t *tree,
                                                          const lks_value_t *optimizer,
                                                          const char *const *names, size_t count,
                                                          lks_value_t **out);

/** The way back: numbers 0, 1, ... over the groups in order.
 *  names: the parameters in the model's order, by which each group is sorted first (with its `param_names`); every
 *  name of the dict must be among them, and each of them in the dict. NULL: as the groups have them.
 *  Errors: MISMATCH (no optimizer's dict; another number of parameters; a name that only one side has, or that is
 *  in the state and in no group, or twice; `params` that are no names), INVALID_ARG (a name twice in `names`),
 *  NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_optim_dict_by_index(lks_tree_t *tree,
                                                           const lks_value_t *optimizer,
                                                           const char *const *names, size_t count,
                                                           lks_value_t **out);

LKS_END_DECLS
#endif
