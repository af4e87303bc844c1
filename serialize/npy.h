/* SPDX-License-Identifier: Apache-2.0 */
/* npy.h - NumPy's arrays, .npy: a header and then the elements, one behind the other.
 *     "\x93NUMPY", two bytes of version, the length of the text (u16 in version 1.0, u32 in 2.0 and 3.0), the text:
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }      spaces up to a multiple of 64, "\n"
 * The text is read as data: strings, True or False, and a tuple of ints, each key once, and nothing else.
 * The format: NumPy's NEP 1. */
#ifndef LOCKSTEP_SERIALIZE_NPY_H
#define LOCKSTEP_SERIALIZE_NPY_H

#include "core/strbuf.h"

#include <lockstep/value.h>

#define LKS_NPY_MAGIC "\x93NUMPY"
#define LKS_NPY_NDIM_MAX 64                /* NumPy's own limit */
#define LKS_NPY_HEADER_MAX ((size_t)65536) /* longer ones only describe structures */

typedef struct lks_npy {
    lks_dtype_t dtype;
    bool big_endian;    /* elements of more than one byte */
    bool fortran_order; /* the first dimension varies fastest */
    int ndim;
    int64_t shape[LKS_NPY_NDIM_MAX];
    size_t header; /* bytes before the elements */
    size_t nbytes; /* of the elements */
} lks_npy_t;

/** Bytes of the header, by the first `nbytes` bytes of an array. Errors: FORMAT (no array; too few bytes to tell),
 *  UNSUPPORTED (version). */
LKS_NODISCARD lks_status_t lks_npy_header_size(const unsigned char *data, size_t nbytes,
                                               size_t *out);

/** Reads the header of an array of `size` bytes of which the first lks_npy_header_size are at `data`.
 *  Errors: FORMAT (no header; elements are missing or too many), UNSUPPORTED (elements of another kind). */
LKS_NODISCARD lks_status_t lks_npy_read(const unsigned char *data, uint64_t size, lks_npy_t *out);

/** The array as a tensor over storage `index` of the tree, which begins with its elements. */
lks_value_t *lks_npy_tensor(lks_tree_t *tree, const lks_npy_t *npy, size_t index);

/** True if NumPy has elements of that kind. */
bool lks_npy_has(lks_dtype_t dtype);

/** Appends a header of version 1.0 for an array in C order of such elements; ndim <= LKS_NPY_NDIM_MAX. */
void lks_npy_write(lks_strbuf_t *out, lks_dtype_t dtype, int ndim, const int64_t *shape);

#endif
