/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - the thread's last error, and the names of the codes. */
#include <lockstep/status.h>
#include <lockstep/version.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local lks_error_t last_error;

#define STATUS_NAME(id, name) [id] = name,
static const char *const status_names[] = {LKS_STATUS_LIST(STATUS_NAME)};
#undef STATUS_NAME

const char *lks_status_name(lks_status_t status)
{
    return (unsigned)status < LKS_STATUS_COUNT ? status_names[status] : "unknown status";
}

const char *lks_version(void)
{
    return LKS_VERSION_STRING;
}

/* What a file calls its values must not begin a line, or reach a terminal as a command. */
static void blot_controls(char *message)
{
    for (unsigned char *c = (unsigned char *)message; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

lks_status_t(lks_fail)(lks_status_t status, const char *format, ...)
{
    char message[LKS_ERROR_MESSAGE_MAX]; /* the arguments may point into last_error */
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    blot_controls(message);
    last_error.status = status;
    memcpy(last_error.message, message, sizeof message);
    return status;
}

lks_status_t lks_error_prefix(lks_status_t status, const char *format, ...)
{
    char context[LKS_ERROR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(context, sizeof context, format, args);
    va_end(args);
    return lks_fail(status, "%s: %s", context, last_error.message);
}

const lks_error_t *lks_last_error(void)
{
    return &last_error;
}

lks_status_t lks_error_raise(const lks_error_t *error)
{
    if (error != &last_error) {
        last_error = *error;
        blot_controls(last_error.message);
    }
    return last_error.status;
}
