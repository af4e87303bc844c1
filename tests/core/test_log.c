/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - levels and sinks. */
#include "core/thread.h"
#include "support/support.h"

#include <errno.h>
#include <fcntl.h>
#include <lockstep/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct record {
    int lines;
    lks_log_level_t level;
    char message[4096];
} record_t;

static void record_line(void *context, lks_log_level_t level, const char *message)
{
    record_t *record = context;
    record->lines++;
    record->level = level;
    (void)snprintf(record->message, sizeof record->message, "%s", message);
}

Test(log, sink_receives_level_and_line)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log(LKS_LOG_ERROR, "disk %d of '%s'", 3, "host");
    cr_assert_eq(record.lines, 1);
    cr_assert_eq(record.level, LKS_LOG_ERROR);
    cr_assert_str_eq(record.message, "disk 3 of 'host'");
}

Test(log, warnings_pass_and_the_rest_does_not_by_default)
{
    (void)unsetenv("LOCKSTEP_LOG");
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log(LKS_LOG_INFO, "no");
    lks_log(LKS_LOG_DEBUG, "no");
    cr_assert_eq(record.lines, 0);
    lks_log(LKS_LOG_WARN, "yes");
    cr_assert_eq(record.lines, 1);
}

Test(log, level_opens_and_closes)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log_set_level(LKS_LOG_DEBUG);
    lks_log(LKS_LOG_DEBUG, "yes");
    cr_assert_eq(record.lines, 1);
    lks_log_set_level(LKS_LOG_ERROR);
    lks_log(LKS_LOG_WARN, "no");
    cr_assert_eq(record.lines, 1);
}

Test(log, environment_sets_the_level)
{
    cr_assert_eq(setenv("LOCKSTEP_LOG", "info", 1), 0);
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log(LKS_LOG_DEBUG, "no");
    lks_log(LKS_LOG_INFO, "yes");
    cr_assert_str_eq(record.message, "yes");
    cr_assert_eq(record.lines, 1);
}

Test(log, the_programs_level_beats_the_environment)
{
    cr_assert_eq(setenv("LOCKSTEP_LOG", "debug", 1), 0);
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log_set_level(LKS_LOG_ERROR);
    lks_log(LKS_LOG_INFO, "no");
    cr_assert_eq(record.lines, 0);
}

Test(log, an_unknown_level_in_the_environment_changes_nothing)
{
    cr_assert_eq(setenv("LOCKSTEP_LOG", "loud", 1), 0);
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log(LKS_LOG_INFO, "no");
    lks_log(LKS_LOG_WARN, "yes");
    cr_assert_eq(record.lines, 1);
}

Test(log, keeps_errno_and_the_last_error)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    (void)lks_fail(LKS_ERR_IO, "before");
    errno = ENOSPC;
    lks_log(LKS_LOG_WARN, "between");
    cr_assert_eq(errno, ENOSPC);
    cr_assert_str_eq(lks_last_error()->message, "before");
}

Test(log, a_very_long_line_is_cut)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log(LKS_LOG_WARN, "%*s", 3000, "x");
    cr_assert_eq(strlen(record.message), 2047);
}

/* What the default sink writes to stderr. */
static void check_stderr(lks_log_level_t level, const char *wanted)
{
    const char *path = test_temp_path("stderr");
    int saved = dup(STDERR_FILENO);
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    cr_assert(saved >= 0 && file >= 0);
    cr_assert_eq(dup2(file, STDERR_FILENO), STDERR_FILENO);
    lks_log(level, "%s", "hello");
    (void)fflush(stderr);
    cr_assert_eq(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    (void)close(file);
    size_t nbytes;
    unsigned char *text = test_read_file(path, &nbytes);
    cr_assert_str_eq((const char *)text, wanted);
    free(text);
}

Test(log, default_sink_writes_to_stderr)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_log_set_sink(NULL, NULL);
    check_stderr(LKS_LOG_ERROR, "lockstep: hello\n");
    check_stderr(LKS_LOG_WARN, "lockstep: warning: hello\n");
    cr_assert_eq(record.lines, 0);
}

enum { LINES = 200 };

static void log_much(void *context)
{
    (void)context;
    for (int i = 0; i < LINES; i++) {
        lks_log(LKS_LOG_WARN, "line %d", i);
    }
}

/* The record is plain memory: two threads in the sink at once would lose counts, and race under TSan. */
Test(log, sink_is_called_by_one_thread_at_a_time)
{
    record_t record = {0};
    lks_log_set_sink(record_line, &record);
    lks_thread_t *threads[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(lks_thread_create("logs", log_much, NULL, &threads[i]));
    }
    for (int i = 0; i < 3; i++) {
        lks_thread_join(threads[i]);
    }
    cr_assert_eq(record.lines, 3 * LINES);
}
