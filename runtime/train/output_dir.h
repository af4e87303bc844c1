/* SPDX-License-Identifier: Apache-2.0 */
/* output_dir.h - the folders that a job writes in. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_OUTPUT_DIR_H
#define LOCKSTEP_RUNTIME_TRAIN_OUTPUT_DIR_H

#include <lockstep/status.h>

/** Makes the folder if it is missing; the one it is in must be there. Errors: INVALID_ARG (a name of more than 4000
 *  bytes), IO (it cannot be made, is no folder, or nothing can be made in it). */
LKS_NODISCARD lks_status_t lks_output_dir_make(const char *dir);

#endif
