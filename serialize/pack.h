/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h - the elements of a tensor, one behind the other in C order: what formats without strides hold.
 * Tensors may be views of any kind: transposed, sliced, expanded, of any number of dimensions. */
#ifndef LOCKSTEP_SERIALIZE_PACK_H
#define LOCKSTEP_SERIALIZE_PACK_H

#include <lockstep/value.h>

/** Bytes of its elements. An expanded tensor may claim far more than its storage has.
 *  Errors: INVALID_ARG (they do not fit 63 bits). */
LKS_NODISCARD lks_status_t lks_tensor_packed_size(const lks_value_tensor_t *tensor,
                                                  uint64_t *nbytes);

/** True if the elements lie in the storage as they would be packed: one piece in C order. */
bool lks_tensor_is_packed(const lks_value_tensor_t *tensor);

/** An order of dtypes, shapes and strides; 0 if they are the same. */
int lks_tensor_compare_layout(const lks_value_tensor_t *a, const lks_value_tensor_t *b);

/** Calls write(context, bytes, nbytes) with the elements of a tensor in C order; the bytes of its storage must be
 *  valid (lks_tree_load_storage). A tensor in one piece is one call, an empty one none, others come in chunks through
 *  a buffer of 32 KiB. Whether the tensor is conjugated, negative or quantized is the caller's to look at.
 *  Errors: INVALID_ARG (more than 2^63 elements). */
LKS_NODISCARD lks_status_t lks_tensor_pack(const lks_tree_t *tree, const lks_value_tensor_t *tensor,
                                           void (*write)(void *context, const void *data,
                                                         size_t nbytes),
                                           void *context);

#endif
