/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_chunk.h - tensors cut into chunks: whether those fit together, and putting them together. */
#ifndef LOCKSTEP_SERIALIZE_DCP_CHUNK_H
#define LOCKSTEP_SERIALIZE_DCP_CHUNK_H

#include "serialize/dcp_metadata.h"

/** Checks that every element of the tensor is in exactly one of the item's chunks (which have elements).
 *  Errors: FORMAT, UNSUPPORTED (cut along more than LKS_DCP_CUTS_MAX dimensions). */
#define LKS_DCP_CUTS_MAX 10
LKS_NODISCARD lks_status_t lks_dcp_check_tiles(const lks_dcp_item_t *item);

/** A chunk's elements on their way into the whole tensor. */
typedef struct lks_dcp_scatter {
    unsigned char *whole; /* in C order, item->nbytes */
    const lks_dcp_item_t *item;
    const lks_dcp_chunk_t *chunk;
    int outer;         /* dimensions above the runs */
    size_t run_nbytes; /* of elements that lie together in the whole */
    size_t done;       /* bytes so far */
} lks_dcp_scatter_t;

lks_dcp_scatter_t lks_dcp_scatter_to(void *whole, const lks_dcp_item_t *item,
                                     const lks_dcp_chunk_t *chunk);

/** Takes the next bytes of the chunk in C order; for lks_tensor_pack. */
void lks_dcp_scatter_write(void *scatter, const void *data, size_t nbytes);

#endif
