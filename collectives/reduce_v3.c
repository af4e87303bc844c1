/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_v3.c - the loops of a reduction for x86-64-v3 (AVX2, F16C). */
#define ISA v3
#include "collectives/reduce_loops.inc"
