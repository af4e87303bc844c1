/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_places.h - storage_data of .metadata: which range of which file holds a value, or a chunk of a tensor. */
#ifndef LOCKSTEP_SERIALIZE_DCP_PLACES_H
#define LOCKSTEP_SERIALIZE_DCP_PLACES_H

#include "core/arena.h"
#include "core/strbuf.h"
#include "serialize/hashmap.h"

#include <lockstep/value.h>

typedef struct lks_dcp_place {
    size_t file, start, nbytes;
    const char *owner; /* the name of the item */
} lks_dcp_place_t;

typedef struct lks_dcp_places {
    lks_arena_t *arena;
    lks_dcp_place_t *items;
    size_t count;
    const char **files; /* plain names: by number of the file; in the tree that was read */
    size_t file_count;
    lks_strmap_t by_key; /* what an item and offsets are turned into -> place */
    lks_strmap_t by_file;
    lks_strbuf_t key;
} lks_dcp_places_t;

/** Reads storage_data; items and files lie in the arena. lks_dcp_places_fini also after a failure.
 *  Errors: FORMAT (a file that is not plainly in the directory; a place that is given twice), UNSUPPORTED (compressed
 *  files), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_places_read(const lks_value_t *storage_data, lks_arena_t *arena,
                                               lks_dcp_places_t *out);
void lks_dcp_places_fini(lks_dcp_places_t *places);

/** The place of the chunk of an item with these offsets, or with ndim -1 of a value. NULL if there is none. */
const lks_dcp_place_t *lks_dcp_places_find(lks_dcp_places_t *places, const char *name,
                                           size_t nbytes, int ndim, const int64_t *offsets);

/** Checks that no two places share a byte: else a small file would stand for any amount of data. Places cannot be
 *  found afterwards. Errors: FORMAT. */
LKS_NODISCARD lks_status_t lks_dcp_places_check_apart(lks_dcp_places_t *places);

#endif
