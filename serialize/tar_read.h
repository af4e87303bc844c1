/* SPDX-License-Identifier: Apache-2.0 */
/* tar_read.h - finding members of a tar archive: a header of 512 bytes, the contents, zeros up to the next multiple of
 * 512, and again; a block of zeros ends it.
 *     0 name [100]   124 size [12]   148 checksum [8]   156 type   257 "ustar"   345 prefix of the name [155]
 * Numbers are octal text, or big-endian behind a byte 0x80. Members of type 'x' hold records "21 path=storages\n" that
 * override what the header of the next member says (POSIX.1-2001, pax). */
#ifndef LOCKSTEP_SERIALIZE_TAR_READ_H
#define LOCKSTEP_SERIALIZE_TAR_READ_H

#include "serialize/bytes.h"

#include <lockstep/status.h>

typedef struct lks_tar_member {
    const char *name; /* what is looked for */
    lks_bytes_t contents;
    bool found;
} lks_tar_member_t;

/** True if the bytes begin with a header. */
bool lks_tar_probe(const unsigned char *data, size_t size);

/** Sets the contents of each of `count` members that the archive has, as cursors over its bytes from the start of the
 *  archive on. Others are passed over. Errors: FORMAT (a header's checksum, a member that is not all there or stands
 *  twice). */
LKS_NODISCARD lks_status_t lks_tar_find(const unsigned char *data, size_t size,
                                        lks_tar_member_t *members, size_t count);

#endif
