/* SPDX-License-Identifier: Apache-2.0 */
/* rename_steps.h - what a rename program does to names: text in, text out, no trees. */
#ifndef LOCKSTEP_SERIALIZE_RENAME_STEPS_H
#define LOCKSTEP_SERIALIZE_RENAME_STEPS_H

#include "core/arena.h"
#include "serialize/keys.h"

#include <lockstep/rename.h>
#include <regex.h>

typedef enum {
    LKS_STEP_STRIP_PREFIX,
    LKS_STEP_ADD_PREFIX,
    LKS_STEP_REGEX,
    LKS_STEP_CANONICAL,
} lks_step_kind_t;

typedef struct lks_rename_step {
    lks_step_kind_t kind;
    bool common; /* canonical: the shared front too */
    char *text;  /* the prefix, or the replacement */
    regex_t regex;
} lks_rename_step_t;

struct lks_rename {
    lks_rename_step_t *steps;
    size_t count;
};

/* How a step takes a set of names: what depends on all of them. */
typedef struct lks_step_choice {
    size_t modules;    /* canonical: how often `module.` goes */
    lks_name_t common; /* canonical: the shared front that goes */
    size_t hits;       /* strip prefix: names that had it */
} lks_step_choice_t;

/** Renames names[0..count) in place; a zero byte stands behind every name, before and after. New texts are in
 *  `arena`. `choices`, one for each step, are made from these names or, with `follow`, taken as they are.
 *  Errors: UNSUPPORTED (a name that regular expressions do not take), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_names_rename(const lks_rename_t *rename, lks_arena_t *arena,
                                            lks_name_t *names, size_t count,
                                            lks_step_choice_t *choices, bool follow);

#endif
