/* SPDX-License-Identifier: Apache-2.0 */
/* event_file.h - curves of a job over its steps, in a file that TensorBoard reads while it is written.
 * Format:  TFRecord, without a head. A record, in little-endian:
 *              uint64  length
 *              uint32  masked CRC-32C of these 8 bytes
 *              bytes   an Event (event_message.h)
 *              uint32  masked CRC-32C of the Event
 *          A checksum c is masked as ((c >> 15 | c << 17) + 0xa282ead8), so that it may itself be checked.
 * Life:    lks_event_file_open -> add, flush -> lks_event_file_close.
 * Threads: a file belongs to one thread at a time.
 * Crashes: what was flushed stays. The file holds whole records only: one that does not fit on the disk is taken back,
 *          and is written by the next flush that finds room. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_EVENT_FILE_H
#define LOCKSTEP_RUNTIME_TRAIN_EVENT_FILE_H

#include "runtime/train/event_message.h"

#include <lockstep/status.h>

typedef struct lks_event_file lks_event_file_t;

/** A new file "events.out.tfevents.<seconds since 1970>.<host>.<pid>.<number>" in the folder `dir`, which is made if it is
 *  missing; other files stay. With a `restart` above 0 what they say of this step and later ones is void: a job that was
 *  killed got further than the checkpoint that it goes on from. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_event_file_open(const char *dir, int64_t restart,
                                               lks_event_file_t **out);

/** Seconds since 1970, now. */
double lks_event_time(void);

const char *lks_event_file_path(const lks_event_file_t *file);

/** Adds values of a step, measured at `wall_time` (seconds since 1970). They reach the file when 64 KiB or two seconds
 *  have come together, or with the next flush. Errors: NO_MEMORY, IO. */
LKS_NODISCARD lks_status_t lks_event_file_add(lks_event_file_t *file, double wall_time,
                                              int64_t step, const lks_scalar_t *scalars,
                                              size_t count);

/** Hands all that was added to the system. Errors: IO; then the file holds what was flushed before. */
LKS_NODISCARD lks_status_t lks_event_file_flush(lks_event_file_t *file);

/** Flushes and frees the file, also on failure. NULL does nothing. Errors: IO. */
LKS_NODISCARD lks_status_t lks_event_file_close(lks_event_file_t *file);

#endif
