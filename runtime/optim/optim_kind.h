/* SPDX-License-Identifier: Apache-2.0 */
/* optim_kind.h - what a kind of optimizer fills in; the tables are listed in optim.c. */
#ifndef LOCKSTEP_RUNTIME_OPTIM_OPTIM_KIND_H
#define LOCKSTEP_RUNTIME_OPTIM_OPTIM_KIND_H

#include "runtime/kernels/table.h"

#include <lockstep/optim.h>

enum { LKS_OPTIM_STATES_MAX = 3 };

/** One update of `count` values: flat blocks of one layout, and the numbers of this step. */
typedef struct lks_optim_update {
    float *value;
    const float *grad;
    float *state[LKS_OPTIM_STATES_MAX]; /* NULL where the step does without */
    size_t count;
    union {
        lks_sgd_args_t sgd;
        lks_adam_args_t adam;
    } args;
} lks_optim_update_t;

typedef struct lks_optim_kind_ops {
    const char *name; /* PyTorch's class */
    lks_optim_config_t defaults;
    const char *state_names[LKS_OPTIM_STATES_MAX]; /* PyTorch's */

    /** What PyTorch's constructor checks; every number is finite already. */
    lks_status_t (*check)(const lks_optim_config_t *config);
    /** How many states, counted from the first, a step with this config uses. */
    size_t (*state_count)(const lks_optim_config_t *config);
    /** The numbers of step `step` (1 is the first), computed in float64. `first`: no step has
     *  written the states yet. */
    void (*prepare)(const lks_optim_config_t *config, int64_t step, bool first,
                    lks_optim_update_t *update);
    /** Updates values [begin, end). */
    void (*run)(const lks_kernels_t *kernels, const lks_optim_update_t *update, size_t begin,
                size_t end);
} lks_optim_kind_ops_t;

/** An optimizer of values that lie anywhere: it owns the states alone, flat blocks of `count` elements in which
 *  parameter i, of layout[i]'s dtype, has the shape and offset of layout[i] (ndim -1: it is a buffer and has no state).
 *  Masters are zero. Errors: as lks_optim_create. */
LKS_NODISCARD lks_status_t lks_optim_create_flat(const lks_optim_config_t *config,
                                                 lks_device_t *device, const lks_tensor_t *layout,
                                                 size_t params, size_t count, lks_optim_t **out);

/** Makes the states and masters of `other` also those of `optim`, which are of one layout: replicas of one memory share
 *  them, each updating its own part of every parameter. Steps are counted apart. */
void lks_optim_share_state(lks_optim_t *optim, const lks_optim_t *other);

/** All parameters' masters, in the layout of the states; no tensor if all parameters are float32. */
lks_tensor_t lks_optim_flat_master(const lks_optim_t *optim);

/** A step in parts: begin counts it and fills in the numbers and the states; apply, from any thread, updates
 *  value[0..count), elements of `dtype`, from grad, `state` being the place of the first in the flat states. */
void lks_optim_begin(lks_optim_t *optim, lks_optim_update_t *update);
/** After begin, for values that had no part in `skipped` of the steps: their own count is less by so many. */
void lks_optim_skip(const lks_optim_t *optim, int64_t skipped, lks_optim_update_t *update);
void lks_optim_apply(const lks_optim_t *optim, const lks_kernels_t *kernels,
                     const lks_optim_update_t *update, lks_dtype_t dtype, void *value,
                     const float *grad, size_t state, size_t count);

extern const lks_optim_kind_ops_t lks_optim_sgd, lks_optim_adam, lks_optim_adamw;

/** "<owner>: <name> is <value>; it must be at least 0" unless it is. */
LKS_NODISCARD lks_status_t lks_optim_check_not_negative(const char *owner, const char *name,
                                                        double value);

#endif
