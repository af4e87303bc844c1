/* SPDX-License-Identifier: Apache-2.0 */
/* swap.h - elements of the other byte order. */
#ifndef LOCKSTEP_SERIALIZE_SWAP_H
#define LOCKSTEP_SERIALIZE_SWAP_H

#include <lockstep/dtype.h>

/** Turns numbers of `width` bytes around, in place; what is left behind the last whole one stays. */
void lks_swap_bytes(unsigned char *data, size_t nbytes, size_t width);

/** Bytes that turn around together: of a complex element, those of one part; 1 where there is nothing to turn. */
size_t lks_swap_width(lks_dtype_t dtype);

#endif
