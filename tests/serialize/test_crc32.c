/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/crc32.h"
#include "support/support.h"

#include <zlib.h>

Test(crc32, is_the_crc_of_zip)
{
    cr_assert_eq(lks_crc32(0, "123456789", 9), 0xcbf43926u);
    cr_assert_eq(lks_crc32(0, NULL, 0), 0);
}

Test(crc32, continues_over_pieces_of_any_size)
{
    unsigned char data[4096];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 31 + i / 7);
    }
    for (size_t piece = 1; piece < 600; piece += 7) {
        uint32_t crc = 0;
        for (size_t at = 0; at < sizeof data; at += piece) {
            crc = lks_crc32(crc, data + at, piece < sizeof data - at ? piece : sizeof data - at);
        }
        cr_assert_eq(crc, crc32(0, data, sizeof data));
    }
}
