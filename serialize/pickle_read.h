/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_read.h - reading a pickle into a value tree.
 * The machine imports nothing and calls nothing. What it cannot say in the tree's own kinds becomes a global
 * (a name) or an object (a call or an instance, kept as its parts). Names of Python 2 become those of
 * Python 3. It does not recurse, so nothing in the input decides how deep the C stack gets. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_READ_H
#define LOCKSTEP_SERIALIZE_PICKLE_READ_H

#include <lockstep/value.h>

struct lks_pickle_machine;

/** What the format around the pickle knows. Each function may be NULL. */
typedef struct lks_pickle_hooks {
    void *context;
    /* The value of a persistent id. Without it a persistent id is an error. */
    lks_status_t (*persistent)(void *context, lks_tree_t *tree, lks_value_t *id, lks_value_t **out);
    /* The value of callable(*arguments), or with `how` NEW of a new instance, where `callable` is a global and
     * `arguments` a tuple. If it leaves *out NULL that is kept as an object. */
    lks_status_t (*create)(void *context, lks_tree_t *tree, lks_object_how_t how,
                           lks_value_t *callable, lks_value_t *arguments, lks_value_t **out);
    /* Sets the state of a value of kind tensor. False: it becomes the tensor's attributes. */
    bool (*set_state)(void *context, lks_value_t *tensor, const lks_value_t *state);
    /* At a mark, where a call may begin whose function is on top of the stack: reads it up to its REDUCE and pushes
     * what it returns, as the opcodes would, or leaves *done false and everything as it was. */
    lks_status_t (*call)(void *context, struct lks_pickle_machine *machine, bool *done);
} lks_pickle_hooks_t;

/** Reads one pickle from the start of `size` bytes; `*used` is where it ended. `name` is what messages call
 *  it: "data.pkl at byte 412: BINUNICODE wants 9000 bytes, 31 left".
 *  Errors: FORMAT, UNSUPPORTED (registered extensions, out-of-band buffers), NO_MEMORY, and the hooks'. */
LKS_NODISCARD lks_status_t lks_pickle_read(const char *name, const void *data, size_t size,
                                           const lks_pickle_hooks_t *hooks, lks_tree_t *tree,
                                           size_t *used, lks_value_t **out);

#endif
