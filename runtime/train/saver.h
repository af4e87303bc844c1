/* SPDX-License-Identifier: Apache-2.0 */
/* saver.h - the files of a job: written at once, or in the background while training goes on. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_SAVER_H
#define LOCKSTEP_RUNTIME_TRAIN_SAVER_H

#include "runtime/train/job.h"

/** Names that one save has at most: best.pt, a numbered one, last.pt. */
#define LKS_SAVER_NAMES_MAX 3
#define LKS_SAVER_PATH_MAX 4096

/** Belongs to a replica; rank 0 writes, the others' do nothing. Zeroed but for job and replica it is ready. */
typedef struct lks_saver {
    const lks_job_t *job;
    const lks_replica_t *replica;
    lks_save_handle_t *handle; /* NULL until the first save in the background */
    int count;                 /* files that were not told of yet */
    char paths[LKS_SAVER_NAMES_MAX][LKS_SAVER_PATH_MAX];
    lks_train_event_t event; /* of the moment that they hold */
    lks_trace_row_t *
        row; /* gets a span from the beginning of a save to when all files are in place; NULL: none */
    int64_t start; /* of that */
} lks_saver_t;

/** Writes the state at `at` into the job's folder under all names, in this order. `event` is what observers are told
 *  for each file when all are in place. A save in the background that is still going on is finished first.
 *  Errors: of this save or, in the background, of the one before. */
LKS_NODISCARD lks_status_t lks_saver_save(lks_saver_t *saver, const lks_progress_t *at,
                                          const lks_train_event_t *event, const char *const *names,
                                          int count);

/** Tells observers of a save in the background that is over; `wait` for it. Errors: that save's. */
LKS_NODISCARD lks_status_t lks_saver_finish(lks_saver_t *saver, bool wait);

/** Waits for what is going on, and frees. */
void lks_saver_close(lks_saver_t *saver);

#endif
