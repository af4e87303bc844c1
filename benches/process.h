/* SPDX-License-Identifier: Apache-2.0 */
/* process.h - a whole process of some program: how long it took, what it held. */
#ifndef LOCKSTEP_BENCHES_PROCESS_H
#define LOCKSTEP_BENCHES_PROCESS_H

#include "bench.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct bench_process {
    double ms;
    long peak_kb; /* mapped pages of files included */
} bench_process_t;

/** Runs a command with its output thrown away. False if it did not exit with 0. */
static inline bool bench_process_run(char *const argv[], bench_process_t *out)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid;
    int status = -1;
    struct rusage usage = {0};
    double begin = bench_now() * 1e3;
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed || wait4(pid, &status, 0, &usage) != pid) {
        return false;
    }
    *out = (bench_process_t){bench_now() * 1e3 - begin, usage.ru_maxrss};
    return status == 0;
}

#endif
