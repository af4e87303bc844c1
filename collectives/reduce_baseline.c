/* SPDX-License-Identifier: Apache-2.0 */
/* reduce_baseline.c - the loops of a reduction for x86-64. */
#define ISA baseline
#include "collectives/reduce_loops.inc"
