/* SPDX-License-Identifier: Apache-2.0 */
/* JSON output: what a strict parser and a person both read. */
#include "runtime/cli/json_out.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

static char *text_of(const char *text, size_t nbytes)
{
    char *out;
    size_t length;
    FILE *stream = open_memstream(&out, &length);
    json_text(stream, text, nbytes);
    (void)fclose(stream);
    return out;
}

static void assert_text(const char *text, size_t nbytes, const char *want)
{
    char *got = text_of(text, nbytes);
    cr_assert_str_eq(got, want);
    free(got);
}

Test(json_out, escapes_what_json_escapes)
{
    assert_text("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    assert_text("\n\t\x01\x7f\0z", 6, "\"\\u000a\\u0009\\u0001\\u007f\\u0000z\"");
    assert_text("", 0, "\"\"");
}

Test(json_out, keeps_utf8_and_marks_what_is_none)
{
    assert_text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\xb8", 11,
                "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x8c\xb8\"");
    assert_text("\xff", 1, "\"\\ufffd\"");
    assert_text("\xc3", 1, "\"\\ufffd\"");                                  /* cut short */
    assert_text("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");                       /* overlong */
    assert_text("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* past U+10FFFF */
    assert_text("\xed\xa0\xbd", 3, "\"\\ud83d\"");                          /* a lone surrogate */
}

static void assert_float(double value, const char *want)
{
    char *out;
    size_t length;
    FILE *stream = open_memstream(&out, &length);
    json_float(stream, value);
    (void)fclose(stream);
    cr_assert_str_eq(out, want);
    free(out);
}

Test(json_out, floats_are_the_shortest_that_read_back)
{
    assert_float(0.1, "0.1");
    assert_float(1.0, "1.0");
    assert_float(-0.0, "-0.0");
    assert_float(1e300, "1e+300");
    assert_float(1.0 / 3.0, "0.3333333333333333");
    assert_float((double)NAN, "{\"float\": \"nan\"}");
    assert_float(-(double)INFINITY, "{\"float\": \"-inf\"}");
}
