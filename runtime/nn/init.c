/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - initial values: one walk over the tree, one sequence of random numbers. */
#include "runtime/nn/module_ops.h"

static lks_status_t init(lks_module_t *module, lks_rng_t *rng)
{
    if (module->ops->init) {
        LKS_TRY(lks_module_run_init(module, rng));
    }
    for (size_t i = 0; i < module->child_count; i++) {
        LKS_TRY(init(module->children[i], rng));
    }
    return LKS_OK;
}

lks_status_t lks_module_init(lks_module_t *module, uint64_t seed)
{
    if (!module->materialized) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s: init before materialize", module->ops->kind);
    }
    lks_rng_t rng;
    lks_rng_init(&rng, seed, LKS_STREAM_INIT);
    return init(module, &rng);
}
