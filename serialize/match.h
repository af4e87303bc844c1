/* SPDX-License-Identifier: Apache-2.0 */
/* match.h - how the names of a file become those of a model: the rule, and what it finds. */
#ifndef LOCKSTEP_SERIALIZE_MATCH_H
#define LOCKSTEP_SERIALIZE_MATCH_H

#include "serialize/keys.h"

#include <lockstep/state_dict.h>

/** What a rule does with a prefix. */
typedef enum { LKS_PREFIX_KEEP, LKS_PREFIX_STRIP, LKS_PREFIX_ADD } lks_prefix_op_t;

/** Wrappers go, then `modules` times `module.` in front, then the prefix goes or comes. Zeroed: "exact". */
typedef struct lks_key_rule {
    bool wrappers;
    size_t modules;
    lks_prefix_op_t op;
    lks_name_t prefix; /* with its dot */
} lks_key_rule_t;

/** The rule that was taken, and the names as it makes them comparable: what it takes from the file's names is
 *  gone, and a prefix that it adds to them is gone from the model's. Borrows the keys of both sides. */
typedef struct lks_key_match {
    lks_key_rule_t rule;
    size_t *found;       /* by index of the model's key: index in the file, or SIZE_MAX */
    lks_name_t *want;    /* the model's names */
    lks_name_t *names;   /* the file's */
    lks_name_t *base[2]; /* the file's, as they are and without wrappers (NULL: none has any) */
    char *bare_text;     /* what base[1] lies in */
} lks_key_match_t;

/** Tries the rules of state_dict.h. Errors: INVALID_ARG (a key of the model twice), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_key_match_init(lks_key_match_t *match, const lks_key_spec_t *want,
                                              size_t count, const lks_state_dict_t *file);
void lks_key_match_fini(lks_key_match_t *match);

#endif
