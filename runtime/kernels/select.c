/* SPDX-License-Identifier: Apache-2.0 */
/* select.c - which table this processor runs. */
#include "core/isa.h"
#include "runtime/kernels/table.h"

static const lks_kernels_t *const tables[LKS_ISA_COUNT] = {
    [LKS_ISA_BASELINE] = &lks_kernels_baseline,
    [LKS_ISA_V3] = &lks_kernels_v3,
    [LKS_ISA_V4] = &lks_kernels_v4,
};

const lks_kernels_t *lks_kernels_get(void)
{
    return tables[lks_isa_get()];
}
