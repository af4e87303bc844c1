/* SPDX-License-Identifier: Apache-2.0 */
/* rename_support.h - for suites about renaming: a tree, the renames to be applied to it, and their report. Lists of names
 * are words in one text. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_RENAME_SUPPORT_H
#define LOCKSTEP_TESTS_SERIALIZE_RENAME_SUPPORT_H

#include "serialize/named_tensors.h"

#include <lockstep/rename.h>

extern lks_tree_t *tree;
extern lks_rename_t *program;
extern lks_rename_report_t *report; /* of the last `apply` */

/* .init and .fini of a suite */
void rename_setup(void);
void rename_teardown(void);

/** Makes the value the root of the tree; returns it. */
lks_value_t *root_of(lks_value_t *root);

/** An OrderedDict with a scalar under each key. */
lks_value_t *dict_of(const char *keys);

/** Gives the dict `_metadata` with {'version': n} for each path, n counting from 1; "." is the root. */
void set_metadata(lks_value_t *dict, const char *paths);

/** {'state': {name: {}}, 'param_groups': [{'params': names, 'param_names': names}]} */
lks_value_t *optimizer_of(const char *names);

/** The root: {'module.epoch': 3, 'model': dict of keys, 'module.best': scalar, 'ema': [dict of keys]} */
lks_value_t *checkpoint_of(const char *model, const char *ema);

/** Applies the renames; `path` as lks_rename_apply has it. */
void apply(const char *path);

/** That fails, and the tree stays as it was. */
void expect_refused(const char *path, lks_status_t status, const char *sentence);

/** The strs among keys of a dict or items of a list; "." for an empty one, "?" for another kind. */
void expect_words(const lks_value_t *value, const char *words);

/** "fc:2" for each entry of `_metadata`, with its version. */
void expect_metadata(const lks_value_t *dict, const char *wanted);

/** An optimizer_of these names. */
void expect_optimizer(const lks_value_t *optimizer, const char *names);

#endif
