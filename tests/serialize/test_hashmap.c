/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/hashmap.h"
#include "support/support.h"

#include <stdio.h>

Test(hashmap, numbers_are_found_and_nothing_else)
{
    lks_intmap_t map = {0};
    cr_assert_eq(lks_intmap_get(&map, 0), SIZE_MAX);
    for (uint64_t i = 0; i < 10000; i++) {
        cr_assert(lks_intmap_set(&map, i * UINT64_C(0x100000000), (size_t)i));
    }
    cr_assert(lks_intmap_set(&map, 0, 77));
    cr_assert_eq(map.count, 10000);
    for (uint64_t i = 1; i < 10000; i++) {
        cr_assert_eq(lks_intmap_get(&map, i * UINT64_C(0x100000000)), i);
        cr_assert_eq(lks_intmap_get(&map, i), SIZE_MAX);
    }
    cr_assert_eq(lks_intmap_get(&map, 0), 77);
    lks_intmap_fini(&map);
}

Test(hashmap, texts_are_found_and_the_first_value_stays)
{
    static char texts[5000][16];
    lks_strmap_t map = {0};
    cr_assert_eq(lks_strmap_get(&map, "", 0), SIZE_MAX);
    for (size_t i = 0; i < 5000; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "data/%zu", i);
        cr_assert_eq(lks_strmap_add(&map, texts[i], strlen(texts[i]), i), i);
    }
    cr_assert_eq(lks_strmap_add(&map, "data/17", 7, 99), 17);
    cr_assert_eq(lks_strmap_add(&map, "data/1", 5, 5000), 5000, "the length counts, not the zero");
    for (size_t i = 0; i < 5000; i++) {
        cr_assert_eq(lks_strmap_get(&map, texts[i], strlen(texts[i])), i);
    }
    cr_assert_eq(lks_strmap_get(&map, "data/5000", 9), SIZE_MAX);
    lks_strmap_fini(&map);
}
