/* SPDX-License-Identifier: Apache-2.0 */
/* Flag tables: every form of a flag, and the sentences for what is none. */
#include "runtime/cli/options.h"
#include "support/support.h"

#include <stdio.h>

typedef struct flags {
    bool quiet;
    const char *file;
    int64_t count;
    double rate, amount;
    int color;
} flags_t;

static lks_status_t parse_color(const char *text, void *target)
{
    if (strcmp(text, "red") != 0) {
        return lks_fail(LKS_ERR_NOT_FOUND, "no color '%s'", text);
    }
    *(int *)target = 7;
    return LKS_OK;
}

/* Parses the words of `line`, which it cuts apart. */
static lks_status_t parse(flags_t *flags, char *line, bool keep, const char **words, size_t *count)
{
    const option_t options[] = {
        OPTION_SWITCH("quiet", &flags->quiet, false, ""),
        OPTION_STR("file", "FILE", &flags->file, true, ""),
        OPTION_INT("count", &flags->count, 2, true, ""),
        OPTION_FLOAT("rate", &flags->rate, true, ""),
        OPTION_AMOUNT("amount", "MIB", &flags->amount, true, ""),
        OPTION_CUSTOM("color", "C", &flags->color, parse_color, false, ""),
    };
    char *argv[16] = {line};
    int argc = 1;
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    return options_parse(options, sizeof options / sizeof *options, argc, argv, keep, words, 2,
                         count);
}

Test(options, takes_every_form)
{
    flags_t flags = {0};
    const char *words[2];
    size_t count;
    char line[] =
        "--quiet --file=a=b --count 12 word --rate -1e-3 --amount 2.5 --color red -- --quiet";
    assert_ok(parse(&flags, line, false, words, &count));
    cr_assert(flags.quiet);
    cr_assert_str_eq(flags.file, "a=b");
    cr_assert_eq(flags.count, 12);
    cr_assert(flags.rate == -1e-3);
    cr_assert(flags.amount == 2.5);
    cr_assert_eq(flags.color, 7);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(words[0], "word");
    cr_assert_str_eq(words[1], "--quiet");
}

Test(options, the_last_one_wins_and_a_switch_can_be_undone)
{
    flags_t flags = {0};
    const char *words[2];
    size_t count;
    char line[] = "--count 3 --quiet --count 4 --no-quiet";
    assert_ok(parse(&flags, line, false, words, &count));
    cr_assert_eq(flags.count, 4);
    cr_assert_not(flags.quiet);
}

Test(options, says_what_is_wrong)
{
    static const struct {
        const char *line, *sentence;
    } cases[] = {
        {"--cuont 3", "unknown flag '--cuont'; did you mean '--count'?"},
        {"--nothing", "unknown flag '--nothing'"},
        {"--no-file", "unknown flag '--no-file'"},
        {"-q", "unknown flag '-q'"},
        {"--count", "--count wants a value: N"},
        {"--count 1", "--count must be at least 2, not 1"},
        {"--count 3x", "--count wants a whole number, not '3x'"},
        {"--count 99999999999999999999", "--count wants a whole number"},
        {"--rate nan", "--rate wants a number, not 'nan'"},
        {"--amount -0.5", "--amount must be at least 0, not -0.5"},
        {"--rate 1e999", "--rate wants a number"},
        {"--quiet=1", "--quiet takes no value"},
        {"--color blue", "--color: no color 'blue'"},
        {"a b c", "unexpected argument 'c'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        flags_t flags = {0};
        const char *words[2];
        size_t count;
        char line[64];
        (void)snprintf(line, sizeof line, "%s", cases[i].line);
        assert_fails(parse(&flags, line, false, words, &count), LKS_ERR_INVALID_ARG,
                     cases[i].sentence);
    }
}

Test(options, a_resumed_job_keeps_its_settings)
{
    flags_t flags = {.file = "a", .count = 5, .rate = 0.5};
    const char *words[2];
    size_t count;
    char same[] = "--file a --count 5 --rate 0.5 --quiet";
    assert_ok(parse(&flags, same, true, words, &count));
    char other[] = "--rate 0.25";
    assert_fails(parse(&flags, other, true, words, &count), LKS_ERR_INVALID_ARG,
                 "--rate differs from the resumed job's");
    char text[] = "--file b";
    assert_fails(parse(&flags, text, true, words, &count), LKS_ERR_INVALID_ARG, "--file differs");
}
