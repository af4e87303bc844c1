/* SPDX-License-Identifier: Apache-2.0 */
/* state_dict.h - named tensors, and how the names of a file meet the names of a model.
 * A state dict is a view of a value tree: an ordered list of (key, tensor). Files carry prefixes that wrappers
 * left there (`module.` of DataParallel, `_orig_mod.` of torch.compile, ...); models here have none. Matching
 * tries the rules below in order and takes the first under which every key of the model is found; if none
 * does, the one that finds most (the earlier rule on a tie). Shapes and dtypes play no part in it.
 *     exact                     the names as they are
 *     strip module.             every key has it in front: removed once, then twice ("x2"), as often as every
 *                               key has it, up to 4 times. (The key `n_averaged`, which AveragedModel adds,
 *                               does not have to.)
 *     strip wrappers            _orig_mod., _fsdp_wrapped_module., _fpw_module., _checkpoint_wrapped_module. as
 *                               whole path components anywhere; then the same with "strip module." as above
 *     strip prefix "P"          all keys share the front components P and the model has the rest; or some do,
 *                               and every key of the model is found behind P and behind no other prefix
 *     add prefix "P"            all keys of the model share P and the file has the rest; or some do, and every
 *                               key of the file is found behind P and behind no other prefix
 * The last two are tried on the names as they are, and then on those that "strip module." and "strip wrappers"
 * leave: `strip wrappers, strip module. x2, add prefix "fc."` is a rule. P has up to 8 components; one
 * that is stripped does not begin with `module.` and has no wrapper in it, which only go by their own rules.
 * A rule that would make two keys equal is not applied, and no name is stripped down to nothing. Letters inside
 * a component are never touched: `submodule.weight` contains "module." and stays.
 * Threads: immutable after creation, except building. */
#ifndef LOCKSTEP_STATE_DICT_H
#define LOCKSTEP_STATE_DICT_H

#include <lockstep/value.h>

LKS_BEGIN_DECLS

typedef struct lks_state_dict lks_state_dict_t;

/** The state dict in `root` (NULL: the tree's own): the dict at the dotted `path`, or with path NULL the dict
 *  with the most tensor values under str keys, searched breadth-first through dicts, lists and tuples (the
 *  earlier one on a tie). Values that are no tensors are skipped. Borrows from the tree, which must outlive it.
 *  A whole model counts as the dict that its state_dict() would be: an object whose state has `_parameters`,
 *  `_buffers` and `_modules`, of whatever class, and in a TorchScript archive a module with its tensors and
 *  submodules as attributes. Names are dotted paths through the submodules; a module's parameters come first,
 *  then its persistent buffers, then its submodules'.
 *  A path is str and int keys, positions in lists and submodules; where keys contain dots, the longest that
 *  fits; "" is the root itself. The state dict of an optimizer (a dict `state` beside a list `param_groups`) is
 *  not searched, only reached by path: what Adam keeps for one parameter can be more tensors than a small model.
 *  Errors: NOT_FOUND (no such path, or no tensors there or anywhere), MISMATCH (the path is neither dict nor
 *  module), FORMAT (a key with a zero byte in it; a module within itself or nested deeper than 256), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_state_dict_find(const lks_tree_t *tree,
                                                       const lks_value_t *root, const char *path,
                                                       lks_state_dict_t **out);
LKS_API void lks_state_dict_destroy(lks_state_dict_t *dict);
LKS_API size_t lks_state_dict_count(const lks_state_dict_t *dict);
LKS_API const char *lks_state_dict_key(const lks_state_dict_t *dict, size_t index);
LKS_API const lks_value_t *lks_state_dict_value(const lks_state_dict_t *dict, size_t index);
/** Dotted path of the dict inside the root; "" for the root itself. A path that was searched for and is longer
 *  than 4095 bytes has "..." for its front, and a step that is neither str, int nor position is "?". */
LKS_API const char *lks_state_dict_path(const lks_state_dict_t *dict);

/** What a model wants to be filled. */
typedef struct lks_key_spec {
    const char *key; /**< dotted name, "fc.0.weight" */
    lks_dtype_t dtype;
    int ndim;
    const int64_t *shape;
} lks_key_spec_t;

