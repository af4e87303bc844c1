/* SPDX-License-Identifier: Apache-2.0 */
/* bucket_plan.c - one open bucket per dtype; tensors are assigned to it and the bucket is numbered when it closes. */
#include "collectives/bucket_plan.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct open_bucket {
    size_t nbytes, first, last; /* positions in the order of its first and last tensor */
    bool any, closed_one;       /* has tensors; is not the first of its dtype */
} open_bucket_t;

/* Gives the tensors of `dtype` in order[first..end) that have no bucket yet the number `bucket`. */
static void number(const lks_dtype_t *dtypes, const size_t *order, open_bucket_t *open,
                   lks_dtype_t dtype, size_t end, size_t bucket, size_t *bucket_of)
{
    for (size_t i = open->first; i < end; i++) {
        if (dtypes[order[i]] == dtype) {
            bucket_of[order[i]] = bucket;
        }
    }
    *open = (open_bucket_t){.closed_one = true};
}

size_t lks_bucket_plan(const size_t *nbytes, const lks_dtype_t *dtypes, const size_t *order,
                       size_t count, size_t first_limit, size_t limit, size_t *bucket_of)
{
    open_bucket_t opens[LKS_DTYPE_COUNT] = {0};
    size_t buckets = 0;
    for (size_t i = 0; i < count; i++) {
        lks_dtype_t dtype = dtypes[order[i]];
        open_bucket_t *open = &opens[dtype];
        if (!open->any) {
            open->any = true;
            open->first = i;
        }
        open->last = i;
        open->nbytes += nbytes[order[i]];
        if (open->nbytes >= (open->closed_one ? limit : first_limit)) {
            number(dtypes, order, open, dtype, i + 1, buckets++, bucket_of);
        }
    }
    for (size_t i = 0; i < count; i++) { /* what is left, in the order of last tensors */
        lks_dtype_t dtype = dtypes[order[i]];
        if (opens[dtype].any && i == opens[dtype].last) {
            number(dtypes, order, &opens[dtype], dtype, count, buckets++, bucket_of);
        }
    }
    return buckets;
}
