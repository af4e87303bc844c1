/* SPDX-License-Identifier: Apache-2.0 */
/* overflow.c - one byte past the end of a block: AddressSanitizer must turn this test red. */
#include <criterion/criterion.h>
#include <stdlib.h>

Test(planted, overflow)
{
    volatile size_t count = 64;
    volatile char *block = malloc(count); /* volatile: the compiler may not drop the store */
    cr_assert(block != NULL);
    block[count] = 1;
    free((void *)block);
}
