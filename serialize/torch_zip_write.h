/* SPDX-License-Identifier: Apache-2.0 */
/* torch_zip_write.h - an archive of torch.save piece by piece, in a file of its own or in a part of one. */
#ifndef LOCKSTEP_SERIALIZE_TORCH_ZIP_WRITE_H
#define LOCKSTEP_SERIALIZE_TORCH_ZIP_WRITE_H

#include "serialize/zip_write.h"

#include <lockstep/value.h>

/** An archive being written, from the sink's position on. In this order: begin, storages, end; fini always. */
typedef struct lks_torch_zip_writer {
    lks_zip_writer_t zip;
    const char *root;
} lks_torch_zip_writer_t;

/** The archive of a pickle, which is borrowed until the end. `root` is at most 255 bytes long. */
lks_torch_zip_writer_t lks_torch_zip_begin(lks_sink_t *sink, const char *root,
                                           const lks_strbuf_t *pickle);

/** The storage that the pickle calls `key`. Its bytes are borrowed until the end; `*crc` (unless NULL) is set when they
 *  are written. */
void lks_torch_zip_add(lks_torch_zip_writer_t *writer, size_t key, const void *data, size_t nbytes,
                       uint32_t *crc);

/** The same of a tensor's elements in C order; its storage is loaded. Errors: INVALID_ARG (too many). */
LKS_NODISCARD lks_status_t lks_torch_zip_add_packed(lks_torch_zip_writer_t *writer, size_t key,
                                                    const lks_tree_t *tree,
                                                    const lks_value_tensor_t *tensor);
LKS_NODISCARD lks_status_t lks_torch_zip_end(lks_torch_zip_writer_t *writer);
void lks_torch_zip_fini(lks_torch_zip_writer_t *writer);

/** At most this many bytes of the archive belong to the storage of `nbytes` bytes; and to an archive with a pickle of
 *  `nbytes` bytes besides its storages. */
uint64_t lks_torch_zip_storage_bound(const char *root, uint64_t nbytes);
uint64_t lks_torch_zip_bound(const char *root, uint64_t nbytes);

#endif
