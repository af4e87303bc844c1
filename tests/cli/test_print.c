/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of listings: what printf would write. */
#include "runtime/cli/print.h"
#include "support/support.h"

#include <inttypes.h>
#include <stdlib.h>

Test(print, ints_are_as_printf_writes_them)
{
    static const int64_t numbers[] = {0, 7, -1, 10, 1234567890123, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char *got, want[32];
        size_t length;
        FILE *stream = open_memstream(&got, &length);
        cr_assert_eq((int)print_int(stream, numbers[i]),
                     snprintf(want, sizeof want, "%" PRId64, numbers[i]));
        (void)fclose(stream);
        cr_assert_str_eq(got, want);
        free(got);
    }
}

Test(print, lengths_are_those_of_the_texts)
{
    char *got;
    size_t length;
    FILE *stream = open_memstream(&got, &length);
    size_t ints = print_ints(stream, 3, (const int64_t[]){64, 3, -7});
    print_spaces(stream, ints, 12);
    print_spaces(stream, 5, 2); /* no room: nothing */
    cr_assert_eq(print_text(stream, "end"), 3);
    (void)fclose(stream);
    cr_assert_eq(ints, 9);
    cr_assert_str_eq(got, "64, 3, -7   end");
    free(got);
}

static void assert_bytes(uint64_t nbytes, const char *want)
{
    char text[BYTES_TEXT_MAX];
    cr_assert_str_eq(format_bytes(text, nbytes), want);
}

Test(print, bytes_have_three_digits)
{
    assert_bytes(0, "0 B");
    assert_bytes(999, "999 B");
    assert_bytes(1000, "1 kB");
    assert_bytes(1050, "1.05 kB");
    assert_bytes(9994, "9.99 kB");
    assert_bytes(9996, "10 kB");
    assert_bytes(10500, "10.5 kB");
    assert_bytes(99940, "99.9 kB");
    assert_bytes(99960, "100 kB");
    assert_bytes(999499, "999 kB");
    assert_bytes(999501, "1 MB");
    assert_bytes(1500000000, "1.5 GB");
    assert_bytes(UINT64_MAX, "18.4 EB");
}
