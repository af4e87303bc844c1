/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/json_read.h"
#include "support/support.h"

#include <stdlib.h>

/* Skips the whole text. */
static lks_status_t skip_n(const char *text, size_t nbytes)
{
    /* Exactly as much memory as there is text: a sanitizer sees who reads on. */
    char *copy = malloc(nbytes > 0 ? nbytes : 1);
    cr_assert(copy);
    memcpy(copy, text, nbytes);
    lks_json_t json;
    lks_json_init(&json, "text", copy, nbytes);
    lks_json_skip(&json);
    lks_json_end(&json);
    lks_json_fini(&json);
    free(copy);
    return json.status;
}

static lks_status_t skip(const char *text)
{
    return skip_n(text, strlen(text));
}

Test(json_read, valid_texts)
{
    static const char *const texts[] = {
        "null",
        " true ",
        "\t\r\n false",
        "0",
        "-0",
        "-12.50e+10",
        "1E5",
        "0.25",
        "\"\"",
        "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
        "[]",
        "[[],{}, 1]",
        "{}",
        "{\"a\":{\"b\":[1,{\"c\":null}]},\"\":true}",
        "\"\x7f\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_ok(skip(texts[i]));
        for (size_t length = 0; length < strlen(texts[i]) && texts[i][0] > '9'; length++) {
            cr_assert_eq(skip_n(texts[i], length), LKS_ERR_FORMAT, "%.*s", (int)length, texts[i]);
        }
    }
}

Test(json_read, invalid_texts)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "text at byte 0: it ends where a value is wanted"},
        {"  ", "at byte 2: it ends"},
        {"nul", "wants a value, found 'n'"},
        {"nulll", "wants its end, found 'l'"},
        {"{} {}", "wants its end, found '{'"},
        {"[1,]", "wants a value, found ']'"},
        {"[,1]", "wants a value, found ','"},
        {"[1 2]", "wants ',' or ']', found '2'"},
        {"[1}", "wants ',' or ']', found '}'"},
        {"{\"a\":1,}", "wants a key, found '}'"},
        {"{\"a\" 1}", "wants ':', found '1'"},
        {"{a:1}", "wants a key, found 'a'"},
        {"{1:1}", "wants a key, found '1'"},
        {"{\"a\":}", "wants a value, found '}'"},
        {"01", "wants its end, found '1'"},
        {"-", "ends where a digit"},
        {"+1", "wants a value, found '+'"},
        {".5", "wants a value"},
        {"1.", "ends where a digit"},
        {"1e", "ends where a digit"},
        {"1.e5", "wants a digit, found 'e'"},
        {"0x10", "wants its end"},
        {"NaN", "wants a value"},
        {"Infinity", "wants a value"},
        {"'a'", "wants a value"},
        {"/* */ 1", "wants a value"},
        {"\"a\nb\"", "wants a character of a string, found byte 0a"},
        {"\"\\x\"", "wants an escape, found 'x'"},
        {"\"\\u12g4\"", "wants a hexadecimal digit, found 'g'"},
        {"\"\\ud800\"", "a surrogate that is not one of a pair"},
        {"\"\\udc00\\ud800\"", "a surrogate"},
        {"\"\\ud800\\n\"", "a surrogate"},
        {"\"\\ud800\\u0041\"", "a surrogate"},
        {"\"\xff\"", "text is no valid UTF-8"},
        {"\"\xed\xa0\x80\"", "text is no valid UTF-8"},
        {"\"\xc0\x80\"", "text is no valid UTF-8"},
        {"\xef\xbb\xbf{}", "wants a value, found byte ef"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(skip(cases[i].text), LKS_ERR_FORMAT, cases[i].why);
    }
    assert_fails(skip_n("\"a\0b\"", 5), LKS_ERR_FORMAT, "found byte 00");
}

static lks_status_t skip_nested(size_t depth)
{
    char *text = malloc(2 * depth);
    cr_assert(text);
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    lks_status_t status = skip_n(text, 2 * depth);
    free(text);
    return status;
}

Test(json_read, depth_is_bounded)
{
    assert_ok(skip_nested(LKS_JSON_DEPTH_MAX));
    assert_fails(skip_nested(LKS_JSON_DEPTH_MAX + 1), LKS_ERR_FORMAT, "more than 128 values");
    assert_fails(skip_nested(1000000), LKS_ERR_FORMAT, "more than 128 values");
}

static lks_json_t start(const char *text)
{
    lks_json_t json;
    lks_json_init(&json, "text", text, strlen(text));
    return json;
}

Test(json_read, pieces_are_pulled_in_order)
{
    lks_json_t json =
        start(" { \"a\\u0000b\" : [ 0 , 18446744073709551615 ] , \"n\":null,\"\":\"x\"} ");
    lks_json_text_t text;
    uint64_t number = 1;
    cr_assert(lks_json_enter(&json, '{'));
    cr_assert(lks_json_next_key(&json, &text));
    cr_assert(text.nbytes == 3 && memcmp(text.text, "a\0b", 3) == 0);
    cr_assert(!lks_json_take_null(&json));
    cr_assert(lks_json_enter(&json, '['));
    cr_assert(lks_json_next_item(&json) && lks_json_uint(&json, &number) && number == 0);
    cr_assert(lks_json_next_item(&json) && lks_json_uint(&json, &number) && number == UINT64_MAX);
    cr_assert(!lks_json_next_item(&json));
    cr_assert(lks_json_next_key(&json, &text) && lks_json_is(text, "n"));
    cr_assert(lks_json_take_null(&json));
    cr_assert(lks_json_next_key(&json, &text) && lks_json_is(text, ""));
    cr_assert(lks_json_string(&json, &text) && lks_json_is(text, "x") && !lks_json_is(text, "xy"));
    cr_assert(!lks_json_next_key(&json, &text));
    lks_json_end(&json);
    assert_ok(json.status);
    lks_json_fini(&json);
}

Test(json_read, counts_are_plain_digits)
{
    static const char *const texts[] = {"-0",  "-1", "1.0",   "1e3",  "0e0",
                                        "01",  "00", "\"1\"", "null", "18446744073709551616",
                                        "1E1", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        lks_json_t json = start(texts[i]);
        uint64_t number = 77;
        cr_assert(!lks_json_uint(&json, &number), "%s", texts[i]);
        cr_assert_eq(json.status, LKS_ERR_FORMAT);
        cr_assert_eq(number, 77);
    }
}

Test(json_read, the_first_error_sticks)
{
    lks_json_t json = start("[1, x, {\"a\": 2}]");
    lks_json_text_t text;
    uint64_t number;
    cr_assert(lks_json_enter(&json, '[') && lks_json_next_item(&json));
    cr_assert(lks_json_uint(&json, &number) && lks_json_next_item(&json));
    cr_assert(!lks_json_enter(&json, '{'));
    cr_assert(!lks_json_next_item(&json) && !lks_json_next_key(&json, &text));
    cr_assert(!lks_json_string(&json, &text) && !lks_json_uint(&json, &number));
    cr_assert(!lks_json_take_null(&json));
    lks_json_skip(&json);
    lks_json_end(&json);
    lks_json_fail(&json, "another");
    assert_fails(json.status, LKS_ERR_FORMAT, "text at byte 4: wants an object, found 'x'");
}
