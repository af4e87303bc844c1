/* SPDX-License-Identifier: Apache-2.0 */
/* tsan_rand.c - Criterion's allocator picks a random address for the arena it shares with its test processes;
 * most of them lie where ThreadSanitizer allows no mapping and it aborts at start. With this rand_r every
 * address it draws lies in the range that TSan leaves to the program. Linked in the tsan preset only. */
#include <lockstep/api.h>

/* LKS_API: Criterion is a shared library and must find this one before TSan's and libc's. */
LKS_API int rand_r(unsigned *seed);

int rand_r(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return (int)(0x350000u + (*seed >> 8) % 0x17000u);
}
