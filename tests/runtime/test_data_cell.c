/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_cell.c - numbers against strtof, and what is no number. */
#include "core/rng.h"
#include "runtime/data/cell.h"
#include "support/support.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static float number(const char *text)
{
    float value = -12345.0f;
    lks_cell_kind_t kind = lks_cell_float(text, strlen(text), &value);
    cr_assert(kind == LKS_CELL_NUMBER, "'%s' is kind %d", text, (int)kind);
    return value;
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

Test(data_cell, spellings_of_numbers)
{
    static const struct {
        const char *text;
        float value;
    } cases[] = {{"5", 5.0f},
                 {"5.1", 5.1f},
                 {"-5.1", -5.1f},
                 {"+5.1", 5.1f},
                 {"5.", 5.0f},
                 {".5", 0.5f},
                 {"1e3", 1000.0f},
                 {"1E+3", 1000.0f},
                 {"1e-3", 1e-3f},
                 {" \t7 ", 7.0f},
                 {"-0", -0.0f},
                 {"0e999999999", 0.0f},
                 {"1e-400", 0.0f},
                 {"1e-45", 0x1p-149f},
                 {"16777217", 16777216.0f},
                 {"16777219", 16777220.0f},
                 {"3.4028235e38", 0x1.fffffep127f},
                 {"007.50", 7.5f},
                 {"0.000000000000000000000000000001e30", 1.0f},
                 {"100000000000000000000000000000000000000e-38", 1.0f},
                 /* rounding by way of float64 gets these wrong */
                 {"4.599697329103947e-02", 0x1.78cea6p-5f},
                 {"0.5769707262516022", 0x1.2768b6p-1f},
                 {"6.106985807418823", 0x1.86d8dap+2f},
                 {"-.01751802582293749", -0x1.1f03eep-6f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float value = number(cases[i].text);
        cr_assert(same_bits(value, cases[i].value), "'%s' is %a, wanted %a", cases[i].text,
                  (double)value, (double)cases[i].value);
    }
}

Test(data_cell, random_decimals_are_those_of_strtof)
{
    lks_rng_t rng;
    lks_rng_init(&rng, 1, 1);
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = lks_rng_u32(&rng);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        char text[400];
        int digits = (int)lks_rng_below(&rng, 12);
        const char *format = i % 3 == 0 ? "%.*g" : i % 3 == 1 ? "%.*e" : "%.*f";
        double shown = i % 2 ? (double)value : (double)lks_rng_u32(&rng) / 1e5;
        (void)snprintf(text, sizeof text, format, digits, shown);
        float wanted = strtof(text, NULL);
        float found;
        lks_cell_kind_t kind = lks_cell_float(text, strlen(text), &found);
        if (isinf(wanted)) {
            cr_assert(kind == LKS_CELL_TOO_LARGE, "%s", text);
        } else {
            cr_assert(kind == LKS_CELL_NUMBER && same_bits(found, wanted), "%s", text);
        }
    }
}

Test(data_cell, an_exponent_far_away_is_undone_by_digits)
{
    char *text = malloc(1100010);
    cr_assert(text);
    memset(text, '0', 1100000); /* 0.000...01e1100000 */
    text[1] = '.';
    (void)snprintf(text + 1100000, 10, "1e1099999");
    float value = number(text);
    free(text);
    cr_assert(value == 1.0f, "%a", (double)value);
}

Test(data_cell, what_is_no_number)
{
    static const struct {
        const char *text;
        lks_cell_kind_t kind;
    } cases[] = {
        {"", LKS_CELL_EMPTY},
        {" \t", LKS_CELL_EMPTY},
        {"x", LKS_CELL_TEXT},
        {"1x", LKS_CELL_TEXT},
        {"1 2", LKS_CELL_TEXT},
        {"--1", LKS_CELL_TEXT},
        {".", LKS_CELL_TEXT},
        {"e5", LKS_CELL_TEXT},
        {"1e", LKS_CELL_TEXT},
        {"1e+", LKS_CELL_TEXT},
        {"0x10", LKS_CELL_TEXT},
        {"1,5", LKS_CELL_TEXT},
        {"1\n", LKS_CELL_TEXT},
        {"NA", LKS_CELL_TEXT},
        {"nano", LKS_CELL_TEXT},
        {"nan", LKS_CELL_NOT_FINITE},
        {"-NaN", LKS_CELL_NOT_FINITE},
        {"inf", LKS_CELL_NOT_FINITE},
        {"+Infinity", LKS_CELL_NOT_FINITE},
        {"1e39", LKS_CELL_TOO_LARGE},
        {"-1e400", LKS_CELL_TOO_LARGE},
        {"3.4028236e38", LKS_CELL_TOO_LARGE},
        {"1e99999999999999999999", LKS_CELL_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float value = 7.0f;
        lks_cell_kind_t kind = lks_cell_float(cases[i].text, strlen(cases[i].text), &value);
        cr_assert(kind == cases[i].kind, "'%s' is kind %d", cases[i].text, (int)kind);
        cr_assert(value == 7.0f);
    }
}

Test(data_cell, numbers_have_a_point_in_every_locale)
{
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8")) {
        cr_skip_test("no locale with a decimal comma is installed");
    }
    cr_assert(number("1.5") == 1.5f);
    cr_assert(number("1.500000000000000000001") == 1.5f);
}

Test(data_cell, integers)
{
    static const struct {
        const char *text;
        bool is;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {" 12 ", true, 12},
        {"-3", true, -3},
        {"+4", true, 4},
        {"007", true, 7},
        {"", false, 0},
        {"-", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"x", false, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", true, INT64_MAX},
        {"99999999999999999999999", true, INT64_MAX},
        {"-99999999999999999999999", true, -INT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t value = 0;
        bool is = lks_cell_integer(cases[i].text, strlen(cases[i].text), &value);
        cr_assert(is == cases[i].is && value == cases[i].value, "'%s': %d, %lld", cases[i].text, is,
                  (long long)value);
    }
}

Test(data_cell, utf8)
{
    static const struct {
        const char *text;
        bool is;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x8c\xb8", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xe9", false},
        {"\xc0\x80", false},
        {"\xe0\x80\x80", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xe2\x82", false},
        {"\x80", false},
        {"\xff", false},
        {"a\xc3", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert(lks_cell_is_utf8(cases[i].text, strlen(cases[i].text)) == cases[i].is, "case %zu",
                  i);
    }
}

Test(data_cell, an_excerpt_is_short_and_printable)
{
    char out[LKS_CELL_EXCERPT];
    cr_assert_str_eq(lks_cell_excerpt("setosa", 6, out), "setosa");
    cr_assert_str_eq(lks_cell_excerpt("a\n\x1b\xff\xc3\xa9", 6, out), "a???\xc3\xa9");
    cr_assert_str_eq(lks_cell_excerpt("\xc3\xa9", 2, out), "\xc3\xa9");
    char flowers[400];
    for (size_t i = 0; i < sizeof flowers; i += 4) {
        memcpy(flowers + i, "\xf0\x9f\x8c\xb8", 4);
    }
    (void)lks_cell_excerpt(flowers, sizeof flowers, out);
    size_t length = strlen(out);
    cr_assert(length < LKS_CELL_EXCERPT && length % 4 == 3, "%zu bytes", length);
    cr_assert_str_eq(out + length - 3, "...");
    cr_assert(lks_cell_is_utf8(out, length));
}
