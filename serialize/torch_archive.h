/* SPDX-License-Identifier: Apache-2.0 */
/* torch_archive.h - what the archives of torch.save and torch.jit.save have in common: every record lies in one folder,
 * some are pickles, and the storages that those name are records too.
 *     ROOT/data.pkl, ROOT/data/0, ROOT/data/1 ...    a value, and its storages
 *     ROOT/version                                   "3\n"
 *     ROOT/byteorder                                 "little" or "big" (since 2.1)
 * ROOT is the file's name without its extension, as it was when it was written. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_ARCHIVE_H
#define LOCKSTEP_SERIALIZE_TORCH_ARCHIVE_H

#include "serialize/origin.h"
#include "serialize/pickle_torch.h"
#include "serialize/zip_records.h"
#include "serialize/zip_storages.h"

#include <lockstep/checkpoint.h>

typedef struct lks_torch_archive {
    lks_zip_t zip;
    const char *root; /* with its slash; in the map */
    size_t root_length;
    size_t next; /* entry behind the one found last */
    lks_tree_t *tree;
    const char *folder; /* of the storages that the pickle being read names: "data/" */
    lks_zip_storages_t storages;
    bool big_endian;
    lks_zip_records_t others; /* that no storage lies in */
    lks_value_t *constants;   /* of a TorchScript archive */
    size_t memory;            /* the limit */
} lks_torch_archive_t;

/** True if the origin is such an archive and has that record below its folder. */
bool lks_torch_archive_probe(lks_origin_t *origin, const char *name);

/** Opens the archive for an empty tree and hooks the tree's `load` to it: folder, version and byte order are
 *  checked. What is to be closed goes to *state, also on failure. Errors: FORMAT, UNSUPPORTED (a version above 10),
 *  CORRUPT, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_torch_archive_open(lks_origin_t *origin,
                                                  const lks_checkpoint_limits_t *limits,
                                                  lks_tree_t *tree, void **state);
void lks_torch_archive_close(void *state);

/** The record "ROOT/<folder><name>", or NULL. */
const lks_zip_entry_t *lks_torch_archive_find(lks_torch_archive_t *archive, const char *folder,
                                              const char *name, size_t name_length);

/** Reads the pickle "ROOT/<name>", whose storages are records below `folder`. `create` (may be NULL) is asked
 *  before torch's own calls are interpreted. Errors: FORMAT, CORRUPT, UNSUPPORTED, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_torch_archive_read(lks_torch_archive_t *archive, const char *name,
                                                  const char *folder, lks_torch_create_fn_t create,
                                                  lks_value_t **out);

/** Lists the records that no storage lies in, once all pickles were read. Errors: NO_MEMORY, FORMAT. */
LKS_NODISCARD lks_status_t lks_torch_archive_list(lks_torch_archive_t *archive);

/** lks_format_t.records of an archive. */
const lks_zip_records_t *lks_torch_archive_records(const void *archive);

#endif
