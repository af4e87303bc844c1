/* SPDX-License-Identifier: Apache-2.0 */
/* npz.h - NumPy's archives, as np.savez and np.savez_compressed write them: a zip archive of records NAME.npy, each an
 * array (npy.h), stored or deflated. Its values are a dict of tensors by name. A single array, a file .npy, is a
 * tensor alone, and only read.
 * npz.c reads, npz_write.c writes: records are stored, elements in C order at multiples of 64 bytes. Tensors that share
 * memory become arrays of their own; requires_grad and the like have no place. */
#ifndef LOCKSTEP_SERIALIZE_NPZ_H
#define LOCKSTEP_SERIALIZE_NPZ_H

#include "serialize/sink.h"

#include <lockstep/checkpoint.h>

#define LKS_NPY_SUFFIX ".npy"

/** Writes a dict of tensors. Errors: UNSUPPORTED (what NumPy cannot hold; the message names it), NO_MEMORY, and
 *  whatever making a storage's bytes valid meets (CORRUPT). */
LKS_NODISCARD lks_status_t lks_npz_save(const lks_tree_t *tree, const char *path,
                                        const lks_save_options_t *options, lks_sink_t *sink);

#endif
