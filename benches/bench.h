/* SPDX-License-Identifier: Apache-2.0 */
/* bench.h - what benches share: a clock, medians, and an end with a sentence. */
#ifndef LOCKSTEP_BENCHES_BENCH_H
#define LOCKSTEP_BENCHES_BENCH_H

#include <lockstep/status.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/** Fresh memory, zeros, in huge pages as far as the system has them. */
static inline void *bench_huge_alloc(size_t nbytes)
{
    void *data = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED) {
        bench_must(lks_fail(LKS_ERR_NO_MEMORY, "no memory of %zu bytes", nbytes));
    }
    (void)madvise(data, nbytes, MADV_HUGEPAGE);
    return data;
}

static inline void bench_huge_free(void *data, size_t nbytes)
{
    (void)munmap(data, nbytes);
}

#endif
