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

Test(crc32, two_parts_join_at_every_point)
{
    unsigned char data[1500];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 13 + i / 5);
    }
    uint32_t whole = lks_crc32(0, data, sizeof data);
    for (size_t at = 0; at <= sizeof data; at++) {
        uint32_t first = lks_crc32(0, data, at);
        uint32_t second = lks_crc32(0, data + at, sizeof data - at);
        cr_assert_eq(lks_crc32_join(first, second, sizeof data - at), whole, "at %zu", at);
    }
}

Test(crc32, parts_of_more_than_four_gigabytes_join)
{
    static const unsigned char zeros[1 << 20];
    size_t nbytes = ((size_t)1 << 32) + 12345;
    uint32_t whole = lks_crc32(0, "x", 1), second = 0;
    for (size_t at = 0; at < nbytes; at += sizeof zeros) {
        size_t length = nbytes - at < sizeof zeros ? nbytes - at : sizeof zeros;
        whole = lks_crc32(whole, zeros, length);
        second = lks_crc32(second, zeros, length);
    }
    cr_assert_eq(lks_crc32_join(lks_crc32(0, "x", 1), second, nbytes), whole);
}

/* The vectors of RFC 3720, B.4, and the check value of the polynomial. */
Test(crc32c, is_the_crc_of_iscsi)
{
    unsigned char data[32];
    cr_assert_eq(lks_crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(lks_crc32c(0, NULL, 0), 0);
    memset(data, 0, sizeof data);
    cr_assert_eq(lks_crc32c(0, data, sizeof data), 0x8a9136aau);
    memset(data, 0xff, sizeof data);
    cr_assert_eq(lks_crc32c(0, data, sizeof data), 0x62a8ab43u);
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)i;
    }
    cr_assert_eq(lks_crc32c(0, data, sizeof data), 0x46dd794eu);
}

Test(crc32c, continues_over_pieces_of_any_size)
{
    unsigned char data[700];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 17 + i / 3);
    }
    uint32_t whole = lks_crc32c(0, data, sizeof data);
    for (size_t at = 0; at <= sizeof data; at++) {
        uint32_t first = lks_crc32c(0, data, at);
        cr_assert_eq(lks_crc32c(first, data + at, sizeof data - at), whole, "at %zu", at);
    }
}
