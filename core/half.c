/* SPDX-License-Identifier: Apache-2.0 */
/* half.c - float16 and bfloat16 to and from float32, in integer arithmetic, so that every machine agrees.
 * binary16: sign 1, exponent 5 (bias 15), fraction 10. binary32: sign 1, exponent 8 (bias 127), fraction 23. */
#include <lockstep/dtype.h>

#include <string.h>

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

float lks_f16_to_f32(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t exponent = (bits >> 10) & 0x1fu;
    uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0x1f) { /* infinity, NaN */
        return float_of(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0u));
    }
    if (exponent == 0) { /* zero, subnormal: fraction x 2^-24, exact in float32 */
        float magnitude = (float)fraction * 0x1p-24f;
        return float_of(sign | bits_of(magnitude));
    }
    return float_of(sign | (exponent + 112) << 23 | fraction << 13);
}

/* value >> shift, rounded to nearest, ties to even; shift 1..31 */
static uint32_t shift_round(uint32_t value, unsigned shift)
{
    uint32_t kept = value >> shift;
    uint32_t rest = value & ((1u << shift) - 1);
    uint32_t half = 1u << (shift - 1);
    return kept + (rest > half || (rest == half && (kept & 1)));
}

uint16_t lks_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t result;
    if (magnitude > 0x7f800000u) { /* NaN: quiet, upper fraction bits kept */
        result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x47800000u) { /* 2^16 and up */
        result = 0x7c00u;
    } else if (magnitude >= 0x38800000u) { /* normal; rounding may carry into infinity, correctly */
        result = shift_round(magnitude - (112u << 23), 13);
    } else if (magnitude >= 0x33000000u) { /* subnormal: 2^-25 and up */
        uint32_t fraction = (magnitude & 0x7fffffu) | 0x800000u;
        result = shift_round(fraction, 126 - (magnitude >> 23));
    } else {
        result = 0;
    }
    return (uint16_t)(sign | result);
}

float lks_bf16_to_f32(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t lks_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
