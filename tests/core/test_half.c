/* SPDX-License-Identifier: Apache-2.0 */
/* test_half.c - float16 and bfloat16 against the definition, over all bit patterns. */
#include "support/support.h"

#include <lockstep/dtype.h>
#include <math.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The value of a finite float16 by its definition. */
static double f16_value(uint16_t bits)
{
    int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
    double magnitude = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static bool f16_is_finite(uint16_t bits)
{
    return (bits & 0x7c00) != 0x7c00;
}

Test(half, every_float16_has_its_defined_value)
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t bits = (uint16_t)i;
        float value = lks_f16_to_f32(bits);
        if (f16_is_finite(bits)) {
            cr_assert_eq((double)value, f16_value(bits), "0x%04x", i);
            cr_assert_eq(!!signbit(value), bits >> 15, "0x%04x", i);
        } else if ((bits & 0x3ff) == 0) {
            cr_assert(isinf(value) && !!signbit(value) == bits >> 15, "0x%04x", i);
        } else {
            cr_assert(isnan(value), "0x%04x", i);
        }
    }
}

Test(half, every_float16_survives_the_round_trip)
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t bits = (uint16_t)i;
        bool nan = (bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0;
        uint16_t wanted = nan ? bits | 0x200 : bits; /* a signalling NaN comes back quiet */
        cr_assert_eq(lks_f32_to_f16(lks_f16_to_f32(bits)), wanted, "0x%04x", i);
    }
}

/* The midpoint of two neighbours goes to the even one, the floats beside it to the nearer one. */
Test(half, float32_rounds_to_the_nearest_float16_ties_to_even)
{
    for (uint16_t low = 0; low < 0x7bff; low++) {
        uint16_t high = low + 1;
        float middle = (float)((f16_value(low) + f16_value(high)) / 2); /* exact */
        cr_assert_eq(lks_f32_to_f16(middle), low & 1 ? high : low, "0x%04x", low);
        cr_assert_eq(lks_f32_to_f16(nextafterf(middle, 0)), low, "0x%04x", low);
        cr_assert_eq(lks_f32_to_f16(nextafterf(middle, INFINITY)), high, "0x%04x", low);
        cr_assert_eq(lks_f32_to_f16(-middle), 0x8000 | (low & 1 ? high : low), "0x%04x", low);
    }
}

Test(half, float16_overflows_to_infinity_from_65520_on)
{
    cr_assert_eq(lks_f32_to_f16(65504.0f), 0x7bff);
    cr_assert_eq(lks_f32_to_f16(nextafterf(65520.0f, 0)), 0x7bff);
    cr_assert_eq(lks_f32_to_f16(65520.0f), 0x7c00);
    cr_assert_eq(lks_f32_to_f16(65536.0f), 0x7c00);
    cr_assert_eq(lks_f32_to_f16(3e38f), 0x7c00);
    cr_assert_eq(lks_f32_to_f16(-3e38f), 0xfc00);
    cr_assert_eq(lks_f32_to_f16(INFINITY), 0x7c00);
    cr_assert_eq(lks_f32_to_f16(-INFINITY), 0xfc00);
}

Test(half, float16_underflows_to_zero_below_half_the_smallest)
{
    cr_assert_eq(lks_f32_to_f16(0x1p-24f), 1);
    cr_assert_eq(lks_f32_to_f16(0x1p-25f), 0);
    cr_assert_eq(lks_f32_to_f16(nextafterf(0x1p-25f, 1)), 1);
    cr_assert_eq(lks_f32_to_f16(-0x1p-26f), 0x8000);
    cr_assert_eq(lks_f32_to_f16(float_of(1)), 0);
    cr_assert_eq(lks_f32_to_f16(-0.0f), 0x8000);
}

Test(half, nan_stays_nan_with_its_sign)
{
    static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
        uint16_t f16 = lks_f32_to_f16(float_of(nans[i])), bf16 = lks_f32_to_bf16(float_of(nans[i]));
        cr_assert((f16 & 0x7e00) == 0x7e00, "float16 of 0x%08x is 0x%04x", nans[i], f16);
        cr_assert((bf16 & 0x7fc0) == 0x7fc0, "bfloat16 of 0x%08x is 0x%04x", nans[i], bf16);
        cr_assert_eq(f16 >> 15, nans[i] >> 31);
        cr_assert_eq(bf16 >> 15, nans[i] >> 31);
    }
}

Test(half, every_bfloat16_is_the_upper_half_of_its_float32)
{
    for (uint32_t i = 0; i <= 0xffff; i++) {
        uint16_t bits = (uint16_t)i;
        bool nan = (bits & 0x7f80) == 0x7f80 && (bits & 0x7f) != 0;
        if (!nan) {
            cr_assert_eq(bits_of(lks_bf16_to_f32(bits)), i << 16, "0x%04x", i);
            cr_assert_eq(lks_f32_to_bf16(lks_bf16_to_f32(bits)), bits, "0x%04x", i);
        } else {
            cr_assert(isnan(lks_bf16_to_f32(bits)), "0x%04x", i);
        }
    }
}

Test(half, float32_rounds_to_the_nearest_bfloat16_ties_to_even)
{
    for (uint32_t low = 0; low < 0x7f80; low++) { /* the last one's upper neighbour is infinity */
        uint32_t middle = low << 16 | 0x8000;
        uint32_t even = low & 1 ? low + 1 : low;
        cr_assert_eq(lks_f32_to_bf16(float_of(middle)), even, "0x%04x", low);
        cr_assert_eq(lks_f32_to_bf16(float_of(middle - 1)), low, "0x%04x", low);
        cr_assert_eq(lks_f32_to_bf16(float_of(middle + 1)), low + 1, "0x%04x", low);
        cr_assert_eq(lks_f32_to_bf16(float_of(middle | 0x80000000)), even | 0x8000, "0x%04x", low);
    }
    cr_assert_eq(lks_f32_to_bf16(INFINITY), 0x7f80);
    cr_assert_eq(lks_f32_to_bf16(-INFINITY), 0xff80);
}
