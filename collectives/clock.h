/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - how far the clocks of ranks are apart, which machines of a job need not have in common. */
#ifndef LOCKSTEP_COLLECTIVES_CLOCK_H
#define LOCKSTEP_COLLECTIVES_CLOCK_H

#include <lockstep/comm.h>
#include <stdint.h>

/** What this rank's `now` shows when rank 0's shows 0, in `now`'s units (a multiple of nanoseconds that fits 62 bits).
 *  Messages bound it from both sides; the middle is taken, which is off by at most the time of the quickest of some
 *  gathers, or 0 where that lies between, as it does for ranks that read one clock. A collective of all ranks.
 *  Errors: NO_MEMORY, ABORTED. */
LKS_NODISCARD lks_status_t lks_clock_offset(lks_comm_t *comm, int64_t (*now)(void *context),
                                            void *context, int64_t *offset);

#endif
