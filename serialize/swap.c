/* SPDX-License-Identifier: Apache-2.0 */
/* swap.c - see swap.h. */
#include "serialize/swap.h"

void lks_swap_bytes(unsigned char *data, size_t nbytes, size_t width)
{
    for (size_t at = 0; nbytes - at >= width; at += width) {
        for (size_t i = 0; i < width / 2; i++) {
            unsigned char byte = data[at + i];
            data[at + i] = data[at + width - 1 - i];
            data[at + width - 1 - i] = byte;
        }
    }
}

size_t lks_swap_width(lks_dtype_t dtype)
{
    size_t itemsize = lks_dtype_size(dtype);
    return lks_dtype_is_complex(dtype) ? itemsize / 2 : itemsize;
}
