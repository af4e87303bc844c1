/* SPDX-License-Identifier: Apache-2.0 */
/* options.h - command-line flags as a table: name, what it sets, what it says in --help.
 * Forms: --name VALUE, --name=VALUE, --flag, and --no-flag where the flag is a switch. The last one wins. */
#ifndef LOCKSTEP_CLI_OPTIONS_H
#define LOCKSTEP_CLI_OPTIONS_H

#include <lockstep/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    OPTION_IS_SWITCH, /* bool */
    OPTION_IS_STR,    /* const char *, borrowed from argv */
    OPTION_IS_INT,    /* int64_t, at least `minimum` */
    OPTION_IS_FLOAT,  /* double, finite, at least `minimum` */
    OPTION_IS_CUSTOM  /* parse(text, target) */
} option_type_t;

typedef struct option {
    const char *name;  /* without the dashes */
    const char *value; /* how help calls the value; NULL for a switch */
    option_type_t type;
    void *target;
    const char *help; /* with the default, where there is one */
    int64_t minimum;  /* OPTION_INT, OPTION_AMOUNT */
    lks_status_t (*parse)(const char *text, void *target);
    bool fixed; /* a resumed job keeps it: options_parse with `keep` refuses another value */
} option_t;

/* Rows of a table: name, how help calls the value, target, ..., fixed, help. */
#define OPTION_ROW(name_, value_, type_, target_, minimum_, parse_, fixed_, help_)                 \
    {                                                                                              \
        .name = (name_), .value = (value_), .type = (type_), .target = (target_), .help = (help_), \
        .minimum = (minimum_), .parse = (parse_), .fixed = (fixed_)                                \
    }
#define OPTION_SWITCH(name, target, fixed, help)                                                   \
    OPTION_ROW(name, NULL, OPTION_IS_SWITCH, target, 0, NULL, fixed, help)
#define OPTION_STR(name, value, target, fixed, help)                                               \
    OPTION_ROW(name, value, OPTION_IS_STR, target, 0, NULL, fixed, help)
#define OPTION_INT(name, target, minimum, fixed, help)                                             \
    OPTION_ROW(name, "N", OPTION_IS_INT, target, minimum, NULL, fixed, help)
#define OPTION_FLOAT(name, target, fixed, help)                                                    \
    OPTION_ROW(name, "X", OPTION_IS_FLOAT, target, INT64_MIN, NULL, fixed, help)
#define OPTION_AMOUNT(name, value, target, fixed, help)                                            \
    OPTION_ROW(name, value, OPTION_IS_FLOAT, target, 0, NULL, fixed, help)
#define OPTION_CUSTOM(name, value, target, parse, fixed, help)                                     \
    OPTION_ROW(name, value, OPTION_IS_CUSTOM, target, 0, parse, fixed, help)

typedef struct command {
    const char *name;      /* "train" */
    const char *arguments; /* "FILE", or NULL if it takes none */
    const char *summary;
    int (*run)(int argc, char **argv);
} command_t;

/** Parses argv[1..argc) into the targets. Words that are no flags go to `words` (room for max_words), their number
 *  to *word_count. With `keep`, a `fixed` option that would change its target is refused.
 *  Errors: INVALID_ARG with a sentence ("unknown flag '--epoch'; did you mean '--epochs'?"). */
LKS_NODISCARD lks_status_t options_parse(const option_t *options, size_t count, int argc,
                                         char **argv, bool keep, const char **words,
                                         size_t max_words, size_t *word_count);

/** True if argv asks for --help. */
bool options_want_help(int argc, char **argv);

/** Prints the command's help to stdout. */
void options_print_help(const command_t *command, const option_t *options, size_t count);

#endif
