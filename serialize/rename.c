/* SPDX-License-Identifier: Apache-2.0 */
/* rename.c - building a rename program. */
#include "core/checked.h"
#include "serialize/pattern.h"
#include "serialize/rename_steps.h"

#include <stdlib.h>

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "a rename program: out of memory");
}

lks_status_t lks_rename_create(lks_rename_t **out)
{
    lks_rename_t *rename = calloc(1, sizeof *rename);
    if (!rename) {
        return no_memory();
    }
    *out = rename;
    return LKS_OK;
}

static void step_fini(lks_rename_step_t *step)
{
    if (step->kind == LKS_STEP_REGEX) {
        regfree(&step->regex);
    }
    free(step->text);
}

void lks_rename_destroy(lks_rename_t *rename)
{
    for (size_t i = 0; rename && i < rename->count; i++) {
        step_fini(&rename->steps[i]);
    }
    if (rename) {
        free(rename->steps);
    }
    free(rename);
}

/* Takes the step over, also when it fails. */
static lks_status_t append(lks_rename_t *rename, lks_rename_step_t step)
{
    size_t nbytes;
    lks_rename_step_t *steps = NULL;
    if (lks_mul_size(rename->count + 1, sizeof *steps, &nbytes)) {
        steps = realloc(rename->steps, nbytes);
    }
    if (!steps) {
        step_fini(&step);
        return no_memory();
    }
    rename->steps = steps;
    rename->steps[rename->count++] = step;
    return LKS_OK;
}

static lks_status_t append_prefix(lks_rename_t *rename, lks_step_kind_t kind, const char *prefix)
{
    if (!*prefix) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the prefix to %s is empty",
                        kind == LKS_STEP_STRIP_PREFIX ? "strip" : "add");
    }
    lks_rename_step_t step = {.kind = kind, .text = strdup(prefix)};
    return step.text ? append(rename, step) : no_memory();
}

lks_status_t lks_rename_strip_prefix(lks_rename_t *rename, const char *prefix)
{
    return append_prefix(rename, LKS_STEP_STRIP_PREFIX, prefix);
}

lks_status_t lks_rename_add_prefix(lks_rename_t *rename, const char *prefix)
{
    return append_prefix(rename, LKS_STEP_ADD_PREFIX, prefix);
}

lks_status_t lks_rename_canonical(lks_rename_t *rename, bool common)
{
    return append(rename, (lks_rename_step_t){.kind = LKS_STEP_CANONICAL, .common = common});
}

lks_status_t lks_rename_regex(lks_rename_t *rename, const char *pattern, const char *replacement)
{
    lks_rename_step_t step = {.kind = LKS_STEP_REGEX};
    LKS_TRY(lks_pattern_compile(&step.regex, pattern));
    lks_status_t status = lks_pattern_check_replacement(&step.regex, pattern, replacement);
    if (status == LKS_OK && !(step.text = strdup(replacement))) {
        status = no_memory();
    }
    if (status != LKS_OK) {
        regfree(&step.regex);
        return status;
    }
    return append(rename, step);
}

/* The pattern into `pattern`, which has room for all of `text`; where the replacement begins, NULL if nowhere. */
static const char *split(const char *text, char *pattern)
{
    while (*text && *text != '=') {
        if (*text == '\\' && text[1]) {
            if (text[1] != '=') {
                *pattern++ = *text;
            }
            text++;
        }
        *pattern++ = *text++;
    }
    *pattern = '\0';
    return *text ? text + 1 : NULL;
}

lks_status_t lks_rename_regex_text(lks_rename_t *rename, const char *text)
{
    char *pattern = strdup(text);
    if (!pattern) {
        return no_memory();
    }
    const char *replacement = split(text, pattern);
    lks_status_t status;
    if (replacement) {
        status = lks_rename_regex(rename, pattern, replacement);
    } else {
        status = lks_fail(LKS_ERR_INVALID_ARG,
                          "'%.200s' is no rename: PATTERN=REPLACEMENT is wanted", text);
    }
    free(pattern);
    return status;
}
