/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - the program: finds the command, and speaks for it when it fails. */
#include "runtime/cli/cli.h"

#include <errno.h>
#include <lockstep/version.h>
#include <stdio.h>
#include <string.h>

static const command_t *const commands[] = {
    &train_command,  &eval_command, &predict_command, &inspect_command,
    &verify_command, &diff_command, &convert_command, &devices_command,
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

int report_failure(void)
{
    const lks_error_t *error = lks_last_error();
    fprintf(stderr, "lockstep: %s\n", error->message);
    switch (error->status) {
    case LKS_ERR_INVALID_ARG: return EXIT_USAGE;
    case LKS_ERR_MISMATCH: return EXIT_DIFFERS;
    default: return EXIT_FAILED;
    }
}

int report_usage(const command_t *command)
{
    fprintf(stderr, "lockstep %s: %s (see 'lockstep %s --help')\n", command->name,
            lks_last_error()->message, command->name);
    return EXIT_USAGE;
}

int finish_output(int code)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "lockstep: cannot write the result: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return code;
}

lks_status_t open_checkpoint(const char *path, uint64_t memory, lks_checkpoint_t **out)
{
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.memory = memory > 0 ? (size_t)memory : limits.memory;
    return lks_checkpoint_open(path, &limits, out);
}

lks_status_t add_canonical(lks_rename_t *rename, const char *text)
{
    bool common = strcmp(text, "prefix") == 0;
    if (!common && strcmp(text, "wrappers") != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "wants 'wrappers' or 'prefix', not '%s'", text);
    }
    return lks_rename_canonical(rename, common);
}

lks_status_t parse_bind(const char *text, void *target)
{
    bool cores = strcmp(text, "cores") == 0;
    if (!cores && strcmp(text, "none") != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "wants 'cores' or 'none', not '%s'", text);
    }
    *(bool *)target = cores;
    return LKS_OK;
}

static int print_help(void)
{
    printf("usage: lockstep COMMAND [FLAGS]\n\n"
           "Data-parallel training, and checkpoints that move freely between one card and many.\n\n"
           "commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *end = strchr(commands[i]->summary, '.');
        printf("  %-10s %.*s\n", commands[i]->name, (int)(end - commands[i]->summary),
               commands[i]->summary);
    }
    printf("\n'lockstep COMMAND --help' lists its flags; 'lockstep --version' says which this is.\n"
           "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 what should fit does "
           "not, or differs, or is damaged.\n");
    return finish_output(EXIT_DONE);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "lockstep: no command (see 'lockstep --help')\n");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("lockstep %s\n", lks_version());
        return finish_output(EXIT_DONE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        return print_help();
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i]->name) == 0) {
            return commands[i]->run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "lockstep: unknown command '%s' (see 'lockstep --help')\n", argv[1]);
    return EXIT_USAGE;
}
