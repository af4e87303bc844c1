/* SPDX-License-Identifier: Apache-2.0 */
/* rename.h - renaming and choosing the keys of the state dicts in a value tree, in place.
 * What the tree then holds is what the names say: `_metadata` of the state dicts and the optimizers that name
 * their parameters go along. Values are not touched, entries keep their order, letters outside keys are never
 * looked at. A call does all of it or nothing: everything is worked out before the first change.
 *
 * The state dicts of a tree are its dicts with tensors under str keys, reached as lks_state_dict_find searches:
 * of dicts within each other the one with the most tensors, the outer one on a tie; so a checkpoint that has a
 * tensor or two beside its `model` is not taken for a state dict itself, and what a state dict has inside, as
 * `_extra_state`, is not one. A dict around an optimizer's is none either. All str keys of a state dict count as its keys, whatever is under them. Whole
 * models have no keys: a module's names are its structure.
 *
 * Threads: a program belongs to one thread while it is built, then to any; a tree, to one. */
#ifndef LOCKSTEP_RENAME_H
#define LOCKSTEP_RENAME_H

#include <lockstep/value.h>

LKS_BEGIN_DECLS

/** A rename program: steps, each of which takes the names that the step before left.
 *  Life: lks_rename_create -> steps -> lks_rename_apply, any number of times -> lks_rename_destroy. */
typedef struct lks_rename lks_rename_t;

/** A program without steps. Errors: NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_create(lks_rename_t **out);
LKS_API void lks_rename_destroy(lks_rename_t *rename);

/** Takes `prefix` ("module.", as it is written: no dot is added) from the keys that have it and more behind it.
 *  Applying fails with NOT_FOUND if no key of the tree has it. Errors: INVALID_ARG (empty), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_strip_prefix(lks_rename_t *rename,
                                                           const char *prefix);

/** Puts `prefix` in front of every key. Errors: INVALID_ARG (empty), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_add_prefix(lks_rename_t *rename, const char *prefix);

/** Replaces every match of a POSIX extended regular expression, as sed's s/pattern/replacement/g does: all that
 *  do not overlap, from the left, the longest at each place. In the replacement `\1` to `\9` stand for groups,
 *  `\0` and `&` for the whole match, `\\` and `\&` for themselves. Keys longer than 4095 bytes and keys with a
 *  zero byte are refused with UNSUPPORTED when the step is applied.
 *  Errors: INVALID_ARG (no regular expression, with the reason; a group it does not have), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_regex(lks_rename_t *rename, const char *pattern,
                                                    const char *replacement);

/** The same from one text, "PATTERN=REPLACEMENT": the first `=` without a backslash in front is between the two.
 *  `\=` in the pattern is a plain `=`, also in brackets. Errors: INVALID_ARG (no `=`), as lks_rename_regex. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_regex_text(lks_rename_t *rename, const char *text);

/** Takes off what wrappers left, by the rules "strip wrappers" and "strip module." of state_dict.h: wrappers
 *  anywhere, `module.` in front where every key has it. A real submodule `module` stays if it has siblings.
 *  `common`: then the longest front of whole components that all keys share goes too, `model.` or `net.`,
 *  but also `fc.` where there is nothing else. `n_averaged` does not have to share. Errors: NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_rename_canonical(lks_rename_t *rename, bool common);

/** What became of one state dict, or of one optimizer that knows its parameters by name. */
typedef struct lks_rename_entry {
    const char *path; /**< where it stands in the tree; "" is the root */
    bool is_optimizer;
    size_t keys;      /**< before */
    size_t changed;   /**< of those, renamed or dropped */
    const char *from; /**< the first that changed, and what it became: NULL if nothing or dropped */
    const char *to;
} lks_rename_entry_t;

typedef struct lks_rename_report lks_rename_report_t;

LKS_API void lks_rename_report_destroy(lks_rename_report_t *report);
LKS_API size_t lks_rename_report_count(const lks_rename_report_t *report);
LKS_API const lks_rename_entry_t *lks_rename_report_entry(const lks_rename_report_t *report,
                                                          size_t index);

/** Keys of state dicts that changed, in all of them. */
LKS_API size_t lks_rename_report_changed(const lks_rename_report_t *report);

/** A line for each entry, with its "\n": "'model': renamed 4 of 4 keys (module.fc.0.weight -> fc.0.weight)".
 *  Names are shown as lks_load_report_text shows them. The string belongs to the report. */
LKS_API const char *lks_rename_report_text(const lks_rename_report_t *report);

/** Runs the program on every state dict of the tree, or with `path` on the one there (lks_state_dict_find's
 *  paths). Along with a state dict go
 *    - its `_metadata`: a module's entry moves where its parameters go; where two meet, the one of the inner
 *      module stays (of `` and `module`, that of `module`). An added prefix leaves {'version': 1} for the modules
 *      that it stands for, as DataParallel would.
 *    - optimizers whose states, `params` or `param_names` are names: each follows the first state dict that has
 *      one of its names. Without `path`, one that follows none is taken by itself.
 *  `report` may be NULL.
 *  Errors: NOT_FOUND (no such path, no state dict, no key with a prefix that is to go), MISMATCH (two keys would
 *  become equal: the message has both and what they would become; nothing would be left of a key; no dict at
 *  the path), INVALID_ARG (the tree failed or has no root), UNSUPPORTED, NO_MEMORY. The tree is as it was, but
 *  one that runs into its own memory limit has failed, as in building (FORMAT). */
LKS_API LKS_NODISCARD lks_status_t lks_rename_apply(const lks_rename_t *rename, lks_tree_t *tree,
                                                    const char *path, lks_rename_report_t **report);

/** One pattern that keys are chosen by. */
typedef struct lks_key_filter {
    const char *pattern;
    bool
        is_regex; /**< POSIX extended, found anywhere in the key; else a glob (fnmatch) of the whole key, whose
                        `*` and `?` match dots too */
    bool drop; /**< what matches goes; else what matches stays */
} lks_key_filter_t;

/** Leaves the keys that match a filter that keeps (if there is such a filter) and none that drops, in every
 *  state dict or with `path` in one. Entries of `_metadata` go with the last key below them. Optimizers stay as
 *  they are. The report tells what was dropped.
 *  Errors: as lks_rename_apply, and NOT_FOUND for a filter that matches no key, INVALID_ARG for a bad one. */
LKS_API LKS_NODISCARD lks_status_t lks_tree_select(lks_tree_t *tree, const char *path,
                                                   const lks_key_filter_t *filters, size_t count,
                                                   lks_rename_report_t **report);

LKS_END_DECLS
#endif
