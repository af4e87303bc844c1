/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/utf8.h"
#include "support/support.h"

Test(utf8, every_code_point_survives)
{
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        unsigned char text[4];
        size_t nbytes = (size_t)(lks_utf8_put(text, code) - text);
        uint32_t back = UINT32_MAX;
        cr_assert(lks_utf8_valid(text, nbytes), "U+%04X", code);
        cr_assert_eq(lks_utf8_get(text, &back), text + nbytes);
        cr_assert_eq(back, code);
        cr_assert_not(nbytes > 1 && lks_utf8_valid(text, nbytes - 1), "U+%04X, cut", code);
    }
}

Test(utf8, what_is_no_utf8_is_refused)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "abcdefgh\xc3",
                                      "\xc3(",
                                      "\xe2\x82(",
                                      "\xe2(\xac"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_not(lks_utf8_valid(bad[i], strlen(bad[i])), "case %zu", i);
    }
    cr_assert(lks_utf8_valid("", 0));
    cr_assert(lks_utf8_valid("0123456789 \xc3\xa4 \xed\xa0\x80", 17), "surrogates pass");
}
