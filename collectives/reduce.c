/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.c - a table of loops, a row per dtype. Buffers are reduced in blocks that stay in the first-level cache,
 * so each source is read from memory once and each target written once. Within a block the sources are folded in
 * one after the other; the last fold writes the first target, from which the others are copied.
 * A target may be a source: the last fold comes when all other sources of the block were read, and it reads each
 * element before it writes it.
 * The loops are plain C for the compiler to vectorize; elements are independent, so their order is kept. */
#include "collectives/reduce.h"

#include <stdint.h>
#include <string.h>

/* X(suffix, type, type of sums and products): integers add and multiply in an unsigned type, at least 32 bits wide,
 * where wrapping is defined. */
#define NUMBER_TYPES(X)                                                                            \
    X(f64, double, double)                                                                         \
    X(f32, float, float)                                                                           \
    X(i64, int64_t, uint64_t)                                                                      \
    X(i32, int32_t, uint32_t)                                                                      \
    X(i16, int16_t, uint32_t)                                                                      \
    X(i8, int8_t, uint32_t)                                                                        \
    X(u8, uint8_t, uint32_t)

/* The accumulator's x and the next source's y. A NaN in x is asked for; one in y fails the comparison. */
#define SUM(type, math_t, x, y) ((type)((math_t)(x) + (math_t)(y)))
#define PROD(type, math_t, x, y) ((type)((math_t)(x) * (math_t)(y)))
#define MIN(type, math_t, x, y) ((((x) < (y)) | ((x) != (x))) ? (x) : (y))
#define MAX(type, math_t, x, y) ((((x) > (y)) | ((x) != (x))) ? (x) : (y))

/* Buffers overlap only where they are the same, so no iteration depends on another. */
#if defined(__clang__)
#define INDEPENDENT_ITERATIONS _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
#endif

/* clang-format off */
#define DEFINE_FOLD(name, OP, type, math_t)                                                        \
    static void name(void *out, const void *accumulator, const void *source, size_t count)         \
    {                                                                                              \
        type *dst = out;                                                                           \
        const type *acc = accumulator, *src = source;                                              \
        INDEPENDENT_ITERATIONS                                                                     \
        for (size_t i = 0; i < count; i++) {                                                       \
            type x = acc[i], y = src[i];                                                           \
            dst[i] = OP(type, math_t, x, y);                                                       \
        }                                                                                          \
    }
/* clang-format on */

