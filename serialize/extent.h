/* SPDX-License-Identifier: Apache-2.0 */
/* extent.h - long runs of bytes that several threads pass over, block by block.
 * Each block is checksummed, and written or read, by one thread while it is in that core's cache; the
 * checksums of the blocks are joined into that of the extent. What comes out does not depend on the number of
 * threads. */
#ifndef LOCKSTEP_SERIALIZE_EXTENT_H
#define LOCKSTEP_SERIALIZE_EXTENT_H

#include <lockstep/status.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes of a block, at most. Large: a file system lays out what comes in large writes in large pages. */
#define LKS_EXTENT_BLOCK ((size_t)8 << 20)

typedef struct lks_extent {
    const unsigned char *data;
    size_t nbytes;
    uint64_t offset; /* in a file, for a visit that writes or reads it */
    uint32_t crc;    /* CRC-32 of all bytes; set by the pass */
} lks_extent_t;

/** Does what is to be done to the block [at, at + nbytes) of an extent and returns its CRC-32. Called from
 *  many threads at once; a failure is kept in the context. */
typedef uint32_t lks_extent_visit_t(void *context, const lks_extent_t *extent, size_t at,
                                    size_t nbytes);

/** Passes over all extents on up to `threads` threads, and fewer for few bytes; 0: one for each core.
 *  `visit` NULL only checksums. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_extents_pass(lks_extent_t *extents, size_t count, size_t threads,
                                            lks_extent_visit_t *visit, void *context);

#endif
