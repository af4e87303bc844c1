/* SPDX-License-Identifier: Apache-2.0 */
/* memory.h - private memory that storages lie in, one or many. It costs nothing until it is filled, comes in
 * huge pages where the system has them, and goes with the last storage. */
#ifndef LOCKSTEP_SERIALIZE_MEMORY_H
#define LOCKSTEP_SERIALIZE_MEMORY_H

#include <lockstep/tensor.h>

typedef struct lks_memory {
    unsigned char *data;
    size_t size;
    void *map;
    size_t map_size;
    _Atomic size_t references;
} lks_memory_t;

/** `size` bytes, all zero, one reference. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_memory_create(size_t size, lks_memory_t **out);
void lks_memory_release(lks_memory_t *memory); /* NULL does nothing */

/** A storage over bytes [offset, offset + nbytes), which are there; it has a reference of its own.
 *  Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_memory_storage(lks_memory_t *memory, size_t offset, size_t nbytes,
                                              lks_storage_t **out);

#endif
