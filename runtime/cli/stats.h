/* SPDX-License-Identifier: Apache-2.0 */
/* stats.h - what the elements of a tensor are like. */
#ifndef LOCKSTEP_CLI_STATS_H
#define LOCKSTEP_CLI_STATS_H

#include "runtime/cli/elements.h"

/** Over the finite elements: NaN where there are none. `std` divides by the count, as NumPy's. */
typedef struct stats {
    double min, max, mean, std;
    int64_t zeros, nans, infinities;
} stats_t;

/** Errors: UNSUPPORTED (elements that are no numbers). */
LKS_NODISCARD lks_status_t stats_of(const elements_t *elements, stats_t *out);

#endif
