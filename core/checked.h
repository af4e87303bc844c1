/* SPDX-License-Identifier: Apache-2.0 */
/* checked.h - size arithmetic on numbers that came from a file or a caller.
 * Each returns false and leaves *out alone where the result does not fit. */
#ifndef LOCKSTEP_CORE_CHECKED_H
#define LOCKSTEP_CORE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool lks_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    return __builtin_add_overflow(a, b, &r) ? false : (*out = r, true);
}

static inline bool lks_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    return __builtin_mul_overflow(a, b, &r) ? false : (*out = r, true);
}

static inline bool lks_add_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    return __builtin_add_overflow(a, b, &r) ? false : (*out = r, true);
}

static inline bool lks_mul_i64(int64_t a, int64_t b, int64_t *out)
{
    int64_t r;
    return __builtin_mul_overflow(a, b, &r) ? false : (*out = r, true);
}

#endif
