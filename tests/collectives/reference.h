/* SPDX-License-Identifier: Apache-2.0 */
/* reference.h - what ranks put into collectives, and the specification of a reduction, written naively. */
#ifndef LOCKSTEP_TESTS_COLLECTIVES_REFERENCE_H
#define LOCKSTEP_TESTS_COLLECTIVES_REFERENCE_H

#include <lockstep/comm.h>
#include <stdint.h>

/** Element `i` of rank `rank`'s input of collective `seed`: bits that any rank can compute for any other. Floats have
 *  mixed signs and magnitudes, so that their sum depends on its order; none is zero or not finite. */
void rank_element(lks_dtype_t dtype, uint64_t seed, int rank, size_t i, void *out);

/** The whole input, `count` elements from `first` on. */
void rank_fill(lks_dtype_t dtype, uint64_t seed, int rank, size_t first, size_t count, void *out);

/** Element `i` reduced over ranks 0, 1, 2, ... one after the other. */
void rank_reduced(lks_dtype_t dtype, lks_reduce_op_t op, uint64_t seed, int world_size, size_t i,
                  void *out);

#endif
