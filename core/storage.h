/* SPDX-License-Identifier: Apache-2.0 */
/* storage.h - what the library itself does to a storage besides lockstep/tensor.h. */
#ifndef LOCKSTEP_CORE_STORAGE_H
#define LOCKSTEP_CORE_STORAGE_H

#include <lockstep/tensor.h>

/** Each becomes the other's memory, of as many bytes on the same device; references stay. Tensors over them stay valid,
 *  pointers that lks_tensor_data gave do not. */
void lks_storage_swap(lks_storage_t *a, lks_storage_t *b);

#endif
