/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_header.h - what the header of a safetensors file says, once all of it has been checked. */
#ifndef LOCKSTEP_SERIALIZE_SAFETENSORS_HEADER_H
#define LOCKSTEP_SERIALIZE_SAFETENSORS_HEADER_H

#include "serialize/safetensors.h"
#include "serialize/source.h"
#include "serialize/value_node.h"

typedef struct lks_safetensors_entry {
    lks_value_t *name; /* a str of the tree */
    const lks_safetensors_dtype_t *dtype;
    int ndim;
    int64_t *shape; /* in the tree, with the strides behind; counted in elements of dtype->dtype */
    size_t begin, end; /* in the data */
} lks_safetensors_entry_t;

typedef struct lks_safetensors_header {
    size_t data;                      /* where it begins in the file */
    lks_safetensors_entry_t *entries; /* in the order of the header */
    size_t count, capacity;
    lks_value_t *metadata; /* a dict of the tree; NULL where there is none */
} lks_safetensors_header_t;

/** Reads the header; names and shapes are put into the tree. `*out` is to be cleared also on failure. Whether an
 *  empty tensor is there twice is left to see for who makes a dict of them.
 *  Errors: FORMAT (a rule of the format is broken, or a limit), UNSUPPORTED (a dtype that is not known, part of a
 *  byte in the last dimension), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_safetensors_header_read(const lks_source_t *source,
                                                       const lks_checkpoint_limits_t *limits,
                                                       lks_tree_t *tree,
                                                       lks_safetensors_header_t *out);
void lks_safetensors_header_fini(lks_safetensors_header_t *header);

/** Whether the tensors follow each other from 0 to the end of the data, without holes and without overlap.
 *  Errors: FORMAT (they do not, or one that is there twice is in the way), NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_safetensors_check_places(const lks_safetensors_header_t *header,
                                                        size_t data_size);

/** FORMAT: the tensor is there twice. */
lks_status_t lks_safetensors_fail_twice(const lks_value_t *name);

#endif
