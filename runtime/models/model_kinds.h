/* SPDX-License-Identifier: Apache-2.0 */
/* model_kinds.h - the table behind lks_model_create: a word before the colon chooses who reads the rest. */
#ifndef LOCKSTEP_RUNTIME_MODELS_MODEL_KINDS_H
#define LOCKSTEP_RUNTIME_MODELS_MODEL_KINDS_H

#include <lockstep/module.h>

typedef struct lks_model_kind {
    const char *name;   /* "mlp" */
    const char *syntax; /* of a whole description, for error messages */
    /* `options` is what follows the colon, "" if nothing does. Errors: INVALID_ARG, without the description
     * in the sentence: the caller puts it in front. */
    lks_status_t (*create)(const char *options, lks_module_t **out);
} lks_model_kind_t;

extern const lks_model_kind_t lks_model_mlp;

#endif
