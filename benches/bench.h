/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - what benches share: a clock, medians, and an end with a sentence. */
#ifndef LOCKSTEP_BENCHES_BENCH_H
#define LOCKSTEP_BENCHES_BENCH_H

#include <lockstep/status.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/** Seconds on a clock that only runs forward. */
static inline double bench_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/** Sorts. */
static inline double bench_median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, bench_compare);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

static inline void bench_must(lks_status_t status)
{
    if (status != LKS_OK) {
        (void)fprintf(stderr, "bench: %s\n", lks_last_error()->message);
        exit(1);
    }
}

#endif
