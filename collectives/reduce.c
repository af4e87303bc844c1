/* SPDX-License-Identifier: Apache-2.0 */
/* reduce.c - walks the tree of a reduction, block by block.
 * Blocks stay in the first-level cache, so each source is read from memory once and each target written once. The
 * tree is walked as a binary counter counts: a source is pushed, and as long as the two topmost entries stand for
 * equally many sources they become one.
 * A target may be a source: the last fold comes when all other sources of the block were read, and it reads each
 * element before it writes it. */
#include "collectives/reduce.h"
#include "collectives/reduce_loops.h"
#include "core/isa.h"

#include <string.h>

static const lks_reduce_loops_t *const tables[LKS_ISA_COUNT] = {
    [LKS_ISA_BASELINE] = lks_reduce_loops_baseline,
    [LKS_ISA_V3] = lks_reduce_loops_v3,
    [LKS_ISA_V4] = lks_reduce_loops_v4,
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
           lks_reduce_loops_baseline[dtype].fold[op] != NULL;
}

size_t lks_reduce_partial_size(lks_dtype_t dtype)
{
    return lks_reduce_loops_baseline[dtype].number_size * lks_reduce_loops_baseline[dtype].numbers;
}

enum {
    BLOCK_BYTES =
        4096, /* of numbers that are taken: an optimizer wants to be called with as many at once */
    SMALL_BYTES = 1024, /* else: those of many sources and targets fit the cache together */
    FOUR = 4,           /* sources that are folded in one pass */
    LEVELS = 36         /* of the tree: log2 of an int's sources, and those of one pass */
};

/* One block on its way. */
typedef struct walk {
    const lks_reduction_t *reduction;
    const lks_reduce_loops_t *loops;
    size_t first, count;      /* elements */
    size_t numbers;           /* of the block */
    size_t size_in, size_out; /* bytes of an element of a source, of a target */
    bool converts_in, converts_out;
    const void *entries[LEVELS]; /* numbers that stand for 2^k sources each, larger ones first */
    unsigned char (*blocks)[BLOCK_BYTES]; /* (LEVELS): what entries that are no source lie in */
} walk_t;

/* The numbers of a source: itself, or converted into the block of its place. */
static const void *load(const walk_t *walk, int source, int place)
{
    const char *at = (const char *)walk->reduction->sources[source] + walk->first * walk->size_in;
    if (!walk->converts_in) {
        return at;
    }
    walk->loops->load(walk->blocks[place], at, walk->numbers);
    return walk->blocks[place];
}

static void *target(const walk_t *walk, int i)
{
    return (char *)walk->reduction->targets[i] + walk->first * walk->size_out;
}

/* The last fold, of two or four entries: into the first two targets where they hold plain numbers. Returns how many are done. */
static int fold_into_targets(walk_t *walk, int height)
{
    const lks_reduction_t *reduction = walk->reduction;
    bool direct = !walk->converts_out && reduction->target_count > 0 &&
                  (reduction->op != LKS_REDUCE_AVG || reduction->partial_targets);
    void *out = direct ? target(walk, 0) : walk->blocks[0];
    void *copy = direct && reduction->target_count > 1 ? target(walk, 1) : NULL;
    if (height == FOUR) {
        walk->loops->fold_four[reduction->op](out, copy, walk->entries, walk->numbers);
    } else {
        walk->loops->fold[reduction->op](out, copy, walk->entries[0], walk->entries[1],
                                         walk->numbers);
    }
    walk->entries[0] = out;
    return direct ? 1 + (copy != NULL) : 0;
}

/* Four sources that are the next leaves of a subtree of their own, into one entry. */
static void fold_four(walk_t *walk, int height)
{
    const void **bottom = &walk->entries[height];
    walk->loops->fold_four[walk->reduction->op](walk->blocks[height], NULL, bottom, walk->numbers);
    bottom[0] = walk->blocks[height];
}

/* Folds the two topmost of `height` entries into one. */
static void fold_top(walk_t *walk, int height)
{
    const void **top = &walk->entries[height - 2];
    walk->loops->fold[walk->reduction->op](walk->blocks[height - 2], NULL, top[0], top[1],
                                           walk->numbers);
    top[0] = walk->blocks[height - 2];
}

/* Sources `first` to first + 3, or one of them, as the topmost entries. */
static void push(walk_t *walk, int first, int count, int height)
{
    for (int i = 0; i < count; i++) {
        walk->entries[height + i] = load(walk, first + i, height + i);
    }
}

