/* SPDX-License-Identifier: Apache-2.0 */
/* in_place.h - changing the values of an open checkpoint in its own file, or in a clone of it: what must hold before a
 * format does it. */
#ifndef LOCKSTEP_SERIALIZE_IN_PLACE_H
#define LOCKSTEP_SERIALIZE_IN_PLACE_H

#include "serialize/format.h"

/** A checkpoint that is open. */
typedef struct lks_opened {
    const lks_format_t *format;
    void *state;                /* the format's */
    const lks_source_t *source; /* NULL: a directory */
    const char *path;
} lks_opened_t;

/** lks_checkpoint_update. */
LKS_NODISCARD lks_status_t lks_in_place_update(const lks_opened_t *opened, const lks_tree_t *tree,
                                               const lks_update_options_t *options);

/** Saves `tree` as the file `path`, which shares the blocks of the tensors with the open one, where the file system can
 *  do that and the tree has all of the file's tensors as they are. *done is false where not: then nothing happened.
 *  Errors, also with nothing done: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_in_place_save(const lks_opened_t *opened, const lks_tree_t *tree,
                                             const char *path, bool sync, bool *done);

#endif
