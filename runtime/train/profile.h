/* SPDX-License-Identifier: Apache-2.0 */
/* profile.h - the trace of a job (core/trace.h), and the file that it becomes. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_PROFILE_H
#define LOCKSTEP_RUNTIME_TRAIN_PROFILE_H

#include "core/trace.h"
#include "serialize/sink.h"

/** Zeroed: nothing is recorded. */
typedef struct lks_profile {
    lks_trace_t *trace;
    lks_sink_t *sink;
} lks_profile_t;

/** Starts a trace, and the file that it will replace at `path`; with NULL nothing is recorded. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_profile_open(lks_profile_t *profile, const char *path);

/** Leaves no file, and frees both. */
void lks_profile_discard(lks_profile_t *profile);

/** Writes the file, which appears whole or not at all, and frees both. Nobody records any more; or somebody may, and then
 *  the trace is not freed (`in_use`). Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_profile_close(lks_profile_t *profile, bool in_use);

#endif
