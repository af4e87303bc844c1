/* SPDX-License-Identifier: Apache-2.0 */
/* stream_storage.h - storages as torch wrote them before 1.6: an i64 number of elements and then these, little-endian,
 * wherever in the file that happens to be. Where the elements are aligned the storage lies in the mapped file; else in
 * memory that is filled when the bytes are first wanted. There is no checksum. */
#ifndef LOCKSTEP_SERIALIZE_STREAM_STORAGE_H
#define LOCKSTEP_SERIALIZE_STREAM_STORAGE_H

#include "serialize/bytes.h"
#include "serialize/source.h"
#include "serialize/value_node.h"

#include <pthread.h>

typedef struct lks_stream_storage {
    const unsigned char *bytes; /* in the file */
    unsigned char *memory;      /* to be filled from there; NULL: the storage lies in the file */
    size_t nbytes;
    _Atomic bool filled;
} lks_stream_storage_t;

typedef struct lks_stream {
    lks_source_t *source;
    lks_stream_storage_t *items; /* by storage of the tree */
    size_t capacity;
    pthread_mutex_t fill;
} lks_stream_t;

/** Sets the hooks of the tree; `source` is borrowed, storages in it retain it. */
void lks_stream_init(lks_source_t *source, lks_tree_t *tree, lks_stream_t *out);

/** After the tree was destroyed. */
void lks_stream_fini(lks_stream_t *stream);

/** Takes a count and as many elements of `itemsize` bytes from `input`, a cursor over bytes of the source, as what is or
 *  will be storage `index` of the tree. Errors: FORMAT (not all there), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_stream_take(lks_stream_t *stream, lks_bytes_t *input,
                                           size_t itemsize, size_t index, lks_storage_t **out);

#endif
