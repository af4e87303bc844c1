/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - what a job measures, as curves in an event file. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_METRICS_H
#define LOCKSTEP_RUNTIME_TRAIN_METRICS_H

#include "runtime/train/event_file.h"

#include <lockstep/trainer.h>

/** Adds what a STEP event says under "train/", and what an EPOCH event says under "epoch/" and "val/"; other events say
 *  nothing. After an epoch all of it is in the file. `file` NULL does nothing. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_metrics_write(lks_event_file_t *file,
                                             const lks_train_event_t *event);

#endif
