/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - `lockstep verify`: every checksum and every bound of a checkpoint. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"

#include <lockstep/checkpoint.h>

typedef struct verify_flags {
    int64_t threads;
    uint64_t memory;
    bool json, first;
} verify_flags_t;

static void show_bad(void *context, const lks_error_t *error)
{
    verify_flags_t *flags = context;
    if (!flags->json) {
        printf("%s\n", error->message);
        return;
    }
    fputs(flags->first ? "\n  " : ",\n  ", stdout);
    flags->first = false;
    json_str(stdout, error->message);
}

static void print_result(const lks_checkpoint_t *checkpoint, const lks_verify_report_t *report,
                         const verify_flags_t *flags)
{
    char nbytes[BYTES_TEXT_MAX];
    bool first = false;
    if (flags->json) {
        fputs("]", stdout);
        json_key_str(stdout, &first, "file", lks_checkpoint_path(checkpoint));
        json_key_str(stdout, &first, "format", lks_checkpoint_format(checkpoint));
        json_key_int(stdout, &first, "records", (int64_t)report->records);
        json_key_int(stdout, &first, "nbytes", (int64_t)report->nbytes);
        fputs("}\n", stdout);
        return;
    }
    printf("%s: %s, %zu of %zu checksums right over %s%s\n", lks_checkpoint_path(checkpoint),
           lks_checkpoint_format(checkpoint), report->records - report->bad, report->records,
           format_bytes(nbytes, report->nbytes),
           report->records > 0 ? "" : "; this format has none, its bounds are right");
}

/* What can be opened but is damaged differs from what it should be; what cannot be opened has failed. */
static int verify(const char *path, verify_flags_t *flags)
{
    lks_checkpoint_t *checkpoint;
    if (open_checkpoint(path, flags->memory, &checkpoint) != LKS_OK) {
        (void)report_failure();
        return EXIT_FAILED;
    }
    const lks_verify_options_t options = {
        .threads = (size_t)flags->threads, .on_bad = show_bad, .context = flags};
    lks_verify_report_t report = {0};
    flags->first = true;
    fputs(flags->json ? "{\"bad\": [" : "", stdout);
    lks_status_t status = lks_checkpoint_verify(checkpoint, &options, &report);
    int code = EXIT_FAILED;
    if (status == LKS_OK || report.bad > 0) {
        print_result(checkpoint, &report, flags);
        code = finish_output(report.bad > 0 ? EXIT_DIFFERS : EXIT_DONE);
    } else {
        (void)report_failure();
    }
    lks_checkpoint_close(checkpoint);
    return code;
}

static int run(int argc, char **argv)
{
    verify_flags_t flags = {0};
    const option_t options[] = {
        OPTION_INT("threads", &flags.threads, 0, false, "default: 0, one for each core"),
        OPTION_MEMORY(&flags.memory),
        OPTION_SWITCH("json", &flags.json, false,
                      "one JSON object: bad, file, format, records, nbytes"),
    };
    size_t count = sizeof options / sizeof *options, words;
    if (options_want_help(argc, argv)) {
        options_print_help(&verify_command, options, count);
        return finish_output(EXIT_DONE);
    }
    const char *path[1] = {NULL};
    lks_status_t status = options_parse(options, count, argc, argv, false, path, 1, &words);
    if (status == LKS_OK && words != 1) {
        status = lks_fail(LKS_ERR_INVALID_ARG, "which file?");
    }
    return status == LKS_OK ? verify(path[0], &flags) : report_usage(&verify_command);
}

const command_t verify_command = {
    .name = "verify",
    .arguments = "FILE",
    .summary = "Every checksum and every bound of a checkpoint. Names what is damaged; exit code 3 "
               "if anything is, 1 if it cannot be read.",
    .run = run,
};
