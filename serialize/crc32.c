/* SPDX-License-Identifier: Apache-2.0 */
/* crc32.c - ISA-L's, which uses carry-less multiplication: some ten times as fast as zlib's. Joining two is
 * arithmetic on the checksums alone, and zlib's. Of CRC-32C ISA-L leaves the inversion at both ends to the caller, and
 * counts bytes in an int. */
#include "serialize/crc32.h"

#include <isa-l/crc.h>
#include <limits.h>
#include <zlib.h>

uint32_t lks_crc32(uint32_t crc, const void *data, size_t nbytes)
{
    return nbytes > 0 ? crc32_gzip_refl(crc, data, nbytes) : crc;
}

uint32_t lks_crc32_join(uint32_t first, uint32_t second, size_t nbytes)
{
    return (uint32_t)crc32_combine(first, second, (z_off_t)nbytes);
}

uint32_t lks_crc32c(uint32_t crc, const void *data, size_t nbytes)
{
    unsigned char *at = (unsigned char *)(uintptr_t)data; /* only read */
    crc = ~crc;
    while (nbytes > 0) {
        int piece = nbytes < INT_MAX ? (int)nbytes : INT_MAX;
        crc = crc32_iscsi(at, piece, crc);
        at += piece;
        nbytes -= (size_t)piece;
    }
    return ~crc;
}
