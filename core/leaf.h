/* SPDX-License-Identifier: Apache-2.0 */
/* leaf.h - leaf libraries: what stands on a heavy library (CUDA, MPI) is a library of its own,
 * liblockstep_<name>.so, opened when first used. It exports one function, lks_leaf_<name>, that returns its
 * table, and uses nothing of liblockstep. */
#ifndef LOCKSTEP_CORE_LEAF_H
#define LOCKSTEP_CORE_LEAF_H

#include <lockstep/status.h>

/** Opens liblockstep_<name>.so, from the folder LOCKSTEP_LIBDIR, else the folder of liblockstep itself, else
 *  the loader's search path, and calls lks_leaf_<name>(version). A leaf stays open. Thread-safe.
 *  Errors: UNSUPPORTED (absent, or what it stands on is; the sentence gives the loader's reason; or the leaf
 *  was built for another table version). */
LKS_NODISCARD lks_status_t lks_leaf_open(const char *name, int version, const void **table);

#endif
