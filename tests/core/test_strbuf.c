/* SPDX-License-Identifier: Apache-2.0 */
/* test_strbuf.c - text that grows. */
#include "core/strbuf.h"
#include "support/support.h"

#include <stdint.h>

Test(strbuf, empty_is_the_empty_text)
{
    lks_strbuf_t buf = {0};
    cr_assert(lks_strbuf_ok(&buf));
    cr_assert_str_eq(lks_strbuf_text(&buf), "");
    lks_strbuf_clear(&buf);
    lks_strbuf_fini(&buf);
}

Test(strbuf, appends_bytes_text_and_formats)
{
    lks_strbuf_t buf = {0};
    lks_strbuf_append_str(&buf, "ab");
    lks_strbuf_append(&buf, "c\0d", 3);
    lks_strbuf_appendf(&buf, "%d%s", 12, "x");
    lks_strbuf_append(&buf, NULL, 0);
    cr_assert_eq(buf.length, 8);
    cr_assert_arr_eq(lks_strbuf_text(&buf),
                     "ab"
                     "c\0d"
                     "12x",
                     9);
    lks_strbuf_fini(&buf);
}

Test(strbuf, grows_past_every_capacity)
{
    lks_strbuf_t buf = {0};
    for (int i = 0; i < 5000; i++) {
        lks_strbuf_appendf(&buf, "%c", 'a' + i % 26);
        cr_assert_eq(buf.data[buf.length], '\0');
    }
    cr_assert(lks_strbuf_ok(&buf));
    cr_assert_eq(buf.length, 5000);
    for (int i = 0; i < 5000; i++) {
        cr_assert_eq(buf.data[i], 'a' + i % 26);
    }
    lks_strbuf_fini(&buf);
}

Test(strbuf, format_longer_than_the_buffer_is_whole)
{
    lks_strbuf_t buf = {0};
    lks_strbuf_appendf(&buf, "%*d", 1000, 7);
    cr_assert_eq(buf.length, 1000);
    cr_assert_eq(buf.data[999], '7');
    lks_strbuf_fini(&buf);
}

Test(strbuf, clear_keeps_the_memory)
{
    lks_strbuf_t buf = {0};
    lks_strbuf_append_str(&buf, "something");
    size_t capacity = buf.capacity;
    lks_strbuf_clear(&buf);
    cr_assert_eq(buf.length, 0);
    cr_assert_eq(buf.capacity, capacity);
    cr_assert_str_eq(lks_strbuf_text(&buf), "");
    lks_strbuf_fini(&buf);
}

Test(strbuf, failure_sticks_and_keeps_the_text)
{
    lks_strbuf_t buf = {0};
    lks_strbuf_append_str(&buf, "kept");
    lks_strbuf_append(&buf, "", SIZE_MAX);
    cr_assert_not(lks_strbuf_ok(&buf));
    lks_strbuf_append_str(&buf, "dropped");
    lks_strbuf_appendf(&buf, "%s", "dropped");
    cr_assert_not(lks_strbuf_ok(&buf));
    cr_assert_str_eq(lks_strbuf_text(&buf), "kept");
    lks_strbuf_fini(&buf);
    cr_assert(lks_strbuf_ok(&buf));
}
