/* SPDX-License-Identifier: Apache-2.0 */
/* profile.h - the trace of a job (core/trace.h), and the file that it becomes.
 * Life:    lks_profile_open in every process -> recording -> lks_profile_gather on every rank, if the job came so far
 *          -> lks_profile_close.
 * Clocks:  processes of one machine read one clock. Those of several ask how far theirs are apart (collectives/clock.h) when
 *          their parts are gathered: times of another machine are right to half a round trip, and to what the clocks
 *          have drifted since. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_PROFILE_H
#define LOCKSTEP_RUNTIME_TRAIN_PROFILE_H

#include "core/trace.h"
#include "serialize/sink.h"

#include <lockstep/comm.h>

/** Zeroed: nothing is recorded. */
typedef struct lks_profile {
    lks_trace_t *trace;
    lks_sink_t *sink; /* where the file is written */
    bool begun;       /* the file has a part */
    uint64_t dropped; /* spans of all parts in the file */
} lks_profile_t;

/** Starts a trace, and in the process that `writes` the file that it will replace at `path`; with NULL nothing is
 *  recorded. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_profile_open(lks_profile_t *profile, const char *path, bool writes);

/** Leaves no file, and frees both. */
void lks_profile_discard(lks_profile_t *profile);

/** Brings the parts of all processes into rank 0's file. A collective of all ranks of a job whose first rank is in the
 *  process that writes; they share the profile of their process. Nobody records any more.
 *  Errors: NO_MEMORY, ABORTED; the file is left with what came. */
LKS_NODISCARD lks_status_t lks_profile_gather(lks_profile_t *profile, lks_comm_t *comm);

/** Writes the file, which appears whole or not at all, and frees both. What was not gathered is this process's part alone.
 *  Nobody records any more; or somebody may, and then the trace is not freed (`in_use`). Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_profile_close(lks_profile_t *profile, bool in_use);

#endif
