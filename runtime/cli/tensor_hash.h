/* SPDX-License-Identifier: Apache-2.0 */
/* tensor_hash.h - the SHA-256 of a tensor's elements, packed in C order, little-endian. */
#ifndef LOCKSTEP_CLI_TENSOR_HASH_H
#define LOCKSTEP_CLI_TENSOR_HASH_H

#include <lockstep/checkpoint.h>

/** Writes 64 hexadecimal digits and a zero. Verifies the record's checksum first.
 *  Errors: CORRUPT; UNSUPPORTED (a view of more than 2^24 elements that claims more than 64 times its storage's bytes;
 *  this machine has no libcrypto, which is opened for the first hash).
 *  Threads: one at a time. */
LKS_NODISCARD lks_status_t tensor_hash(lks_checkpoint_t *checkpoint, const lks_value_t *value,
                                       const char *path, char out[65]);

#endif
