/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_plan.h - which gradients travel together. Pure arithmetic. */
#ifndef LOCKSTEP_COLLECTIVES_BUCKET_PLAN_H
#define LOCKSTEP_COLLECTIVES_BUCKET_PLAN_H

#include <lockstep/dtype.h>
#include <stddef.h>

/** Puts tensors into buckets, in the order in which their gradients are ready: order[0] is the index of the first. A
 *  bucket holds one dtype and is closed once it has its limit of bytes or more: `first_limit` for the first bucket of
 *  a dtype, `limit` for those after it. The rule is DistributedDataParallel's (compute_bucket_assignment_by_size).
 *  Buckets are numbered in the order in which they are complete.
 *  nbytes, dtypes: (count), by tensor; bucket_of: (count), filled. Returns the number of buckets. */
size_t lks_bucket_plan(const size_t *nbytes, const lks_dtype_t *dtypes, const size_t *order,
                       size_t count, size_t first_limit, size_t limit, size_t *bucket_of);

#endif
