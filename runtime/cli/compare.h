/* SPDX-License-Identifier: Apache-2.0 */
/* compare.h - two leaves of two checkpoints beside each other: are they equal, and if not, what differs. */
#ifndef LOCKSTEP_CLI_COMPARE_H
#define LOCKSTEP_CLI_COMPARE_H

#include <lockstep/checkpoint.h>

typedef struct compare_options {
    double rtol,
        atol; /* equal: |a - b| <= atol + rtol x |b|, as numpy.allclose; NaN equals NaN. Both 0: bit by bit */
    bool ignore_dtype; /* numbers of two dtypes are compared as numbers */
    bool strict;       /* strides, device tags, requires_grad and kinds of dict count, too */
} compare_options_t;

typedef struct compare_side {
    lks_checkpoint_t *checkpoint;
    const lks_value_t *value;
} compare_side_t;

#define DIFFERENCE_MAX 512

/** *equal, or else one line that says what differs: "3 of 32 elements, at most by 0.0012 (0.1 relative)".
 *  Errors: those of reading elements. */
LKS_NODISCARD lks_status_t compare_leaves(compare_side_t a, compare_side_t b, const char *path,
                                          const compare_options_t *options, bool *equal,
                                          char difference[DIFFERENCE_MAX]);

#endif
