/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the commands share. Results go to stdout, everything else to stderr. */
#ifndef LOCKSTEP_CLI_CLI_H
#define LOCKSTEP_CLI_CLI_H

#include "runtime/cli/options.h"
#include "runtime/cli/print.h"
#include "runtime/cli/sizes.h"

#include <lockstep/checkpoint.h>
#include <lockstep/rename.h>
#include <lockstep/trainer.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DIFFERS = 3 };

extern const command_t train_command, eval_command, predict_command, inspect_command,
    verify_command, diff_command, convert_command, devices_command;

/** Prints "lockstep: <sentence>" of this thread's last error and returns the exit code of its status:
 *  2 for INVALID_ARG, 3 for MISMATCH, else 1. */
int report_failure(void);

/** Prints a sentence about the command line, with a hint at --help, and returns 2. */
int report_usage(const command_t *command);

/** Flushes stdout; a result that could not be written is a failure. Returns `code` or 1. */
int finish_output(int code);

/** The flag of every command that reads checkpoints: bytes that the reader may take; `target` is a uint64_t, 0 for the
 *  default. */
#define OPTION_MEMORY(target)                                                                      \
    OPTION_CUSTOM("memory-limit", "SIZE", target, parse_size, false,                               \
                  "memory that reading may take, apart from tensors (default: 1GiB)")

/** Opens a checkpoint for reading within that. Errors: as lks_checkpoint_open. */
LKS_NODISCARD lks_status_t open_checkpoint(const char *path, uint64_t memory,
                                           lks_checkpoint_t **out);

/** Adds what --canonical asks for, "wrappers" or "prefix", to a rename program. */
LKS_NODISCARD lks_status_t add_canonical(lks_rename_t *rename, const char *text);

/** Parses "cores" or "none" into a bool. */
lks_status_t parse_bind(const char *text, void *target);

/** Shows events of training on stderr: lines, or one line that changes on a terminal. */
typedef struct progress {
    bool terminal, line_open;
    bool json; /* events also go to stdout as JSON lines */
} progress_t;
void progress_init(progress_t *progress, bool json);
void progress_show(void *progress, const lks_train_event_t *event);
void progress_close(progress_t *progress);

#endif
