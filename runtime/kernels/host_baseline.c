/* SPDX-License-Identifier: Apache-2.0 */
/* host_baseline.c - the host kernels for any x86-64 (SSE2). */
#define ISA baseline
#include "runtime/kernels/host_table.inc"
