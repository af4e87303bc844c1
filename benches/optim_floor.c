/* SPDX-License-Identifier: Apache-2.0 */
/* optim_floor.c - see optim_floor.h. */
#include "optim_floor.h"

#include <math.h>

void floor_sgd(float *restrict value, const float *restrict grad, float *restrict buffer,
               size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float b = 0.9f * buffer[i] + (grad[i] + 1e-4f * value[i]);
        buffer[i] = b;
        value[i] -= 1e-3f * b;
    }
}

void floor_adamw(float *restrict value, const float *restrict grad, float *restrict exp_avg,
                 float *restrict exp_avg_sq, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float g = grad[i];
        float average = 0.9f * exp_avg[i] + 0.1f * g;
        float square = 0.999f * exp_avg_sq[i] + 0.001f * g * g;
        exp_avg[i] = average;
        exp_avg_sq[i] = square;
        value[i] = value[i] * (1 - 1e-6f) - 1.1e-4f * average / (sqrtf(square) * 1.05f + 1e-8f);
    }
}
