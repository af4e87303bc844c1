/* SPDX-License-Identifier: Apache-2.0 */
/* format.h - the table of checkpoint formats.
 * To add one: fill an lks_format_t in a file of its own, declare it here, add it to the array in format.c. */
#ifndef LOCKSTEP_SERIALIZE_FORMAT_H
#define LOCKSTEP_SERIALIZE_FORMAT_H

#include "serialize/folder.h"
#include "serialize/origin.h"
#include "serialize/sink.h"
#include "serialize/zip_records.h"

#include <lockstep/checkpoint.h>

typedef struct lks_format {
    const char *name; /* "torch_zip" */

    /* Whether the origin is in this format, by its first bytes, or what is in a directory. */
    bool (*probe)(lks_origin_t *origin);

    /* Builds the (empty) tree from the origin, whose source it retains if storages lie in it. What it needs as long
     * as the checkpoint is open goes to *state; the tree's `load` hook makes the bytes of a storage valid. */
    lks_status_t (*open)(lks_origin_t *origin, const lks_checkpoint_limits_t *limits,
                         lks_tree_t *tree, void **state);
    void (*close)(void *state); /* after the tree was destroyed */

    /* What an archive has beside the root: records that hold no storage; values that code names. Each may be NULL. */
    const lks_zip_records_t *(*records)(const void *state);
    const lks_value_t *(*constants)(const void *state);

    /* Writes the tree to one file, or to a directory of several: one of the two, or neither where the format is
     * only read. `path` is what the user called the file. Errors of the sink need no forwarding. */
    lks_status_t (*save)(const lks_tree_t *tree, const char *path,
                         const lks_save_options_t *options, lks_sink_t *sink);
    lks_status_t (*save_folder)(const lks_tree_t *tree, const lks_save_options_t *options,
                                lks_folder_t *folder);
    bool (*is_part)(const char *name); /* of a file: that it belongs to such a directory */

    /* Makes `tree`, over the same storages, the values of the open file, which is also open as `fd` for writing;
     * called `path`; NULL: that takes a new file. Whatever happens, the file is the old one or the new one. */
    lks_status_t (*update)(void *state, const lks_tree_t *tree, int fd, const char *path,
                           bool sync);
} lks_format_t;

extern const lks_format_t lks_format_torch_zip;
extern const lks_format_t lks_format_torch_legacy;
extern const lks_format_t lks_format_torch_tar;
extern const lks_format_t lks_format_safetensors;
extern const lks_format_t lks_format_torchscript;
extern const lks_format_t lks_format_sharded;
extern const lks_format_t lks_format_npz;
extern const lks_format_t lks_format_npy;
extern const lks_format_t lks_format_dcp;

/** The format of an origin. Errors: UNSUPPORTED (one that is known but not read), FORMAT (none). */
LKS_NODISCARD lks_status_t lks_format_probe(lks_origin_t *origin, const lks_format_t **out);

/** lks_checkpoint_open of a source, which is retained: a checkpoint inside another. */
LKS_NODISCARD lks_status_t lks_checkpoint_open_source(lks_source_t *source,
                                                      const lks_checkpoint_limits_t *limits,
                                                      lks_checkpoint_t **out);

/** The format of that name. Errors: NOT_FOUND. */
LKS_NODISCARD lks_status_t lks_format_find(const char *name, const lks_format_t **out);

/** The format that the name of a file to be written asks for: ".safetensors" and so on; torch_zip otherwise. */
const lks_format_t *lks_format_of_name(const char *path);

#endif
