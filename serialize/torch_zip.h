/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip.h - torch.save's zip archives, since torch 1.6:
 *     ROOT/data.pkl                 the object, a pickle in which storages are persistent ids
 *     ROOT/byteorder                "little" or "big" (since 2.1)
 *     ROOT/data/0, ROOT/data/1 ...  the bytes of storage 0, 1, ...
 *     ROOT/version                  "3\n"
 *     ROOT/.data/serialization_id   a fingerprint (since 2.1)
 * ROOT is the file's name without its extension. Records are stored, payloads lie at multiples of 64 bytes.
 * torch_zip.c reads, torch_zip_write.c writes. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_ZIP_H
#define LOCKSTEP_SERIALIZE_TORCH_ZIP_H

#include "serialize/sink.h"

#include <lockstep/checkpoint.h>

/** Writes a whole archive. Errors: UNSUPPORTED (a value; the message names its path), NO_MEMORY, and whatever
 *  making a storage's bytes valid meets (CORRUPT). */
LKS_NODISCARD lks_status_t lks_torch_zip_save(const lks_tree_t *tree, const char *path,
                                              const lks_save_options_t *options, lks_sink_t *sink);

#endif
