/* SPDX-License-Identifier: Apache-2.0 */
/* host_v3.c - the host kernels for x86-64-v3 (AVX2 and FMA). */
#define ISA v3
#include "runtime/kernels/host_table.inc"
