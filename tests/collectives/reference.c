/* SPDX-License-Identifier: Apache-2.0 */
/* reference.c - works on one element at a time and shares nothing with the code under test but the conversions of
 * 16-bit floats. */
#include "collectives/reference.h"

#include <string.h>

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* +-(1 to 2) x 2^-6..1: a float32 product of eight of them is neither infinite nor zero. */
static double real_of(uint64_t bits)
{
    static const double scales[] = {0x1p-6, 0x1p-5, 0x1p-4, 0x1p-3, 0x1p-2, 0x1p-1, 1, 2};
    double magnitude = 1 + (double)(bits >> 12) * 0x1p-52;
    return magnitude * scales[bits & 7] * (bits & 8 ? -1 : 1);
}

void rank_element(lks_dtype_t dtype, uint64_t seed, int rank, size_t i, void *out)
{
    uint64_t bits = mix(mix(seed ^ (uint64_t)rank << 48) ^ i);
    double real = real_of(bits), imaginary = real_of(mix(bits));
    switch (dtype) {
    case LKS_DTYPE_F64: memcpy(out, &real, sizeof real); break;
    case LKS_DTYPE_F32: memcpy(out, &(float){(float)real}, sizeof(float)); break;
    case LKS_DTYPE_F16: memcpy(out, &(uint16_t){lks_f32_to_f16((float)real)}, 2); break;
    case LKS_DTYPE_BF16: memcpy(out, &(uint16_t){lks_f32_to_bf16((float)real)}, 2); break;
    case LKS_DTYPE_C64: memcpy(out, (float[]){(float)real, (float)imaginary}, 8); break;
    case LKS_DTYPE_C128: memcpy(out, (double[]){real, imaginary}, 16); break;
    case LKS_DTYPE_BOOL: *(uint8_t *)out = bits % 5 > 1; break;
    default: memcpy(out, &bits, lks_dtype_size(dtype)); break;
    }
}

void rank_fill(lks_dtype_t dtype, uint64_t seed, int rank, size_t first, size_t count, void *out)
{
    size_t size = lks_dtype_size(dtype);
    for (size_t i = 0; i < count; i++) {
        rank_element(dtype, seed, rank, first + i, (char *)out + i * size);
    }
}

/* --- the reference ------------------------------------------------------------------------------ */

static double reduce_f64(lks_reduce_op_t op, double a, double b)
{
    switch (op) {
    case LKS_REDUCE_PROD: return a * b;
    case LKS_REDUCE_MIN: return a < b ? a : b;
    case LKS_REDUCE_MAX: return a > b ? a : b;
    default: return a + b;
    }
}

static float reduce_f32(lks_reduce_op_t op, float a, float b)
{
    switch (op) {
    case LKS_REDUCE_PROD: return a * b;
    case LKS_REDUCE_MIN: return a < b ? a : b;
    case LKS_REDUCE_MAX: return a > b ? a : b;
    default: return a + b;
    }
}

static int64_t reduce_i64(lks_reduce_op_t op, int64_t a, int64_t b)
{
    switch (op) {
    case LKS_REDUCE_PROD: return (int64_t)((uint64_t)a * (uint64_t)b);
    case LKS_REDUCE_MIN: return a < b ? a : b;
    case LKS_REDUCE_MAX: return a > b ? a : b;
    default: return (int64_t)((uint64_t)a + (uint64_t)b);
    }
}

static int64_t int_load(lks_dtype_t dtype, const void *at)
{
    switch (dtype) {
    case LKS_DTYPE_I64: return *(const int64_t *)at;
    case LKS_DTYPE_I32: return *(const int32_t *)at;
    case LKS_DTYPE_I16: return *(const int16_t *)at;
    case LKS_DTYPE_I8: return *(const int8_t *)at;
    default: return *(const uint8_t *)at;
    }
}

static float f32_load(lks_dtype_t dtype, const void *at)
{
    switch (dtype) {
    case LKS_DTYPE_F16: return lks_f16_to_f32(*(const uint16_t *)at);
    case LKS_DTYPE_BF16: return lks_bf16_to_f32(*(const uint16_t *)at);
    default: return *(const float *)at;
    }
}

static void f32_store(lks_dtype_t dtype, float value, void *out)
{
    switch (dtype) {
    case LKS_DTYPE_F16: *(uint16_t *)out = lks_f32_to_f16(value); break;
    case LKS_DTYPE_BF16: *(uint16_t *)out = lks_f32_to_bf16(value); break;
    default: *(float *)out = value; break;
    }
}

/* One element as numbers; complex ones use both places. */
typedef struct number {
    double f64[2];
    float f32[2];
    int64_t i64;
} number_t;

static number_t load_number(lks_dtype_t dtype, const void *element)
{
    number_t x = {0};
    switch (dtype) {
    case LKS_DTYPE_F64:
    case LKS_DTYPE_C128: memcpy(x.f64, element, lks_dtype_size(dtype)); break;
    case LKS_DTYPE_C64: memcpy(x.f32, element, sizeof x.f32); break;
    case LKS_DTYPE_F32:
    case LKS_DTYPE_F16:
    case LKS_DTYPE_BF16: x.f32[0] = f32_load(dtype, element); break;
    default: x.i64 = int_load(dtype, element); break;
    }
    return x;
}

static number_t reduce_numbers(lks_reduce_op_t op, number_t a, number_t b)
{
    number_t x = {.i64 = reduce_i64(op, a.i64, b.i64)};
    for (int i = 0; i < 2; i++) {
        x.f64[i] = reduce_f64(op, a.f64[i], b.f64[i]);
        x.f32[i] = reduce_f32(op, a.f32[i], b.f32[i]);
    }
    return x;
}

/* Ranks [first, first + count): the left half is the largest power of two that is smaller than all. */
static number_t reduce_ranks(lks_dtype_t dtype, lks_reduce_op_t op, uint64_t seed, int first,
                             int count, size_t i)
{
    if (count == 1) {
        _Alignas(16) unsigned char element[16];
        rank_element(dtype, seed, first, i, element);
        return load_number(dtype, element);
    }
    int left = 1;
    while (2 * left < count) {
        left *= 2;
    }
    return reduce_numbers(op, reduce_ranks(dtype, op, seed, first, left, i),
                          reduce_ranks(dtype, op, seed, first + left, count - left, i));
}

void rank_reduced(lks_dtype_t dtype, lks_reduce_op_t op, uint64_t seed, int world_size, size_t i,
                  void *out)
{
    number_t r = reduce_ranks(dtype, op, seed, 0, world_size, i);
    if (op == LKS_REDUCE_AVG) {
        r.f64[0] /= world_size;
        r.f32[0] /= (float)world_size;
    }
    switch (dtype) {
    case LKS_DTYPE_F64:
    case LKS_DTYPE_C128: memcpy(out, r.f64, lks_dtype_size(dtype)); break;
    case LKS_DTYPE_C64: memcpy(out, r.f32, lks_dtype_size(dtype)); break;
    case LKS_DTYPE_F32:
    case LKS_DTYPE_F16:
    case LKS_DTYPE_BF16: f32_store(dtype, r.f32[0], out); break;
    default: memcpy(out, &r.i64, lks_dtype_size(dtype)); break;
    }
}
