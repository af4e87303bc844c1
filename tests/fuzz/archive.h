/* SPDX-License-Identifier: Apache-2.0 */
/* archive.h - mutations of inputs with zip archives in them, which leave checksums and offsets right: otherwise hardly
 * an input would get past them. */
#ifndef LOCKSTEP_TESTS_ARCHIVE_H
#define LOCKSTEP_TESTS_ARCHIVE_H

#include <stddef.h>

/** libFuzzer's own mutation, of all of `data` or of the bytes of one stored record, which may become longer and move
 *  what stands behind it; then, most of the time, the CRC-32 of every stored record is made right. Archives may stand
 *  anywhere in `data`. Returns the new size. */
size_t fuzz_mutate_archives(unsigned char *data, size_t size, size_t max_size, unsigned seed);

#endif
