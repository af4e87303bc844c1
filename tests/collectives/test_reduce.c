/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/reduce.h"
#include "collectives/reference.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

#define SOURCES 3
#define COUNT 5003 /* several blocks of any dtype, and a part of one */

static void reduce3(lks_dtype_t dtype, lks_reduce_op_t op, size_t count, const void *a,
                    const void *b, const void *c, void *out)
{
    lks_reduce(&(lks_reduction_t){.dtype = dtype,
                                  .op = op,
                                  .count = count,
                                  .sources = (const void *[]){a, b, c},
                                  .source_count = SOURCES,
                                  .targets = (void *[]){out},
                                  .target_count = 1});
}

enum { RANKS_MAX = 13 };

/* Bits of the reduction of COUNT elements of `ranks` sources against the reference's. */
static void check_against_reference(lks_dtype_t dtype, lks_reduce_op_t op, int ranks)
{
    size_t size = lks_dtype_size(dtype);
    void *sources[RANKS_MAX];
    unsigned char *got = malloc(COUNT * size), *wanted = malloc(COUNT * size);
    for (int i = 0; i < ranks; i++) {
        sources[i] = malloc(COUNT * size);
        rank_fill(dtype, 7, i, 0, COUNT, sources[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        rank_reduced(dtype, op, 7, ranks, i, wanted + i * size);
    }
    lks_reduce(&(lks_reduction_t){.dtype = dtype,
                                  .op = op,
                                  .count = COUNT,
                                  .sources = (const void *const *)sources,
                                  .source_count = ranks,
                                  .targets = (void *[]){got},
                                  .target_count = 1});
    cr_assert(memcmp(got, wanted, COUNT * size) == 0, "%s %s of %d differs from the reference",
              lks_dtype_name(dtype), lks_reduce_op_name(op), ranks);
    for (int i = 0; i < ranks; i++) {
        free(sources[i]);
    }
    free(got);
    free(wanted);
}

/* A test per instruction set: the choice is made once in a process. */
static void check_instruction_set(const char *isa)
{
    setenv("LOCKSTEP_ISA", isa, 1);
    int pairs = 0;
    for (int dtype = 0; dtype < LKS_DTYPE_COUNT; dtype++) {
        for (int op = 0; op < LKS_REDUCE_OP_COUNT; op++) {
            if (lks_reduce_supports((lks_dtype_t)dtype, (lks_reduce_op_t)op)) {
                for (int ranks = 1; ranks <= RANKS_MAX; ranks++) {
                    check_against_reference((lks_dtype_t)dtype, (lks_reduce_op_t)op, ranks);
                }
                pairs++;
            }
        }
    }
    cr_assert(pairs == 4 * 5 + 5 * 4 + 2 + 2); /* floats, integers, bool, complex */
}

Test(reduce, baseline_equals_the_reference_bit_by_bit)
{
    check_instruction_set("baseline");
}

Test(reduce, v3_equals_the_reference_bit_by_bit)
{
    check_instruction_set("v3");
}

Test(reduce, v4_equals_the_reference_bit_by_bit)
{
    check_instruction_set("v4");
}

/* Every 16-bit float, and float32 around every rounding boundary, with NaNs of all kinds. */
static void check_conversions(const char *isa, lks_dtype_t dtype)
{
    enum { ALL = 1 << 16 };
    static uint16_t in[ALL], out[ALL];
    static float wide[3 * ALL];
    static uint16_t narrow[3 * ALL];
    setenv("LOCKSTEP_ISA", isa, 1);
    bool half = dtype == LKS_DTYPE_F16;
    for (uint32_t i = 0; i < ALL; i++) {
        in[i] = (uint16_t)i;
        for (uint32_t k = 0; k < 3; k++) { /* below, at and above the halfway points of bfloat16 */
            uint32_t bits = (i << 16) + (half ? 0x1000u : 0x8000u) + k - 1;
            memcpy(&wide[3 * i + k], &bits, sizeof bits);
        }
    }
    lks_reduction_t copy = {.dtype = dtype,
                            .op = LKS_REDUCE_SUM,
                            .count = ALL,
                            .sources = (const void *[]){in},
                            .source_count = 1,
                            .targets = (void *[]){out},
                            .target_count = 1};
    lks_reduce(&copy);
    for (uint32_t i = 0; i < ALL; i++) {
        float x = half ? lks_f16_to_f32(in[i]) : lks_bf16_to_f32(in[i]);
        cr_assert(out[i] == (half ? lks_f32_to_f16(x) : lks_f32_to_bf16(x)), "%x", i);
    }
    copy.count = 3 * ALL;
    copy.partial_sources = true;
    copy.sources = (const void *[]){wide};
    copy.targets = (void *[]){narrow};
    lks_reduce(&copy);
    for (uint32_t i = 0; i < 3 * ALL; i++) {
        cr_assert(narrow[i] == (half ? lks_f32_to_f16(wide[i]) : lks_f32_to_bf16(wide[i])), "%u",
                  i);
    }
}

Test(reduce, conversions_round_as_the_scalar_ones_v3)
{
    check_conversions("v3", LKS_DTYPE_F16);
    check_conversions("v3", LKS_DTYPE_BF16);
}

Test(reduce, conversions_round_as_the_scalar_ones_v4)
{
    check_conversions("v4", LKS_DTYPE_F16);
    check_conversions("v4", LKS_DTYPE_BF16);
}

/* Four sources in one go, and two pairs of them by way of partials: the tree is the same, and so are the bits. */
static void check_partials(lks_dtype_t dtype, lks_reduce_op_t op)
{
    size_t size = lks_dtype_size(dtype), partial = lks_reduce_partial_size(dtype);
    void *sources[4], *halves[2], *whole = malloc(COUNT * size), *joined = malloc(COUNT * size);
    for (int i = 0; i < 4; i++) {
        sources[i] = malloc(COUNT * size);
        rank_fill(dtype, 11, i, 0, COUNT, sources[i]);
    }
    lks_reduction_t reduction = {.dtype = dtype,
                                 .op = op,
                                 .count = COUNT,
                                 .sources = (const void *const *)sources,
                                 .source_count = 4,
                                 .targets = &whole,
                                 .target_count = 1,
                                 .divisor = 4};
    lks_reduce(&reduction);
    reduction.source_count = 2;
    reduction.partial_targets = true;
    for (int i = 0; i < 2; i++) {
        halves[i] = malloc(COUNT * partial);
        reduction.sources = (const void *const *)sources + 2 * i;
        reduction.targets = &halves[i];
        lks_reduce(&reduction);
    }
    reduction.sources = (const void *const *)halves;
    reduction.partial_sources = true;
    reduction.partial_targets = false;
    reduction.targets = &joined;
    lks_reduce(&reduction);
    cr_assert(memcmp(whole, joined, COUNT * size) == 0, "%s %s", lks_dtype_name(dtype),
              lks_reduce_op_name(op));
    for (int i = 0; i < 4; i++) {
        free(sources[i]);
    }
    free(halves[0]);
    free(halves[1]);
    free(whole);
    free(joined);
}

Test(reduce, partials_give_the_bits_of_one_go)
{
    check_partials(LKS_DTYPE_F32, LKS_REDUCE_SUM);
    check_partials(LKS_DTYPE_F32, LKS_REDUCE_AVG);
    check_partials(LKS_DTYPE_BF16, LKS_REDUCE_AVG);
    check_partials(LKS_DTYPE_F16, LKS_REDUCE_PROD);
    check_partials(LKS_DTYPE_C64, LKS_REDUCE_SUM);
    check_partials(LKS_DTYPE_I8, LKS_REDUCE_MAX);
}

typedef struct taken {
    float numbers[COUNT];
    size_t count;
} taken_t;

static void take(void *context, size_t first, size_t count, const void *numbers)
{
    taken_t *taken = context;
    memcpy(taken->numbers + first, numbers, count * sizeof(float));
    taken->count += count;
}

Test(reduce, results_can_be_taken_as_numbers)
{
    static uint16_t a[COUNT], b[COUNT];
    static taken_t taken;
    rank_fill(LKS_DTYPE_BF16, 3, 0, 0, COUNT, a);
    rank_fill(LKS_DTYPE_BF16, 3, 1, 0, COUNT, b);
    lks_reduce(&(lks_reduction_t){.dtype = LKS_DTYPE_BF16,
                                  .op = LKS_REDUCE_AVG,
                                  .count = COUNT,
                                  .sources = (const void *[]){a, b},
                                  .source_count = 2,
                                  .take = take,
                                  .take_context = &taken});
    cr_assert(taken.count == COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        float average = (lks_bf16_to_f32(a[i]) + lks_bf16_to_f32(b[i])) / 2;
        cr_assert(taken.numbers[i] == lks_bf16_to_f32(lks_f32_to_bf16(average)));
    }
}

Test(reduce, pairs_that_mean_nothing_are_not_supported)
{
    cr_assert(!lks_reduce_supports(LKS_DTYPE_I32, LKS_REDUCE_AVG));
    cr_assert(!lks_reduce_supports(LKS_DTYPE_BOOL, LKS_REDUCE_SUM));
    cr_assert(!lks_reduce_supports(LKS_DTYPE_C64, LKS_REDUCE_MAX));
    cr_assert(!lks_reduce_supports(LKS_DTYPE_C128, LKS_REDUCE_AVG));
    cr_assert(!lks_reduce_supports((lks_dtype_t)LKS_DTYPE_COUNT, LKS_REDUCE_SUM));
    cr_assert(!lks_reduce_supports((lks_dtype_t)-1, LKS_REDUCE_SUM));
    cr_assert(!lks_reduce_supports(LKS_DTYPE_F32, (lks_reduce_op_t)LKS_REDUCE_OP_COUNT));
    cr_assert_str_eq(lks_reduce_op_name((lks_reduce_op_t)LKS_REDUCE_OP_COUNT), "unknown op");
}

Test(reduce, order_is_that_of_the_sources)
{
    float a = 1e8f, b = 1.0f, c = -1e8f,
          out; /* b is lost in (a + b), and would not be in (a + c) + b */
    reduce3(LKS_DTYPE_F32, LKS_REDUCE_SUM, 1, &a, &b, &c, &out);
    cr_assert(out == 0.0f);
    reduce3(LKS_DTYPE_F32, LKS_REDUCE_SUM, 1, &a, &c, &b, &out);
    cr_assert(out == 1.0f);
}

Test(reduce, nan_wins_whichever_source_has_it)
{
    for (int op = LKS_REDUCE_MIN; op <= LKS_REDUCE_MAX; op++) {
        for (int at = 0; at < SOURCES; at++) {
            float f32[SOURCES] = {1, 2, 3}, f32_out;
            double f64[SOURCES] = {1, 2, 3}, f64_out;
            uint16_t f16[SOURCES] = {0x3c00, 0x4000, 0x4200}, f16_out;
            uint16_t bf16[SOURCES] = {0x3f80, 0x4000, 0x4040}, bf16_out;
            f32[at] = NAN;
            f64[at] = (double)NAN;
            f16[at] = 0x7e00;
            bf16[at] = 0x7fc0;
            reduce3(LKS_DTYPE_F32, (lks_reduce_op_t)op, 1, &f32[0], &f32[1], &f32[2], &f32_out);
            reduce3(LKS_DTYPE_F64, (lks_reduce_op_t)op, 1, &f64[0], &f64[1], &f64[2], &f64_out);
            reduce3(LKS_DTYPE_F16, (lks_reduce_op_t)op, 1, &f16[0], &f16[1], &f16[2], &f16_out);
            reduce3(LKS_DTYPE_BF16, (lks_reduce_op_t)op, 1, &bf16[0], &bf16[1], &bf16[2],
                    &bf16_out);
            cr_assert(isnan(f32_out) && isnan(f64_out));
            cr_assert(isnan(lks_f16_to_f32(f16_out)) && isnan(lks_bf16_to_f32(bf16_out)));
        }
    }
}

Test(reduce, integers_wrap)
{
    int32_t a = INT32_MAX, b = 1, c = 1, i32;
    reduce3(LKS_DTYPE_I32, LKS_REDUCE_SUM, 1, &a, &b, &c, &i32);
    cr_assert(i32 == INT32_MIN + 1);
    int16_t d = INT16_MIN, e = INT16_MIN, f = 1, i16;
    reduce3(LKS_DTYPE_I16, LKS_REDUCE_PROD, 1, &d, &e, &f, &i16);
    cr_assert(i16 == 0);
    uint8_t g = 255, h = 2, k = 3, u8;
    reduce3(LKS_DTYPE_U8, LKS_REDUCE_SUM, 1, &g, &h, &k, &u8);
    cr_assert(u8 == 4);
    int64_t l = INT64_MAX, m = 2, n = 1, i64;
    reduce3(LKS_DTYPE_I64, LKS_REDUCE_PROD, 1, &l, &m, &n, &i64);
    cr_assert(i64 == -2);
}

Test(reduce, sixteen_bit_floats_round_once)
{
    /* 2048 + 1 is a tie that float16 would round down, twice; 2048 + 2 it holds. */
    uint16_t a = lks_f32_to_f16(2048), one = lks_f32_to_f16(1), out;
    reduce3(LKS_DTYPE_F16, LKS_REDUCE_SUM, 1, &a, &one, &one, &out);
    cr_assert(lks_f16_to_f32(out) == 2050);
    uint16_t b = lks_f32_to_bf16(256), bf16_one = lks_f32_to_bf16(1);
    reduce3(LKS_DTYPE_BF16, LKS_REDUCE_SUM, 1, &b, &bf16_one, &bf16_one, &out);
    cr_assert(lks_bf16_to_f32(out) == 258);
    /* A float16 sum that overflows on the way to an average that does not. */
    uint16_t big = lks_f32_to_f16(60000);
    reduce3(LKS_DTYPE_F16, LKS_REDUCE_AVG, 1, &big, &big, &big, &out);
    cr_assert(out == big);
}

Test(reduce, bool_min_is_and_and_max_is_or)
{
    uint8_t a[] = {0, 0, 1, 1}, b[] = {0, 1, 0, 1}, one[] = {1, 1, 1, 1}, zero[] = {0, 0, 0, 0};
    uint8_t out[4];
    reduce3(LKS_DTYPE_BOOL, LKS_REDUCE_MIN, 4, a, b, one, out);
    cr_assert(memcmp(out, (uint8_t[]){0, 0, 0, 1}, 4) == 0);
    reduce3(LKS_DTYPE_BOOL, LKS_REDUCE_MAX, 4, a, b, zero, out);
    cr_assert(memcmp(out, (uint8_t[]){0, 1, 1, 1}, 4) == 0);
}

/* The targets are sources [first, end): what a rank reduces in place, for itself or for others. */
static void check_in_place(lks_dtype_t dtype, int first, int end)
{
    size_t size = lks_dtype_size(dtype);
    void *buffers[SOURCES];
    for (int i = 0; i < SOURCES; i++) {
        buffers[i] = malloc(COUNT * size);
        rank_fill(dtype, 9, i, 0, COUNT, buffers[i]);
    }
    lks_reduce(&(lks_reduction_t){.dtype = dtype,
                                  .op = LKS_REDUCE_SUM,
                                  .count = COUNT,
                                  .sources = (const void *const *)buffers,
                                  .source_count = SOURCES,
                                  .targets = buffers + first,
                                  .target_count = end - first});
    unsigned char wanted[16];
    for (size_t i = 0; i < COUNT; i++) {
        rank_reduced(dtype, LKS_REDUCE_SUM, 9, SOURCES, i, wanted);
        for (int k = first; k < end; k++) {
            cr_assert(memcmp((char *)buffers[k] + i * size, wanted, size) == 0,
                      "%s: element %zu of target %d", lks_dtype_name(dtype), i, k);
        }
    }
    for (int i = 0; i < SOURCES; i++) {
        free(buffers[i]);
    }
}

Test(reduce, targets_may_be_sources)
{
    static const lks_dtype_t dtypes[] = {LKS_DTYPE_F32, LKS_DTYPE_BF16, LKS_DTYPE_C128,
                                         LKS_DTYPE_I8};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        check_in_place(dtypes[i], 0, SOURCES);
        for (int k = 0; k < SOURCES; k++) {
            check_in_place(dtypes[i], k, k + 1);
        }
    }
}

Test(reduce, one_source_is_copied)
{
    float source[] = {1, -2, 3}, target[3] = {0};
    lks_reduce(&(lks_reduction_t){.dtype = LKS_DTYPE_F32,
                                  .op = LKS_REDUCE_AVG,
                                  .count = 3,
                                  .sources = (const void *[]){source},
                                  .source_count = 1,
                                  .targets = (void *[]){target},
                                  .target_count = 1});
    cr_assert(memcmp(source, target, sizeof source) == 0);
}