#define DEFINE_FOLDS(suffix, type, math_t)                                                         \
    DEFINE_FOLD(sum_##suffix, SUM, type, math_t)                                                   \
    DEFINE_FOLD(prod_##suffix, PROD, type, math_t)                                                 \
    DEFINE_FOLD(min_##suffix, MIN, type, math_t)                                                   \
    DEFINE_FOLD(max_##suffix, MAX, type, math_t)

NUMBER_TYPES(DEFINE_FOLDS)

#define DEFINE_DIVIDE(suffix, type)                                                                \
    static void divide_##suffix(void *numbers, size_t count, int divisor)                          \
    {                                                                                              \
        type *x = numbers;                                                                         \
        for (size_t i = 0; i < count; i++) {                                                       \
            x[i] /= (type)divisor;                                                                 \
        }                                                                                          \
    }

DEFINE_DIVIDE(f64, double)
DEFINE_DIVIDE(f32, float)

#define DEFINE_CONVERSIONS(suffix, to_f32, from_f32)                                               \
    static void load_##suffix(void *numbers, const void *source, size_t count)                     \
    {                                                                                              \
        float *dst = numbers;                                                                      \
        const uint16_t *src = source;                                                              \
        for (size_t i = 0; i < count; i++) {                                                       \
            dst[i] = to_f32(src[i]);                                                               \
        }                                                                                          \
    }                                                                                              \
    static void store_##suffix(void *target, const void *numbers, size_t count)                    \
    {                                                                                              \
        uint16_t *dst = target;                                                                    \
        const float *src = numbers;                                                                \
        for (size_t i = 0; i < count; i++) {                                                       \
            dst[i] = from_f32(src[i]);                                                             \
        }                                                                                          \
    }

DEFINE_CONVERSIONS(f16, lks_f16_to_f32, lks_f32_to_f16)
DEFINE_CONVERSIONS(bf16, lks_bf16_to_f32, lks_f32_to_bf16)

typedef struct reducer {
    size_t number_size; /* bytes of a number */
    size_t numbers;     /* per element: 2 for complex ones */
    /* out = accumulator op source; any of them may be the same. NULL: the dtype has no such reduction. */
    void (*fold[LKS_REDUCE_OP_COUNT])(void *out, const void *accumulator, const void *source,
                                      size_t count);
    void (*divide)(void *numbers, size_t count, int divisor); /* of AVG */
    /* From elements to numbers and back; NULL: they are the same. */
    void (*load)(void *numbers, const void *source, size_t count);
    void (*store)(void *target, const void *numbers, size_t count);
} reducer_t;

#define NUMBERS(type, n) .number_size = sizeof(type), .numbers = (n)
#define FOLDS(suffix)                                                                              \
    [LKS_REDUCE_SUM] = sum_##suffix, [LKS_REDUCE_PROD] = prod_##suffix,                            \
    [LKS_REDUCE_MIN] = min_##suffix, [LKS_REDUCE_MAX] = max_##suffix
#define FLOAT(suffix)                                                                              \
    .fold = {FOLDS(suffix), [LKS_REDUCE_AVG] = sum_##suffix}, .divide = divide_##suffix
#define CONVERTED(suffix) .load = load_##suffix, .store = store_##suffix
#define INTEGER(suffix) .fold = {FOLDS(suffix)}
#define BOOLEAN(suffix) .fold = {[LKS_REDUCE_MIN] = min_##suffix, [LKS_REDUCE_MAX] = max_##suffix}
#define COMPLEX(suffix) .fold = {[LKS_REDUCE_SUM] = sum_##suffix}

/* 16-bit floats are reduced as float32 and rounded once, by store. */
static const reducer_t reducers[LKS_DTYPE_COUNT] = {
    [LKS_DTYPE_F64] = {NUMBERS(double, 1), FLOAT(f64)},
    [LKS_DTYPE_F32] = {NUMBERS(float, 1), FLOAT(f32)},
    [LKS_DTYPE_F16] = {NUMBERS(float, 1), FLOAT(f32), CONVERTED(f16)},
    [LKS_DTYPE_BF16] = {NUMBERS(float, 1), FLOAT(f32), CONVERTED(bf16)},
    [LKS_DTYPE_I64] = {NUMBERS(int64_t, 1), INTEGER(i64)},
    [LKS_DTYPE_I32] = {NUMBERS(int32_t, 1), INTEGER(i32)},
    [LKS_DTYPE_I16] = {NUMBERS(int16_t, 1), INTEGER(i16)},
    [LKS_DTYPE_I8] = {NUMBERS(int8_t, 1), INTEGER(i8)},
    [LKS_DTYPE_U8] = {NUMBERS(uint8_t, 1), INTEGER(u8)},
    [LKS_DTYPE_BOOL] = {NUMBERS(uint8_t, 1), BOOLEAN(u8)},
    [LKS_DTYPE_C64] = {NUMBERS(float, 2), COMPLEX(f32)},
    [LKS_DTYPE_C128] = {NUMBERS(double, 2), COMPLEX(f64)},
};

static const char *const op_names[LKS_REDUCE_OP_COUNT] = {
    [LKS_REDUCE_SUM] = "sum", [LKS_REDUCE_PROD] = "prod", [LKS_REDUCE_MIN] = "min",
    [LKS_REDUCE_MAX] = "max", [LKS_REDUCE_AVG] = "avg",
};

const char *lks_reduce_op_name(lks_reduce_op_t op)
{
    return (unsigned)op < LKS_REDUCE_OP_COUNT ? op_names[op] : "unknown op";
}

bool lks_reduce_supports(lks_dtype_t dtype, lks_reduce_op_t op)
{
    return (unsigned)dtype < LKS_DTYPE_COUNT && (unsigned)op < LKS_REDUCE_OP_COUNT &&
           reducers[dtype].fold[op] != NULL;
}

#define BLOCK_BYTES                                                                                \
    ((size_t)4 << 10) /* of numbers: those of several sources fit the cache together */

/* The numbers of `source`: itself, or converted into `block`. */
static const void *loaded(const reducer_t *reducer, void *block, const void *source, size_t count)
{
    if (!reducer->load) {
        return source;
    }
    reducer->load(block, source, count);
    return block;
}

/* Into targets[0]: `count` elements that begin `skip` bytes into each buffer. */
static void fold_block(const lks_reduction_t *reduction, size_t skip, size_t count)
{
    _Alignas(64) unsigned char block[BLOCK_BYTES], next_block[BLOCK_BYTES];
    const reducer_t *reducer = &reducers[reduction->dtype];
    size_t numbers = count * reducer->numbers;
    char *target = (char *)reduction->targets[0] + skip;
    void *result = reducer->store ? (void *)block : target;

    const void *accumulator =
        loaded(reducer, block, (const char *)reduction->sources[0] + skip, numbers);
    for (int i = 1; i < reduction->source_count; i++) {
        const void *next =
            loaded(reducer, next_block, (const char *)reduction->sources[i] + skip, numbers);
        void *out = i + 1 == reduction->source_count ? result : block;
        reducer->fold[reduction->op](out, accumulator, next, numbers);
        accumulator = out;
    }
    if (accumulator != result) { /* a single source, not converted */
        memcpy(result, accumulator, numbers * reducer->number_size);
    }
    if (reduction->op == LKS_REDUCE_AVG) {
        reducer->divide(result, numbers, reduction->source_count);
    }
    if (reducer->store) {
        reducer->store(target, result, numbers);
    }
}

void lks_reduce(const lks_reduction_t *reduction)
{
    const reducer_t *reducer = &reducers[reduction->dtype];
    size_t size = lks_dtype_size(reduction->dtype);
    size_t block = BLOCK_BYTES / (reducer->number_size * reducer->numbers);
    for (size_t done = 0; done < reduction->count; done += block) {
        size_t left = reduction->count - done, skip = done * size;
        size_t count = left < block ? left : block;
        fold_block(reduction, skip, count);
        for (int i = 1; i < reduction->target_count; i++) {
            memcpy((char *)reduction->targets[i] + skip, (const char *)reduction->targets[0] + skip,
                   count * size);
        }
    }
}
