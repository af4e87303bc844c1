/* SPDX-License-Identifier: Apache-2.0 */
/* dcp.h - directories of torch.distributed.checkpoint ("DCP"):
 *     .metadata        what there is and where, see dcp_metadata.h
 *     __R_N.distcp     written by rank R: archives of torch.save, one behind the other, of one tensor (or the part of
 *                      one that rank R has) or one other value each
 * dcp.c reads: a tensor in one chunk stays in the mapped file, one of several is put together when its bytes are first
 * wanted. dcp_write.c writes, as one rank. */
#ifndef LOCKSTEP_SERIALIZE_DCP_H
#define LOCKSTEP_SERIALIZE_DCP_H

#include "serialize/folder.h"

#include <lockstep/checkpoint.h>

#define LKS_DCP_METADATA ".metadata"

/** Writes .metadata, __0_0.distcp and, once a file has options->shard_size bytes, __0_1.distcp and so on.
 *  Errors: UNSUPPORTED (a value; the message names its path), NO_MEMORY, and whatever making a storage's bytes valid
 *  meets (CORRUPT). */
LKS_NODISCARD lks_status_t lks_dcp_save(const lks_tree_t *tree, const lks_save_options_t *options,
                                        lks_folder_t *folder);

/** True for ".metadata", the ".metadata.tmp" that a failed save of torch leaves, and "*.distcp". */
bool lks_dcp_is_part(const char *name);

#endif
