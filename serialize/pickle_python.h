/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_python.h - what pickles say about Python itself: names that differ between Python 2 and 3, and the
 * few calls of the standard library that stand for a plain value. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_PYTHON_H
#define LOCKSTEP_SERIALIZE_PICKLE_PYTHON_H

#include <lockstep/value.h>

/** A name as a pickle spells it; not terminated. */
typedef struct lks_python_name {
    const char *module, *name;
    size_t module_length, name_length;
} lks_python_name_t;

/** The name in Python 3 of a name that protocol 0, 1 or 2 spelled; unchanged if it is none of Python 2's.
 *  (The names that occur in checkpoints, of CPython's Lib/_compat_pickle.py.) */
lks_python_name_t lks_python3_name(lks_python_name_t name);

/** The way back, for writing protocol 2. */
lks_python_name_t lks_python2_name(lks_python_name_t name);

/** The value of callable(*arguments), or NULL if it is to be kept as an object:
 *      collections.OrderedDict()                  an ordered dict
 *      collections.OrderedDict([(k, v), ...])     the same, as Python 2 wrote it
 *      _codecs.encode("...", "latin1")            bytes, as protocol 2 writes them
 *      builtins.bytes()                           the empty ones */
lks_value_t *lks_python_reduce(lks_tree_t *tree, const char *callable, lks_value_t *arguments);

#endif