/** What became of one key of the model or of the file. */
#define LKS_MATCH_LIST(X)                                                                          \
    X(LKS_MATCH_EXACT, "matched")                                                                  \
    X(LKS_MATCH_RENAMED, "renamed")       /* matched under the report's rule */                    \
    X(LKS_MATCH_MISSING, "missing")       /* the model wants it, the file lacks it */              \
    X(LKS_MATCH_UNEXPECTED, "unexpected") /* the file has it, the model does not */                \
    X(LKS_MATCH_SHAPE, "shape mismatch")                                                           \
    X(LKS_MATCH_DTYPE, "dtype mismatch") /* real to real: loads with conversion */                 \
    X(LKS_MATCH_COMPLEX,                                                                           \
      "complex mismatch") /* not converted: complex, quantized, float8, conj, neg */
#define LKS_MATCH_ENUM(id, name) id,
typedef enum { LKS_MATCH_LIST(LKS_MATCH_ENUM) LKS_MATCH_COUNT } lks_match_t;
#undef LKS_MATCH_ENUM

/** "matched", "missing", ...; "unknown match" for any other number. */
LKS_API const char *lks_match_name(lks_match_t match);

typedef struct lks_load_entry {
    lks_match_t match;   /**< shape hides dtype, and both hide renamed */
    size_t want;         /**< index into the specs; SIZE_MAX: none (unexpected) */
    size_t found;        /**< index into the state dict; SIZE_MAX: none (missing) */
    const char *suggest; /**< missing: a near unexpected key; unexpected: a near missing; or NULL */
} lks_load_entry_t;

typedef struct lks_load_report lks_load_report_t;

/** Matches the model's keys with a file's. The report borrows from both.
 *  Errors: INVALID_ARG (a key of the model twice), NO_MEMORY. Mismatches are no error here. */
LKS_API LKS_NODISCARD lks_status_t lks_load_report_create(const lks_key_spec_t *want, size_t count,
                                                          const lks_state_dict_t *found,
                                                          lks_load_report_t **out);
LKS_API void lks_load_report_destroy(lks_load_report_t *report);

/** The rule that was taken: "exact", or in this order what was done: "strip wrappers", "strip module." or
 *  "strip module. x2", "strip prefix \"P\"" or "add prefix \"P\"", joined by ", ". */
LKS_API const char *lks_load_report_rule(const lks_load_report_t *report);

/** Entries: the model's keys in order, then the unexpected ones in the file's order. */
LKS_API size_t lks_load_report_count(const lks_load_report_t *report);
LKS_API const lks_load_entry_t *lks_load_report_entry(const lks_load_report_t *report,
                                                      size_t index);
LKS_API size_t lks_load_report_count_of(const lks_load_report_t *report, lks_match_t match);

/** True if every key of the model is matched or renamed and nothing is unexpected. LKS_MATCH_DTYPE counts as
 *  matched, as PyTorch's load_state_dict(strict=True) copies from one real dtype to another; LKS_MATCH_COMPLEX
 *  does not. */
LKS_API bool lks_load_report_is_complete(const lks_load_report_t *report);

/** OK if complete, else MISMATCH with one sentence that counts and names what differs:
 *  "'a.pt' does not fit the model: 2 missing (fc.2.weight, fc.2.bias), 1 of another shape (fc.0.weight: file
 *  (8, 4), model (16, 4))". Four names of each kind, then "and N more". */
LKS_API LKS_NODISCARD lks_status_t lks_load_report_require(const lks_load_report_t *report,
                                                           const char *file);

/** The whole report as text lines, each with its "\n": a summary with the rule, "renamed 4 keys: strip module.
 *  (module.fc.0.weight -> fc.0.weight)", "missing fc.2.bias; did you mean fc.2.bais?", ..., and "aliases a, b"
 *  for keys of the file over the same elements. Control characters and broken UTF-8 in names are shown as \xNN,
 *  and names are cut after 1024 bytes. The string belongs to the report. */
LKS_API const char *lks_load_report_text(const lks_load_report_t *report);

/** `key` without the wrappers, by the rules "strip wrappers" and "strip module." on that key alone, all of
 *  them; into `out` of `size` bytes. Returns false, and leaves `out` alone, if it does not fit.
 *  A model with a real submodule called `module` needs its other keys too to be told apart: match instead. */
LKS_API bool lks_key_canonicalize(const char *key, char *out, size_t size);

LKS_END_DECLS
#endif
