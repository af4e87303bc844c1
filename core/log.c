/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - one line at a time to one sink. */
#include <lockstep/log.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t sink_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t environment_once = PTHREAD_ONCE_INIT;
static _Atomic int enabled_level = LKS_LOG_WARN;
static lks_log_sink_t current_sink;
static void *current_context;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static void read_environment(void)
{
    const char *wanted = getenv("LOCKSTEP_LOG");
    if (!wanted) {
        return;
    }
    for (int i = LKS_LOG_ERROR; i <= LKS_LOG_DEBUG; i++) {
        if (strcmp(wanted, level_names[i]) == 0) {
            atomic_store(&enabled_level, i);
        }
    }
}

void lks_log(lks_log_level_t level, const char *format, ...)
{
    int saved_errno = errno;
    pthread_once(&environment_once, read_environment);
    if ((int)level <= atomic_load(&enabled_level)) {
        char message[2048];
        va_list args;
        va_start(args, format);
        (void)vsnprintf(message, sizeof message, format, args);
        va_end(args);
        pthread_mutex_lock(&sink_mutex);
        if (current_sink) {
            current_sink(current_context, level, message);
        } else {
            (void)fprintf(stderr, "lockstep: %s%s\n", level == LKS_LOG_WARN ? "warning: " : "",
                          message);
        }
        pthread_mutex_unlock(&sink_mutex);
    }
    errno = saved_errno;
}

void lks_log_set_level(lks_log_level_t level)
{
    pthread_once(&environment_once, read_environment); /* an explicit level beats the environment */
    atomic_store(&enabled_level, (int)level);
}

void lks_log_set_sink(lks_log_sink_t sink, void *context)
{
    pthread_mutex_lock(&sink_mutex);
    current_sink = sink;
    current_context = context;
    pthread_mutex_unlock(&sink_mutex);
}
