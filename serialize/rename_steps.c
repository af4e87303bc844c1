/* SPDX-License-Identifier: Apache-2.0 */
/* rename_steps.c - a name that loses its front is a slice of what it was; others are copied. */
#include "serialize/rename_steps.h"
#include "core/checked.h"
#include "core/strbuf.h"
#include "serialize/pattern.h"

#include <stdlib.h>

#define GROUPS 10

static lks_status_t no_memory(void)
{
    return lks_fail(LKS_ERR_NO_MEMORY, "renaming keys: out of memory");
}

static lks_status_t copy_name(lks_arena_t *arena, const char *text, size_t length, lks_name_t *out)
{
    const char *copy = lks_arena_copy_text(arena, text, length);
    if (!copy) {
        return no_memory();
    }
    *out = (lks_name_t){.text = copy, .length = length};
    return LKS_OK;
}

static lks_status_t add_prefix(lks_arena_t *arena, lks_name_t prefix, lks_name_t *name)
{
    size_t total, nbytes;
    if (!lks_add_size(prefix.length, name->length, &total) || !lks_add_size(total, 1, &nbytes)) {
        return no_memory();
    }
    char *text = lks_arena_alloc(arena, nbytes, 1);
    if (!text) {
        return no_memory();
    }
    memcpy(text, prefix.text, prefix.length);
    memcpy(text + prefix.length, name->text, name->length + 1);
    *name = (lks_name_t){.text = text, .length = total};
    return LKS_OK;
}

/* --- regular expressions ------------------------------------------------------------------------ */

static void append_replacement(lks_strbuf_t *out, const char *replacement, const char *text,
                               const regmatch_t groups[GROUPS])
{
    for (const char *at = replacement; *at; at++) {
        bool escaped = *at == '\\';
        at += escaped;
        bool is_group = escaped ? *at >= '0' && *at <= '9' : *at == '&';
        if (!is_group) {
            lks_strbuf_append(out, at, 1);
            continue;
        }
        const regmatch_t *group = &groups[escaped ? *at - '0' : 0];
        if (group->rm_so >= 0) {
            lks_strbuf_append(out, text + group->rm_so, (size_t)(group->rm_eo - group->rm_so));
        }
    }
}

/* As sed does: an empty match right behind another match is none. */
static void replace_all(lks_strbuf_t *out, const lks_rename_step_t *step, const char *text)
{
    regmatch_t groups[GROUPS];
    bool behind_match = false;
    for (int flags = 0; regexec(&step->regex, text, GROUPS, groups, flags) == 0;
         flags = REG_NOTBOL) {
        const char *begin = text + groups[0].rm_so, *end = text + groups[0].rm_eo;
        lks_strbuf_append(out, text, (size_t)(begin - text));
        if (begin < end || begin > text || !behind_match) {
            append_replacement(out, step->text, text, groups);
        }
        behind_match = begin < end;
        text = end;
        if (begin == end) { /* go on one byte further */
            if (!*end) {
                break;
            }
            lks_strbuf_append(out, end, 1);
            text++;
        }
    }
    lks_strbuf_append_str(out, text);
}

static lks_status_t replace(lks_arena_t *arena, const lks_rename_step_t *step, lks_name_t *name)
{
    LKS_TRY(lks_pattern_check_name(*name));
    lks_strbuf_t result = {0};
    replace_all(&result, step, name->text);
    lks_status_t status = LKS_OK;
    if (!lks_strbuf_ok(&result)) {
        status = no_memory();
    } else if (!lks_name_equal(*name, (lks_name_t){.text = lks_strbuf_text(&result),
                                                   .length = result.length})) {
        status = copy_name(arena, lks_strbuf_text(&result), result.length, name);
    }
    lks_strbuf_fini(&result);
    return status;
}

/* --- canonical ---------------------------------------------------------------------------------- */

static lks_status_t unwrap(lks_arena_t *arena, lks_name_t *name)
{
    size_t length = lks_name_unwrap(*name, NULL);
    if (length == name->length) {
        return LKS_OK;
    }
    char *text = lks_arena_alloc(arena, length + 1, 1);
    if (!text) {
        return no_memory();
    }
    (void)lks_name_unwrap(*name, text);
    text[length] = '\0';
    *name = (lks_name_t){.text = text, .length = length};
    return LKS_OK;
}

/* The names under which `module.` and the shared front are looked for: all but the counter. */
static lks_status_t find_common(lks_arena_t *arena, const lks_name_t *names, size_t count,
                                lks_step_choice_t *choice)
{
    size_t nbytes, rest = 0;
    lks_name_t *behind = NULL;
    if (lks_mul_size(count + 1, sizeof *behind, &nbytes)) {
        behind = lks_arena_alloc(arena, nbytes, _Alignof(lks_name_t));
    }
    if (!behind) {
        return no_memory();
    }
    for (size_t i = 0; i < count; i++) {
        if (!lks_name_is_counter(names[i])) {
            behind[rest++] = lks_name_behind(names[i], choice->modules * LKS_NAME_MODULE_LENGTH);
        }
    }
    choice->common = (lks_name_t){.text = rest > 0 ? behind[0].text : "",
                                  .length = lks_names_shared_front(behind, rest)};
    return LKS_OK;
}

static lks_status_t canonicalize(const lks_rename_step_t *step, lks_arena_t *arena,
                                 lks_name_t *names, size_t count, lks_step_choice_t *choice,
                                 bool follow)
{
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(unwrap(arena, &names[i]));
    }
    if (!follow) {
        choice->modules = lks_names_modules(names, count);
        if (step->common) {
            LKS_TRY(find_common(arena, names, count, choice));
        }
    }
    for (size_t i = 0; i < count; i++) {
        size_t modules = lks_name_modules(names[i], choice->modules);
        names[i] = lks_name_behind(names[i], modules * LKS_NAME_MODULE_LENGTH);
        if (lks_name_has_front(names[i], choice->common)) {
            names[i] = lks_name_behind(names[i], choice->common.length);
        }
    }
    return LKS_OK;
}

/* --- all steps ---------------------------------------------------------------------------------- */

static lks_status_t rename_one(const lks_rename_step_t *step, lks_arena_t *arena, lks_name_t *name,
                               size_t *hits)
{
    if (step->kind == LKS_STEP_REGEX) {
        return replace(arena, step, name);
    }
    lks_name_t prefix = lks_name(step->text);
    if (step->kind == LKS_STEP_ADD_PREFIX) {
        return add_prefix(arena, prefix, name);
    }
    if (lks_name_has_front(*name, prefix)) {
        *name = lks_name_behind(*name, prefix.length);
        ++*hits;
    }
    return LKS_OK;
}

static lks_status_t run_step(const lks_rename_step_t *step, lks_arena_t *arena, lks_name_t *names,
                             size_t count, lks_step_choice_t *choice, bool follow)
{
    if (step->kind == LKS_STEP_CANONICAL) {
        return canonicalize(step, arena, names, count, choice, follow);
    }
    size_t hits = 0;
    for (size_t i = 0; i < count; i++) {
        LKS_TRY(rename_one(step, arena, &names[i], &hits));
    }
    if (!follow) {
        choice->hits = hits;
    }
    return LKS_OK;
}

lks_status_t lks_names_rename(const lks_rename_t *rename, lks_arena_t *arena, lks_name_t *names,
                              size_t count, lks_step_choice_t *choices, bool follow)
{
    for (size_t i = 0; i < rename->count; i++) {
        LKS_TRY(run_step(&rename->steps[i], arena, names, count, &choices[i], follow));
    }
    return LKS_OK;
}
