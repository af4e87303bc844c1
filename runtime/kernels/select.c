/* SPDX-License-Identifier: Apache-2.0 */
/* select.c - which table this processor runs. Chosen by a table and not by ifunc: ifunc resolvers run before
 * the sanitizers' runtimes are ready. */
#include "runtime/kernels/table.h"

#include <lockstep/log.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const lks_kernels_t *chosen;

/* Widest first. */
static const lks_kernels_t *const tables[] = {&lks_kernels_v4, &lks_kernels_v3,
                                              &lks_kernels_baseline};
enum { TABLES = sizeof tables / sizeof *tables };

/* x86-64-v3 and v4 name feature levels that gcc 12 and clang 14 know as flags but not here. */
static bool runs(const lks_kernels_t *table)
{
    if (table == &lks_kernels_baseline) {
        return true;
    }
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
    if (table == &lks_kernels_v3) {
        return v3;
    }
    return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

static void choose(void)
{
    const char *wanted = getenv("LOCKSTEP_ISA");
    size_t widest = 0; /* that may be used */
    if (wanted) {
        while (widest < TABLES && strcmp(tables[widest]->isa, wanted) != 0) {
            widest++;
        }
        if (widest == TABLES) {
            lks_log(LKS_LOG_WARN, "LOCKSTEP_ISA is '%s'; it may be baseline, v3 or v4", wanted);
            widest = 0;
        }
    }
    while (!runs(tables[widest])) {
        widest++;
    }
    chosen = tables[widest];
}

const lks_kernels_t *lks_kernels_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose);
    return chosen;
}
