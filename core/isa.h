/* SPDX-License-Identifier: Apache-2.0 */
/* isa.h - which of the instruction sets that hot loops are compiled for this processor runs. Chosen by a table and
 * not by ifunc: ifunc resolvers run before the sanitizers' runtimes are ready. */
#ifndef LOCKSTEP_CORE_ISA_H
#define LOCKSTEP_CORE_ISA_H

/** x86-64, x86-64-v3 (AVX2, FMA, F16C) and x86-64-v4 (AVX-512), each with all that the ones before it have. */
typedef enum lks_isa { LKS_ISA_BASELINE, LKS_ISA_V3, LKS_ISA_V4, LKS_ISA_COUNT } lks_isa_t;

/** The widest one this processor runs, or the narrower one that LOCKSTEP_ISA=baseline|v3|v4 asks for. Decided once.
 *  Thread-safe. */
lks_isa_t lks_isa_get(void);

/** "baseline", "v3", "v4". */
const char *lks_isa_name(lks_isa_t isa);

#endif
