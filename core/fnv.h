/* SPDX-License-Identifier: Apache-2.0 */
/* fnv.h - FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): a digest, not a defence. */
#ifndef LOCKSTEP_CORE_FNV_H
#define LOCKSTEP_CORE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define LKS_FNV_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t lks_fnv_byte(uint64_t hash, unsigned char byte)
{
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static inline uint64_t lks_fnv(uint64_t hash, const void *data, size_t nbytes)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < nbytes; i++) {
        hash = lks_fnv_byte(hash, bytes[i]);
    }
    return hash;
}

#endif
