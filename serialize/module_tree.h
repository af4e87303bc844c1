/* SPDX-License-Identifier: Apache-2.0 */
/* module_tree.h - the tensors of a whole model, as torch.save(model) pickles one, under the names that its
 * state_dict() would give them. Only structure counts, classes may be anybody's:
 *     an object whose state is {'_parameters': {name: tensor or None}, '_buffers': the same,
 *     ['_non_persistent_buffers_set': set of names,] '_modules': {name: module or None}, ...}
 * or, in a TorchScript archive, an object of a class `__torch__...` whose state has the bool `training`, and
 * tensors and modules right beside it: those that want gradients are its parameters. */
#ifndef LOCKSTEP_SERIALIZE_MODULE_TREE_H
#define LOCKSTEP_SERIALIZE_MODULE_TREE_H

#include "core/arena.h"

#include <lockstep/value.h>

/** Entries looked at, at most: shared modules can spell out 2^200 names. */
#define LKS_MODULE_BUDGET ((size_t)1 << 20)

typedef struct lks_module_tensor {
    const char *name;
    size_t length; /* a zero byte follows, and there may be some inside */
    const lks_value_t *value;
} lks_module_tensor_t;

typedef struct lks_module_tensors {
    lks_module_tensor_t *items;
    size_t count, capacity;
    lks_arena_t names;
} lks_module_tensors_t;

bool lks_value_is_module(const lks_value_t *value);

/** Submodules of a module by name (a dict; of TorchScript, its whole state); NULL if it is none. */
const lks_value_t *lks_module_children(const lks_value_t *module);

/** The tensors in the order of Module.state_dict(): a module's parameters, its persistent buffers, then its
 *  submodules'. A module that stands in two places is listed twice, as torch does. `*budget` is used up.
 *  Errors: FORMAT (a module within itself, too deep, over the budget), MISMATCH (no module), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_module_tensors_init(lks_module_tensors_t *tensors,
                                                   const lks_value_t *module, size_t *budget);
void lks_module_tensors_fini(lks_module_tensors_t *tensors);

#endif
