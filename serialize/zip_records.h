/* SPDX-License-Identifier: Apache-2.0 */
/* zip_records.h - the records of an archive that hold no storage, listed for those who want them as they are. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_RECORDS_H
#define LOCKSTEP_SERIALIZE_ZIP_RECORDS_H

#include "serialize/zip_read.h"

#include <lockstep/checkpoint.h>

/** Zeroed it is an empty list. */
typedef struct lks_zip_records {
    const lks_zip_t *zip;
    lks_record_t *items;
    const lks_zip_entry_t **entries; /* of the items */
    size_t count;
} lks_zip_records_t;

/** Lists every entry whose `storage_of` (one per entry) is 0. Names are without their first `root_length` bytes; they
 *  lie in the tree, the list is to be finished. Errors: NO_MEMORY, FORMAT (over the tree's limit). */
LKS_NODISCARD lks_status_t lks_zip_records_init(const lks_zip_t *zip, const size_t *storage_of,
                                                size_t root_length, lks_tree_t *tree,
                                                lks_zip_records_t *out);
void lks_zip_records_fini(lks_zip_records_t *records);

/** Copies the bytes of an item to `data`, checked. Errors: FORMAT, CORRUPT, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_records_read(const lks_zip_records_t *records, size_t index,
                                                void *data);

#endif
