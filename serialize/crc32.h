/* SPDX-License-Identifier: Apache-2.0 */
/* crc32.h - the CRC-32 of zip, gzip and PNG; and CRC-32C (Castagnoli, RFC 3720), which TFRecord files have. */
#ifndef LOCKSTEP_SERIALIZE_CRC32_H
#define LOCKSTEP_SERIALIZE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/** Continues `crc` (0 at the start) over `nbytes` bytes. */
uint32_t lks_crc32(uint32_t crc, const void *data, size_t nbytes);

/** The checksum of some bytes and `nbytes` more behind them, from those of both parts. */
uint32_t lks_crc32_join(uint32_t first, uint32_t second, size_t nbytes);

/** Continues the CRC-32C `crc` (0 at the start) over `nbytes` bytes. */
uint32_t lks_crc32c(uint32_t crc, const void *data, size_t nbytes);

#endif
