/* SPDX-License-Identifier: Apache-2.0 */
/* leak.c - memory nobody frees: LeakSanitizer must turn this test red, though every assertion holds. */
#include <criterion/criterion.h>
#include <stdlib.h>

Test(planted, leak)
{
    void *volatile block = malloc(64);
    cr_assert(block != NULL);
    block = NULL;
}
