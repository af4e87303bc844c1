/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_metadata_write.h - the pickle of dcp_metadata.h, as torch 2.6 would have written it. */
#ifndef LOCKSTEP_SERIALIZE_DCP_METADATA_WRITE_H
#define LOCKSTEP_SERIALIZE_DCP_METADATA_WRITE_H

#include "core/strbuf.h"
#include "serialize/dcp_flatten.h"

#define LKS_DCP_FILE_NAME_MAX 40

/** "__0_3.distcp" */
void lks_dcp_file_name(char name[LKS_DCP_FILE_NAME_MAX], size_t file);

/** Appends what describes the leaves; values are built in `out`, the tree of their paths.
 *  Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_dcp_metadata_write(const lks_dcp_leaves_t *leaves, lks_tree_t *out,
                                                  lks_strbuf_t *pickle);

#endif
