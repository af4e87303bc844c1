/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_scalars.c - opcodes that push none, bool, int and float. */
#include "serialize/pickle_machine.h"

#include <inttypes.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

/* Python refuses longer decimal ints; they would take quadratic time. */
#define DECIMAL_MAX 4300
#define FLOAT_TEXT_MAX 400

LKS_PICKLE_HANDLER(none)
{
    (void)argument;
    return lks_pickle_push(machine, lks_value_none(machine->tree));
}

LKS_PICKLE_HANDLER(boolean)
{
    return lks_pickle_push(machine, lks_value_bool(machine->tree, argument != 0));
}

LKS_PICKLE_HANDLER(binint)
{
    (void)argument;
    uint64_t bits;
    LKS_TRY(lks_pickle_uint(machine, 4, &bits));
    return lks_pickle_push(machine, lks_value_int(machine->tree, (int32_t)(uint32_t)bits));
}

LKS_PICKLE_HANDLER(binuint)
{
    uint64_t value;
    LKS_TRY(lks_pickle_uint(machine, argument, &value));
    return lks_pickle_push(machine, lks_value_int(machine->tree, (int64_t)value));
}

LKS_PICKLE_HANDLER(binlong)
{
    uint64_t nbytes;
    const unsigned char *digits;
    LKS_TRY(lks_pickle_uint(machine, argument, &nbytes));
    if (argument == 4 && nbytes > INT32_MAX) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "has the negative length %d",
                               (int32_t)(uint32_t)nbytes);
    }
    LKS_TRY(lks_pickle_take(machine, nbytes, &digits));
    return lks_pickle_push(machine, lks_value_bigint(machine->tree, digits, (size_t)nbytes));
}

LKS_PICKLE_HANDLER(binfloat)
{
    (void)argument;
    const unsigned char *bytes; /* the one big-endian number of pickles */
    LKS_TRY(lks_pickle_take(machine, 8, &bytes));
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | bytes[i];
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return lks_pickle_push(machine, lks_value_float(machine->tree, value));
}

/* --- numbers as text: protocols 0 and 1 --------------------------------------------------------- */

/* limbs = limbs * scale + digit, where there is room for one limb more. */
static size_t multiply_add(uint32_t *limbs, size_t count, uint32_t scale, uint32_t digit)
{
    uint64_t carry = digit;
    for (size_t i = 0; i < count; i++) {
        carry += (uint64_t)limbs[i] * scale;
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0) {
        limbs[count++] = (uint32_t)carry;
    }
    return count;
}

/* The magnitude of a decimal number, nine digits at a time. False if something else is in it. */
static bool parse_decimal(const char *text, size_t length, uint32_t *limbs, size_t *count)
{
    *count = 0;
    for (size_t at = 0; at < length;) {
        uint32_t chunk = 0, scale = 1;
        for (; at < length && scale < 1000000000u; at++, scale *= 10) {
            if (text[at] < '0' || text[at] > '9') {
                return false;
            }
            chunk = chunk * 10 + (uint32_t)(text[at] - '0');
        }
        *count = multiply_add(limbs, *count, scale, chunk);
    }
    return length > 0;
}

static void negate(uint32_t *limbs, size_t count)
{
    uint64_t carry = 1;
    for (size_t i = 0; i < count; i++) {
        carry += (uint32_t)~limbs[i];
        limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

static lks_status_t push_decimal(lks_pickle_machine_t *machine, const char *text, size_t length)
{
    bool negative = length > 0 && text[0] == '-';
    uint32_t limbs[DECIMAL_MAX / 9 + 3];
    size_t count;
    if (length > DECIMAL_MAX || !parse_decimal(text + negative, length - negative, limbs, &count)) {
        return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a decimal int of up to %d digits",
                               DECIMAL_MAX);
    }
    limbs[count++] = 0; /* the sign */
    if (negative) {
        negate(limbs, count);
    }
    unsigned char bytes[sizeof limbs];
    for (size_t i = 0; i < count; i++) {
        (void)lks_put_uint(bytes + 4 * i, limbs[i], 4);
    }
    return lks_pickle_push(machine, lks_value_bigint(machine->tree, bytes, 4 * count));
}

/* "17\n"; INT is also how old writers spell the bools, "00\n" and "01\n"; LONG ends in an L. */
LKS_PICKLE_HANDLER(int_text)
{
    bool is_long = argument != 0;
    const char *text;
    size_t length;
    LKS_TRY(lks_pickle_line(machine, &text, &length));
    if (!is_long && length == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1')) {
        return lks_pickle_push(machine, lks_value_bool(machine->tree, text[1] == '1'));
    }
    if (is_long && length > 0 && text[length - 1] == 'L') {
        length--;
    }
    return push_decimal(machine, text, length);
}

/* Whatever locale the process has set. */
static bool parse_float(const char *text, double *out)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (plain == (locale_t)0) {
        return false;
    }
    char *end;
    *out = strtod_l(text, &end, plain);
    freelocale(plain);
    return end != text && *end == '\0';
}

LKS_PICKLE_HANDLER(float_text)
{
    (void)argument;
    const char *text;
    size_t length;
    LKS_TRY(lks_pickle_line(machine, &text, &length));
    char copy[FLOAT_TEXT_MAX + 1];
    double value;
    if (length <= FLOAT_TEXT_MAX && strspn(text, "+-.0123456789eEinfatyINFATY") >= length) {
        memcpy(copy, text, length);
        copy[length] = '\0';
        if (parse_float(copy, &value)) {
            return lks_pickle_push(machine, lks_value_float(machine->tree, value));
        }
    }
    return lks_pickle_fail(machine, LKS_ERR_FORMAT, "wants a decimal float");
}
