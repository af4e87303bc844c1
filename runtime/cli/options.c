/* SPDX-License-Identifier: Apache-2.0 */
/* options.c - parsing and printing of flag tables. */
#include "runtime/cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- near names ----------------------------------------------------------------------------------- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace) between two short names. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t n = strlen(a), m = strlen(b), row[MAX + 1];
    if (n > MAX || m > MAX) {
        return MAX;
    }
    for (size_t j = 0; j <= m; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t above = row[j];
            row[j] = smaller(smaller(row[j - 1], above) + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[m];
}

static lks_status_t unknown_flag(const option_t *options, size_t count, const char *name)
{
    const char *best = NULL;
    size_t best_distance = 3; /* farther is no typing error */
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(name, options[i].name);
        if (distance < best_distance) {
            best = options[i].name;
            best_distance = distance;
        }
    }
    if (best) {
        return lks_fail(LKS_ERR_INVALID_ARG, "unknown flag '--%s'; did you mean '--%s'?", name,
                        best);
    }
    return lks_fail(LKS_ERR_INVALID_ARG, "unknown flag '--%s'", name);
}

/* --- values --------------------------------------------------------------------------------------- */

static lks_status_t parse_int(const option_t *option, const char *text)
{
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--%s wants a whole number, not '%s'", option->name,
                        text);
    }
    if (number < option->minimum) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--%s must be at least %lld, not %s", option->name,
                        (long long)option->minimum, text);
    }
    *(int64_t *)option->target = number;
    return LKS_OK;
}

static lks_status_t parse_float(const option_t *option, const char *text)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(number)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--%s wants a number, not '%s'", option->name, text);
    }
    if (number < (double)option->minimum) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--%s must be at least %lld, not %s", option->name,
                        (long long)option->minimum, text);
    }
    *(double *)option->target = number;
    return LKS_OK;
}

static lks_status_t set_value(const option_t *option, const char *text)
{
    switch (option->type) {
    case OPTION_IS_STR: *(const char **)option->target = text; return LKS_OK;
    case OPTION_IS_INT: return parse_int(option, text);
    case OPTION_IS_FLOAT: return parse_float(option, text);
    case OPTION_IS_CUSTOM: {
        lks_status_t status = option->parse(text, option->target);
        return status == LKS_OK ? LKS_OK
                                : lks_error_prefix(LKS_ERR_INVALID_ARG, "--%s", option->name);
    }
    default: *(bool *)option->target = text[0] == '1'; return LKS_OK;
    }
}

/* Enough to see whether a target changed. */
typedef struct snapshot {
    const char *text;
    unsigned char bytes[8];
} snapshot_t;

static snapshot_t take_snapshot(const option_t *option)
{
    static const size_t sizes[] = {sizeof(bool), 0, sizeof(int64_t), sizeof(double), sizeof(int)};
    snapshot_t shot = {0};
    if (option->type == OPTION_IS_STR) {
        shot.text = *(const char **)option->target;
    } else {
        memcpy(shot.bytes, option->target, sizes[option->type]);
    }
    return shot;
}

static bool same(const snapshot_t *a, const snapshot_t *b)
{
    if (a->text && b->text) {
        return strcmp(a->text, b->text) == 0;
    }
    return a->text == b->text && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static lks_status_t apply(const option_t *option, const char *text, bool keep)
{
    if (!keep || !option->fixed) {
        return set_value(option, text);
    }
    snapshot_t before = take_snapshot(option);
    LKS_TRY(set_value(option, text));
    snapshot_t after = take_snapshot(option);
    if (!same(&before, &after)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "--%s differs from the resumed job's; a new job starts from its weights "
                        "with --load",
                        option->name);
    }
    return LKS_OK;
}

/* --- words ---------------------------------------------------------------------------------------- */

static const option_t *find_option(const option_t *options, size_t count, const char *name,
                                   size_t length)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

/* One flag at argv[*at]; moves *at past its value. */
static lks_status_t parse_flag(const option_t *options, size_t count, int argc, char **argv,
                               bool keep, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    const option_t *option = find_option(options, count, name, length);
    if (!option && length > 3 && strncmp(name, "no-", 3) == 0 && !equals) {
        option = find_option(options, count, name + 3, length - 3);
        if (option && option->type == OPTION_IS_SWITCH) {
            return apply(option, "0", keep);
        }
        option = NULL;
    }
    if (!option) {
        char flag[64];
        (void)snprintf(flag, sizeof flag, "%.*s", (int)(length < 60 ? length : 60), name);
        return unknown_flag(options, count, flag);
    }
    if (option->type == OPTION_IS_SWITCH) {
        if (equals) {
            return lks_fail(LKS_ERR_INVALID_ARG, "--%s takes no value", option->name);
        }
        return apply(option, "1", keep);
    }
    if (equals) {
        return apply(option, equals + 1, keep);
    }
    if (*at + 1 >= argc) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--%s wants a value: %s", option->name, option->value);
    }
    return apply(option, argv[++*at], keep);
}

lks_status_t options_parse(const option_t *options, size_t count, int argc, char **argv, bool keep,
                           const char **words, size_t max_words, size_t *word_count)
{
    size_t found = 0;
    bool only_words = false; /* after "--" */
    for (int i = 1; i < argc; i++) {
        if (!only_words && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (!only_words && strncmp(argv[i], "--", 2) == 0) {
            LKS_TRY(parse_flag(options, count, argc, argv, keep, &i));
        } else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
            return lks_fail(LKS_ERR_INVALID_ARG, "unknown flag '%s'", argv[i]);
        } else if (found == max_words) {
            return lks_fail(LKS_ERR_INVALID_ARG, "unexpected argument '%s'", argv[i]);
        } else {
            words[found++] = argv[i];
        }
    }
    *word_count = found;
    return LKS_OK;
}

bool options_want_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

void options_print_help(const command_t *command, const option_t *options, size_t count)
{
    printf("usage: lockstep %s [FLAGS]%s%s\n\n%s\n\nflags:\n", command->name,
           command->arguments ? " " : "", command->arguments ? command->arguments : "",
           command->summary);
    for (size_t i = 0; i < count; i++) {
        char flag[64];
        (void)snprintf(flag, sizeof flag, "--%s%s%s", options[i].name, options[i].value ? " " : "",
                       options[i].value ? options[i].value : "");
        printf("  %-26s %s\n", flag, options[i].help);
    }
    printf("  %-26s %s\n", "--help", "this text");
}
