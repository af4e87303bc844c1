/* SPDX-License-Identifier: Apache-2.0 */
/* shared_file.h - memory files that other processes of a machine map: one makes the file, tells the others where it is, and all
 * find it by way of /proc. No name could stay behind, and the memory lives as long as anybody maps it. */
#ifndef LOCKSTEP_COLLECTIVES_SHARED_FILE_H
#define LOCKSTEP_COLLECTIVES_SHARED_FILE_H

#include <stddef.h>
#include <stdint.h>

/** Where a file is, as bytes that mean the same to all processes. */
typedef struct lks_shared_file {
    int64_t pid, file; /* file -1: there is none */
    int64_t nbytes;
    int64_t error; /* an errno; 0: none */
} lks_shared_file_t;

/** A file of zeros, to be closed when all have mapped it. */
lks_shared_file_t lks_shared_file_make(size_t nbytes);
void lks_shared_file_close(const lks_shared_file_t *file);

/** Maps a file of any process of this machine, to be unmapped by munmap. Returns an errno; 0: `*out` is set. */
int lks_shared_file_map(const lks_shared_file_t *file, void **out);

#endif
