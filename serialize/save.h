/* SPDX-License-Identifier: Apache-2.0 */
/* save.h - what saving now and saving in the background share. */
#ifndef LOCKSTEP_SERIALIZE_SAVE_H
#define LOCKSTEP_SERIALIZE_SAVE_H

#include <lockstep/checkpoint.h>

/** What lks_checkpoint_save refuses without looking at the values. Errors: as there. */
LKS_NODISCARD lks_status_t lks_save_check(const char *path, const lks_tree_t *tree,
                                          const lks_save_options_t *options);

#endif
