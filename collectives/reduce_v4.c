/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_v4.c - the loops of a reduction for x86-64-v4 (AVX-512). */
#define ISA v4
#include "collectives/reduce_loops.inc"
