/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_archive.h - one of the archives in a data file of a distributed checkpoint: a tensor, a chunk of one, a value. */
#ifndef LOCKSTEP_SERIALIZE_DCP_ARCHIVE_H
#define LOCKSTEP_SERIALIZE_DCP_ARCHIVE_H

#include "serialize/dcp_metadata.h"

/** Opens the archive of a chunk, whose range lies in the source. Errors: as lks_checkpoint_open. */
LKS_NODISCARD lks_status_t lks_dcp_archive_open(lks_source_t *source, const lks_dcp_chunk_t *chunk,
                                                const lks_checkpoint_limits_t *limits,
                                                lks_checkpoint_t **out);

/** The tensor in it, which must be what .metadata says of the chunk, in bytes of its own. Errors: FORMAT. */
LKS_NODISCARD lks_status_t lks_dcp_archive_tensor(const lks_checkpoint_t *archive,
                                                  const lks_dcp_item_t *item,
                                                  const lks_dcp_chunk_t *chunk,
                                                  const lks_value_t **out);

/** True for a tensor that is neither quantized nor has attributes. */
bool lks_dcp_is_plain(const lks_value_t *tensor);

/** Verifies the tensor's bytes and, unless `whole` is NULL, copies them to their place in the whole tensor. `name` is
 *  what messages call that. Errors: CORRUPT, FORMAT, UNSUPPORTED (a chunk that is not only elements), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_archive_load(const lks_checkpoint_t *archive,
                                                const lks_dcp_item_t *item,
                                                const lks_dcp_chunk_t *chunk, void *whole,
                                                const char *name);

#endif
