/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - the table of checkpoint formats.
 * To add one: fill an lks_format_t in a file of its own, declare it here, add it to the array in format.c. */
#ifndef LOCKSTEP_SERIALIZE_FORMAT_H
#define LOCKSTEP_SERIALIZE_FORMAT_H

#include "serialize/sink.h"
#include "serialize/source.h"

#include <lockstep/checkpoint.h>

typedef struct lks_format {
    const char *name; /* "torch_zip" */

    /* Whether the bytes of a file (at least one) are in this format, by its first ones. */
    bool (*probe)(const unsigned char *data, size_t size);

    /* Builds the (empty) tree from the source, which it retains if storages lie in it. What it needs as long
     * as the checkpoint is open goes to *state; the tree's `load` hook makes the bytes of a storage valid. */
    lks_status_t (*open)(lks_source_t *source, const lks_checkpoint_limits_t *limits,
                         lks_tree_t *tree, void **state);
    void (*close)(void *state); /* after the tree was destroyed */

    /* Writes the tree; `path` is what the user called the file. Errors of the sink need no forwarding.
     * (optional) */
    lks_status_t (*save)(const lks_tree_t *tree, const char *path, lks_sink_t *sink);
} lks_format_t;

extern const lks_format_t lks_format_torch_zip;

/** The format of a file. Errors: UNSUPPORTED (one that is known but not read), FORMAT (none). */
LKS_NODISCARD lks_status_t lks_format_probe(const unsigned char *data, size_t size,
                                            const lks_format_t **out);

/** The format of that name. Errors: NOT_FOUND. */
LKS_NODISCARD lks_status_t lks_format_find(const char *name, const lks_format_t **out);

#endif
