/* SPDX-License-Identifier: Apache-2.0 */
/* mutate_archives.c - for targets whose input is a zip archive, or has one behind some bytes. */
#include "archive.h"
#include "fuzz.h"

size_t LLVMFuzzerCustomMutator(unsigned char *data, size_t size, size_t max_size, unsigned seed)
{
    return fuzz_mutate_archives(data, size, max_size, seed);
}
