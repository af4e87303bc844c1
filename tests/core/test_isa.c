/* SPDX-License-Identifier: Apache-2.0 */
#include "core/isa.h"
#include "support/support.h"

#include <stdlib.h>

Test(isa, environment_asks_for_less)
{
    setenv("LOCKSTEP_ISA", "baseline", 1);
    cr_assert(lks_isa_get() == LKS_ISA_BASELINE);
}

Test(isa, unknown_name_is_ignored)
{
    unsetenv("LOCKSTEP_ISA");
    setenv("LOCKSTEP_ISA", "pentium", 1);
    lks_isa_t isa = lks_isa_get();
    cr_assert(isa < LKS_ISA_COUNT);
    setenv("LOCKSTEP_ISA", "baseline", 1); /* too late: decided once */
    cr_assert(lks_isa_get() == isa);
}

Test(isa, names)
{
    cr_assert_str_eq(lks_isa_name(LKS_ISA_BASELINE), "baseline");
    cr_assert_str_eq(lks_isa_name(LKS_ISA_V3), "v3");
    cr_assert_str_eq(lks_isa_name(LKS_ISA_V4), "v4");
}