/* All sources; the result is entries[0]. Returns the number of targets that have it. */
static int fold_sources(walk_t *walk)
{
    int sources = walk->reduction->source_count, height = 0;
    if (sources == FOUR) {
        push(walk, 0, FOUR, 0);
        return fold_into_targets(walk, FOUR);
    }
    for (int i = 0; i < sources;) {
        int count = i % FOUR == 0 && sources - i >= FOUR ? FOUR : 1;
        push(walk, i, count, height);
        if (count == FOUR) {
            fold_four(walk, height);
        }
        height++;
        i += count;
        for (int n = i / count; height > 1 && (i == sources ? height > 2 : n % 2 == 0); n /= 2) {
            fold_top(walk, height--);
        }
    }
    return height > 1 ? fold_into_targets(walk, 2) : 0;
}

/* AVG's division, into the block: a source is not ours to change. */
static void divide(walk_t *walk)
{
    const lks_reduction_t *reduction = walk->reduction;
    if (reduction->op == LKS_REDUCE_AVG && !reduction->partial_targets) {
        int divisor = reduction->divisor ? reduction->divisor : reduction->source_count;
        walk->loops->divide(walk->blocks[0], walk->entries[0], walk->numbers, divisor);
        walk->entries[0] = walk->blocks[0];
    }
}

/* To the dtype and back: what is taken are the bits that a target would have. */
static void round_numbers(walk_t *walk)
{
    if (walk->loops->store) {
        unsigned char *elements = walk->blocks[1];
        walk->loops->store(elements, walk->entries[0], walk->numbers);
        walk->loops->load(walk->blocks[0], elements, walk->numbers);
        walk->entries[0] = walk->blocks[0];
    }
}

static void reduce_block(walk_t *walk)
{
    const lks_reduction_t *reduction = walk->reduction;
    int done = fold_sources(walk);
    divide(walk);
    if (reduction->take) {
        round_numbers(walk);
        reduction->take(reduction->take_context, walk->first, walk->count, walk->entries[0]);
    }
    for (int i = done; i < reduction->target_count; i++) {
        void *out = target(walk, i);
        if (i > 0) {
            memcpy(out, target(walk, 0), walk->count * walk->size_out);
        } else if (walk->converts_out) {
            walk->loops->store(out, walk->entries[0], walk->numbers);
        } else if (out != walk->entries[0]) {
            memcpy(out, walk->entries[0], walk->count * walk->size_out);
        }
    }
}

/* One source that is only copied, in one go. */
static void copy_source(const walk_t *walk)
{
    const lks_reduction_t *reduction = walk->reduction;
    const char *from = (const char *)reduction->sources[0] + reduction->first * walk->size_in;
    for (int i = 0; i < reduction->target_count; i++) {
        char *to = (char *)reduction->targets[i] + reduction->first * walk->size_out;
        if (to != from) {
            memcpy(to, from, reduction->count * walk->size_in);
        }
    }
}

static bool is_copy(const walk_t *walk)
{
    const lks_reduction_t *reduction = walk->reduction;
    return reduction->source_count == 1 && !walk->converts_in && !walk->converts_out &&
           !reduction->take && (reduction->op != LKS_REDUCE_AVG || reduction->partial_targets);
}

/* Two sources that are folded straight into one or two targets: nothing lies in a block. */
static bool is_fold(const walk_t *walk)
{
    const lks_reduction_t *reduction = walk->reduction;
    return reduction->source_count == 2 && !walk->converts_in && !walk->converts_out &&
           (reduction->target_count == 1 || reduction->target_count == 2) && !reduction->take &&
           (reduction->op != LKS_REDUCE_AVG || reduction->partial_targets);
}

void lks_reduce(const lks_reduction_t *reduction)
{
    _Alignas(64) unsigned char blocks[LEVELS][BLOCK_BYTES];
    const lks_reduce_loops_t *loops = &tables[lks_isa_get()][reduction->dtype];
    size_t element = lks_dtype_size(reduction->dtype),
           partial = loops->number_size * loops->numbers;
    walk_t walk = {
        .reduction = reduction,
        .loops = loops,
        .size_in = reduction->partial_sources ? partial : element,
        .size_out = reduction->partial_targets ? partial : element,
        .converts_in = loops->load && !reduction->partial_sources,
        .converts_out = loops->store && !reduction->partial_targets,
        .blocks = blocks,
    };
    if (is_copy(&walk)) {
        copy_source(&walk);
        return;
    }
    size_t block = (reduction->take ? BLOCK_BYTES : SMALL_BYTES) / partial;
    block = is_fold(&walk) ? reduction->count : block;
    size_t end = reduction->first + reduction->count;
    for (walk.first = reduction->first; walk.first < end; walk.first += walk.count) {
        size_t left = end - walk.first;
        walk.count = left < block ? left : block;
        walk.numbers = walk.count * loops->numbers;
        reduce_block(&walk);
    }
}
