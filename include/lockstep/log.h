/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - progress and warnings, to stderr unless the program asks for them.
 * The library never writes to stdout, and says nothing above LKS_LOG_WARN unless something is wrong.
 * Threads: all calls may come from any thread; a sink is called by one thread at a time. */
#ifndef LOCKSTEP_LOG_H
#define LOCKSTEP_LOG_H

#include <lockstep/api.h>

LKS_BEGIN_DECLS

typedef enum { LKS_LOG_ERROR, LKS_LOG_WARN, LKS_LOG_INFO, LKS_LOG_DEBUG } lks_log_level_t;

/** Receives each line, without a newline. `message` is valid during the call only.
 *  A sink must not log. */
typedef void (*lks_log_sink_t)(void *context, lks_log_level_t level, const char *message);

/** Logs one line if `level` is enabled. Does not change errno or the last error. */
LKS_API void lks_log(lks_log_level_t level, const char *format, ...) LKS_PRINTF(2, 3);

/** Enables levels up to `level`. Default LKS_LOG_WARN; the environment's LOCKSTEP_LOG
 *  (error, warn, info, debug) is read once, at the first call of lks_log. */
LKS_API void lks_log_set_level(lks_log_level_t level);

/** Replaces the sink; NULL restores the default, which writes "lockstep: <message>" to stderr,
 *  "lockstep: warning: <message>" for a warning. */
LKS_API void lks_log_set_sink(lks_log_sink_t sink, void *context);

LKS_END_DECLS
#endif
