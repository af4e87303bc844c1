/* SPDX-License-Identifier: Apache-2.0 */
/* zip_storages.h - records of a zip archive as storages of a tree.
 * A stored record becomes a storage in the mapped file, and its checksum is verified when its bytes are first
 * wanted. A record that is deflated, big-endian or not aligned to its elements becomes a storage in private memory,
 * which is filled then, and again after it was unloaded. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_STORAGES_H
#define LOCKSTEP_SERIALIZE_ZIP_STORAGES_H

#include "serialize/memory.h"
#include "serialize/source.h"
#include "serialize/zip_read.h"

#include <lockstep/checkpoint.h>
#include <pthread.h>

/** The elements of a record. */
typedef struct lks_zip_view {
    const lks_zip_entry_t *entry;
    size_t skip;   /* bytes of the record before them */
    size_t nbytes; /* skip + nbytes <= entry->size */
    lks_dtype_t dtype;
    size_t alignment; /* that elements need; 0 or 1: none */
    bool swapped;     /* big-endian */
    const char *location;
} lks_zip_view_t;

/* The record behind a storage of the tree. */
typedef struct lks_zip_storage {
    const lks_zip_entry_t *entry;
    lks_memory_t *memory; /* to be filled; NULL: in the map */
    size_t skip, nbytes;
    size_t swap;          /* bytes that turn around together */
    _Atomic int state;    /* of the checksum */
    _Atomic uint32_t crc; /* found, where the state is bad */
    _Atomic bool filled;  /* the memory is */
} lks_zip_storage_t;

typedef struct lks_zip_storages {
    lks_source_t *source;
    const lks_zip_t *zip;
    lks_tree_t *tree;
    size_t root_length;       /* of names, which messages leave out */
    lks_zip_storage_t *items; /* by storage of the tree, then the other records: one per entry */
    size_t count;             /* of storages: the tree's first ones */
    size_t record_count;      /* of items; 0: the others are not known yet */
    size_t *index_of;         /* by entry of the zip: index of the storage plus 1 */
    size_t memory_left;       /* for inflated records */
    pthread_mutex_t fill;
} lks_zip_storages_t;

/** Over an archive in `source`, for a tree without storages, whose hooks it sets. All are borrowed; the tree is to be
 *  destroyed first. Also on failure it is to be finished. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_storages_init(lks_zip_storages_t *storages, lks_source_t *source,
                                                 const lks_zip_t *zip, lks_tree_t *tree,
                                                 size_t memory);
void lks_zip_storages_fini(lks_zip_storages_t *storages);

/** The tree's storage over that record; made as `view` says when it is first asked for.
 *  Errors: FORMAT (more to be inflated than the memory limit), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_zip_storages_get(lks_zip_storages_t *storages,
                                                const lks_zip_view_t *view, size_t *index);

/** To be called when all storages were asked for: all records can be checked at once then, also those that hold no
 *  storage (check.h). */
void lks_zip_storages_complete(lks_zip_storages_t *storages);

#endif
