/* SPDX-License-Identifier: Apache-2.0 */
/* host_v4.c - the host kernels for x86-64-v4 (AVX-512). */
#define ISA v4
#include "runtime/kernels/host_table.inc"
