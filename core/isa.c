/* SPDX-License-Identifier: Apache-2.0 */
/* isa.c - asks the processor and the environment, once. */
#include "core/isa.h"

#include <lockstep/log.h>

#include <cpuid.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[LKS_ISA_COUNT] = {
    [LKS_ISA_BASELINE] = "baseline", [LKS_ISA_V3] = "v3", [LKS_ISA_V4] = "v4"};

static lks_isa_t chosen;

/* Not every compiler knows this one by name. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* x86-64-v3 and v4 name feature levels that gcc 12 and clang 14 know as flags but not here. */
static lks_isa_t widest(void)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2") || !has_f16c()) {
        return LKS_ISA_BASELINE;
    }
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
              __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512cd");
    return v4 ? LKS_ISA_V4 : LKS_ISA_V3;
}

static void choose(void)
{
    const char *text = getenv("LOCKSTEP_ISA");
    chosen = widest();
    if (!text) {
        return;
    }
    int wanted = 0;
    while (wanted < LKS_ISA_COUNT && strcmp(names[wanted], text) != 0) {
        wanted++;
    }
    if (wanted == LKS_ISA_COUNT) {
        lks_log(LKS_LOG_WARN, "LOCKSTEP_ISA is '%s'; it may be baseline, v3 or v4", text);
    } else if (wanted < (int)chosen) {
        chosen = (lks_isa_t)wanted;
    }
}

lks_isa_t lks_isa_get(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose);
    return chosen;
}

const char *lks_isa_name(lks_isa_t isa)
{
    return names[isa];
}
