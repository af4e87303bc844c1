/* SPDX-License-Identifier: Apache-2.0 */
/* convert.h - a row of numbers from one real dtype to another, as lks_tensor_convert describes it. */
#ifndef LOCKSTEP_CORE_CONVERT_H
#define LOCKSTEP_CORE_CONVERT_H

#include <lockstep/dtype.h>

/** Converts `count` elements; a step is the distance of two elements in bytes. No complex numbers. */
void lks_convert_row(lks_dtype_t to, unsigned char *dst, size_t dst_step, lks_dtype_t from,
                     const unsigned char *src, size_t src_step, size_t count);

#endif
