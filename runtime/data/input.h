/* SPDX-License-Identifier: Apache-2.0 */
/* input.h - reads a data file from front to back, gzip-ed or not, with errors that name it. */
#ifndef LOCKSTEP_RUNTIME_DATA_INPUT_H
#define LOCKSTEP_RUNTIME_DATA_INPUT_H

#include <lockstep/status.h>
#include <stddef.h>
#include <zlib.h>

typedef struct lks_input {
    gzFile file; /* passes bytes through where there is no gzip header */
    const char *path;
    size_t limit; /* more bytes than this cannot come out of a file of its size */
} lks_input_t;

/** `path` must outlive the input. Errors: IO, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_input_open(const char *path, lks_input_t *out);
void lks_input_close(lks_input_t *input);

/** Reads `nbytes` bytes; fewer only where the data end, which is also where gzip's checksum is compared.
 *  Errors: IO, NO_MEMORY, FORMAT (the gzip stream is cut off), CORRUPT (it is damaged). */
LKS_NODISCARD lks_status_t lks_input_read(lks_input_t *input, void *data, size_t nbytes,
                                          size_t *got);

#endif
