/* SPDX-License-Identifier: Apache-2.0 */
/* optim_floor.h - what a step must cost: one fused pass over its memory, and nothing else.
 * optim_floor.c is compiled for the machine at hand with every relaxation of floating point and
 * constants folded in. It shows the memory's limit; its results are of no use. */
#ifndef LOCKSTEP_BENCHES_OPTIM_FLOOR_H
#define LOCKSTEP_BENCHES_OPTIM_FLOOR_H

#include <stddef.h>

/** SGD with momentum and weight decay: 20 bytes per value. */
void floor_sgd(float *restrict value, const float *restrict grad, float *restrict buffer,
               size_t count);

/** AdamW: 28 bytes per value. */
void floor_adamw(float *restrict value, const float *restrict grad, float *restrict exp_avg,
                 float *restrict exp_avg_sq, size_t count);

#endif
