/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip.h - torch.save's zip archives, since torch 1.6:
 *     ROOT/data.pkl                 the object, a pickle in which storages are persistent ids
 *     ROOT/byteorder                "little" or "big" (since 2.1)
 *     ROOT/data/0, ROOT/data/1 ...  the bytes of storage 0, 1, ...
 *     ROOT/version                  "3\n"
 *     ROOT/.data/serialization_id   a fingerprint (since 2.1)
 * ROOT is the file's name without its extension. Records are stored, payloads lie at multiples of 64 bytes.
 * torch_zip.c reads, torch_zip_write.c writes, torch_zip_update.c changes the object and leaves the storages. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_ZIP_H
#define LOCKSTEP_SERIALIZE_TORCH_ZIP_H

#include "serialize/sink.h"
#include "serialize/zip_read.h"

#include <lockstep/checkpoint.h>

/** Writes a whole archive. Errors: UNSUPPORTED (a value; the message names its path), NO_MEMORY, and whatever
 *  making a storage's bytes valid meets (CORRUPT). */
LKS_NODISCARD lks_status_t lks_torch_zip_save(const lks_tree_t *tree, const char *path,
                                              const lks_save_options_t *options, lks_sink_t *sink);

/** An archive that is open, as far as an update needs to know it. */
typedef struct lks_torch_zip_file {
    const char *path;
    const lks_zip_t *zip;
    const char *root; /* with its slash; not terminated */
    size_t root_length;
    const lks_tree_t *tree;                /* which may have been edited since */
    const lks_zip_entry_t *const *records; /* by storage of the tree; NULL: of other bytes now */
    size_t record_count;                   /* storages behind them are not the file's */
} lks_torch_zip_file_t;

/** Makes `tree` the object of the archive, which is open as `fd` for writing. Its storages are among the file's, which
 *  are not touched. Errors: UNSUPPORTED (a storage that is not the file's; a value), IO, NO_MEMORY; in each case the
 *  file is as it was. */
LKS_NODISCARD lks_status_t lks_torch_zip_update(const lks_torch_zip_file_t *file,
                                                const lks_tree_t *tree, int fd, bool sync);

#endif
