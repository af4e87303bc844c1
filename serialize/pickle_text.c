/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_text.c - opcodes that push str and bytes. */
#include "serialize/pickle_machine.h"
#include "serialize/utf8.h"
#include "serialize/value_node.h"

#include <string.h>

/* The str of Python 2 was bytes. torch.load reads it as UTF-8, and so do we; what is not stays bytes. */
static lks_status_t push_python2_str(lks_pickle_machine_t *machine, const void *text, size_t nbytes)
{
    return lks_pickle_push(machine, lks_utf8_valid(text, nbytes)
                                        ? lks_value_str_n(machine->tree, text, nbytes)
                                        : lks_value_bytes(machine->tree, text, nbytes));
}

/* Reads a length of `width` bytes and that many bytes. */
static lks_status_t counted(lks_pickle_machine_t *machine, unsigned width,
                            const unsigned char **bytes, size_t *nbytes)
{
    uint64_t length;
    LKS_TRY(lks_pickle_uint(machine, width, &length));
    LKS_TRY(lks_pickle_take(machine, length, bytes));
    *nbytes = (size_t)length;
    return LKS_OK;
}

LKS_PICKLE_HANDLER(binstring)
{
    const unsigned char *bytes;
    size_t nbytes;
    LKS_TRY(counted(machine, argument, &bytes, &nbytes));
    return push_python2_str(machine, bytes, nbytes);
}

LKS_PICKLE_HANDLER(binunicode)
{
    const unsigned char *bytes;
    size_t nbytes;
    LKS_TRY(counted(machine, argument, &bytes, &nbytes));
    if (!lks_utf8_valid(bytes, nbytes)) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants UTF-8");
    }
    return lks_pickle_push(machine, lks_value_str_n(machine->tree, (const char *)bytes, nbytes));
}

LKS_PICKLE_HANDLER(binbytes)
{
    const unsigned char *bytes;
    size_t nbytes;
    LKS_TRY(counted(machine, argument, &bytes, &nbytes));
    return lks_pickle_push(machine, lks_value_bytes(machine->tree, bytes, nbytes));
}

/* bytearray(bytes), as the older protocols write it. */
LKS_PICKLE_HANDLER(bytearray)
{
    const unsigned char *bytes;
    size_t nbytes;
    LKS_TRY(counted(machine, argument, &bytes, &nbytes));
    lks_tree_t *tree = machine->tree;
    lks_value_t *arguments = lks_value_tuple(tree);
    lks_value_append(tree, arguments, lks_value_bytes(tree, bytes, nbytes));
    return lks_pickle_push(
        machine, lks_value_object(tree, LKS_OBJECT_REDUCE,
                                  lks_value_global(tree, "builtins", "bytearray"), arguments));
}

/* --- protocol 0 --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number that `digits` hex digits at `text` spell; false if they are not all there. */
static bool hex_number(const char *text, const char *end, int digits, uint32_t *out)
{
    uint32_t value = 0;
    if (end - text < digits) {
        return false;
    }
    for (int i = 0; i < digits; i++) {
        int digit = hex_digit(text[i]);
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint32_t)digit;
    }
    *out = value;
    return true;
}

/* One escape of a quoted string, behind its backslash: \n, \x41, \101. Returns the place behind it, NULL if it
 * is none. */
static const char *unescape(const char *text, const char *end, unsigned char *out)
{
    static const char names[] = "\\'\"abfnrtv", values[] = "\\'\"\a\b\f\n\r\t\v";
    const char *found = *text ? strchr(names, *text) : NULL;
    uint32_t value = 0;
    if (found) {
        *out = (unsigned char)values[found - names];
        return text + 1;
    }
    if (*text == 'x') {
        bool ok = hex_number(text + 1, end, 2, &value);
        *out = (unsigned char)value;
        return ok ? text + 3 : NULL;
    }
    const char *start = text;
    while (text < end && text - start < 3 && *text >= '0' && *text <= '7') {
        value = value * 8 + (uint32_t)(*text++ - '0');
    }
    *out = (unsigned char)value;
    return text > start ? text : NULL;
}

/* 'text' or "text", as repr() of Python 2 printed it. */
LKS_PICKLE_HANDLER(string_text)
{
    (void)argument;
    const char *text;
    size_t length;
    LKS_TRY(lks_pickle_line(machine, &text, &length));
    if (length < 2 || (text[0] != '\'' && text[0] != '"') || text[length - 1] != text[0]) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a quoted string");
    }
    unsigned char *plain = lks_tree_alloc(machine->tree, length);
    if (!plain) {
        return lks_pickle_tree_status(machine);
    }
    size_t used = 0;
    const char *end = text + length - 1;
    for (const char *at = text + 1; at < end;) {
        if (*at != '\\') {
            plain[used++] = (unsigned char)*at++;
            continue;
        }
        at = at + 1 < end ? unescape(at + 1, end, &plain[used++]) : NULL;
        if (!at) {
            return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a valid escape in its string");
        }
    }
    return push_python2_str(machine, plain, used);
}

/* Latin-1 with \u0041 and \U0001f600 for what that lacks. */
LKS_PICKLE_HANDLER(unicode_text)
{
    (void)argument;
    const char *text;
    size_t length;
    LKS_TRY(lks_pickle_line(machine, &text, &length));
    unsigned char *utf8 = lks_tree_alloc(machine->tree, 2 * length + 1);
    if (!utf8) {
        return lks_pickle_tree_status(machine);
    }
    unsigned char *out = utf8;
    const char *end = text + length;
    for (const char *at = text; at < end;) {
        uint32_t code = (unsigned char)*at;
        char next = *at == '\\' && end - at > 1 ? at[1] : '\0';
        int digits = next == 'u' ? 4 : next == 'U' ? 8 : 0;
        if (digits > 0 && (!hex_number(at + 2, end, digits, &code) || code > 0x10ffff)) {
            return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants hex digits after \\%c", next);
        }
        out = lks_utf8_put(out, code);
        at += digits > 0 ? 2 + digits : 1;
        if (next != '\0' && digits == 0) {
            out =
                lks_utf8_put(out, (unsigned char)next); /* a backslash shields the one behind it */
            at++;
        }
    }
    return lks_pickle_push(
        machine, lks_value_str_n(machine->tree, (const char *)utf8, (size_t)(out - utf8)));
}

LKS_PICKLE_HANDLER(out_of_band)
{
    (void)argument;
    return lks_pickle_fail(machine, LKS_ERR_UNSUPPORTED, "wants a buffer that is not in the file");
}
