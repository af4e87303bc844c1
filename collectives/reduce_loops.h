/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_loops.h - the loops of a reduction, a row per dtype and a table per instruction set: reduce_baseline.c,
 * reduce_v3.c and reduce_v4.c compile the same reduce_loops.inc. All tables give the same bits.
 * A *number* is what a dtype is computed in: float32 for 16-bit floats, one of two for a complex element, else the
 * element itself. */
#ifndef LOCKSTEP_COLLECTIVES_REDUCE_LOOPS_H
#define LOCKSTEP_COLLECTIVES_REDUCE_LOOPS_H

#include <lockstep/comm.h>

typedef struct lks_reduce_loops {
    size_t number_size; /* bytes of a number */
    size_t numbers;     /* per element: 2 for complex ones */
    /* out = a op b, and the same into `copy` unless that is NULL. Any of them may be the same buffer, else they do
     * not overlap. NULL: the dtype has no such reduction. */
    void (*fold[LKS_REDUCE_OP_COUNT])(void *out, void *copy, const void *a, const void *b,
                                      size_t count);
    /* (s0 op s1) op (s2 op s3), the same bits as three folds, with one pass over memory; likewise. */
    void (*fold_four[LKS_REDUCE_OP_COUNT])(void *out, void *copy, const void *const *sources,
                                           size_t count);
    void (*divide)(void *out, const void *numbers, size_t count, int divisor); /* of AVG */
    /* From elements to numbers and back; NULL: they are the same. */
    void (*load)(void *numbers, const void *elements, size_t count);
    void (*store)(void *elements, const void *numbers, size_t count);
} lks_reduce_loops_t;

extern const lks_reduce_loops_t lks_reduce_loops_baseline[LKS_DTYPE_COUNT];
extern const lks_reduce_loops_t lks_reduce_loops_v3[LKS_DTYPE_COUNT];
extern const lks_reduce_loops_t lks_reduce_loops_v4[LKS_DTYPE_COUNT];

#endif
