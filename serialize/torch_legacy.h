/* SPDX-License-Identifier: Apache-2.0 */
/* torch_legacy.h - the stream that torch.save wrote before torch 1.6, one part right after the other:
 *     pickle   0x1950a86a20f9469cfc6c
 *     pickle   1001, the version of the protocol
 *     pickle   {'protocol_version': 1001, 'little_endian': True, 'type_sizes': {...}}
 *     pickle   the object, in which storages are persistent ids
 *     pickle   ['140', '150', ...], the keys of the storages
 *     for each key: i64 number of elements, the elements
 * Storages are little-endian on every machine, whatever the third pickle says, and there are no checksums. The
 * source texts that such a file may carry for the classes of modules are not kept.
 * torch_legacy.c reads, torch_legacy_write.c writes. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_LEGACY_H
#define LOCKSTEP_SERIALIZE_TORCH_LEGACY_H

#include "serialize/sink.h"

#include <lockstep/checkpoint.h>

#define LKS_LEGACY_MAGIC "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19" /* a little-endian int */
#define LKS_LEGACY_VERSION 1001

/** Writes a whole stream, of protocol 2. Errors: UNSUPPORTED (a value; the message names its path), NO_MEMORY, and
 *  whatever making a storage's bytes valid meets (CORRUPT). */
LKS_NODISCARD lks_status_t lks_torch_legacy_save(const lks_tree_t *tree, const char *path,
                                                 const lks_save_options_t *options,
                                                 lks_sink_t *sink);

#endif
