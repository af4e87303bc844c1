/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.h - files of the safetensors library: named tensors, and nothing else.
 *     u64      bytes of the header, at most 100,000,000
 *     header   {"__metadata__": {"format": "pt", ...},
 *               "fc.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *              JSON, filled up with spaces to a multiple of 8; "__metadata__", strings under strings, may be absent
 *     data     the tensors in C order, little-endian; offsets count from here. They follow each other without
 *              holes and without overlap, from 0 to the end of the file. There are no checksums.
 * As a value tree: an OrderedDict of the tensors, in the order of the header. Its attribute "__metadata__" is the
 * dict of strings, empty where the file has none. */
#ifndef LOCKSTEP_SERIALIZE_SAFETENSORS_H
#define LOCKSTEP_SERIALIZE_SAFETENSORS_H

#include "serialize/format.h"

#define LKS_SAFETENSORS_HEADER_MAX 100000000
#define LKS_SAFETENSORS_METADATA "__metadata__"

/** X(name, dtype, bits of an element, elements in one of ours). The writer of the safetensors library puts tensors
 *  in the order of this list from its end, and those of one dtype in the order of their names. */
#define LKS_SAFETENSORS_DTYPE_LIST(X)                                                              \
    X("BOOL", LKS_DTYPE_BOOL, 8, 1)                                                                \
    X("F4", LKS_DTYPE_F4_E2M1FN_X2, 4, 2)                                                          \
    X("F6_E2M3", LKS_DTYPE_F6_E2M3FN_X4, 6, 4)                                                     \
    X("F6_E3M2", LKS_DTYPE_F6_E3M2FN_X4, 6, 4)                                                     \
    X("U8", LKS_DTYPE_U8, 8, 1)                                                                    \
    X("I8", LKS_DTYPE_I8, 8, 1)                                                                    \
    X("F8_E5M2", LKS_DTYPE_F8_E5M2, 8, 1)                                                          \
    X("F8_E4M3", LKS_DTYPE_F8_E4M3FN, 8, 1)                                                        \
    X("F8_E8M0", LKS_DTYPE_F8_E8M0FNU, 8, 1)                                                       \
    X("F8_E4M3FNUZ", LKS_DTYPE_F8_E4M3FNUZ, 8, 1)                                                  \
    X("F8_E5M2FNUZ", LKS_DTYPE_F8_E5M2FNUZ, 8, 1)                                                  \
    X("I16", LKS_DTYPE_I16, 16, 1)                                                                 \
    X("U16", LKS_DTYPE_U16, 16, 1)                                                                 \
    X("F16", LKS_DTYPE_F16, 16, 1)                                                                 \
    X("BF16", LKS_DTYPE_BF16, 16, 1)                                                               \
    X("I32", LKS_DTYPE_I32, 32, 1)                                                                 \
    X("U32", LKS_DTYPE_U32, 32, 1)                                                                 \
    X("F32", LKS_DTYPE_F32, 32, 1)                                                                 \
    X("C64", LKS_DTYPE_C64, 64, 1)                                                                 \
    X("F64", LKS_DTYPE_F64, 64, 1)                                                                 \
    X("I64", LKS_DTYPE_I64, 64, 1)                                                                 \
    X("U64", LKS_DTYPE_U64, 64, 1)

typedef struct lks_safetensors_dtype {
    const char *name;
    size_t name_length;
    lks_dtype_t dtype;
    unsigned bits, group; /* of its elements, `group` make one of `dtype` */
} lks_safetensors_dtype_t;

/** One of the list; NULL if there is none. A later place in the list is a higher address. */
const lks_safetensors_dtype_t *lks_safetensors_dtype_named(const char *name, size_t nbytes);
const lks_safetensors_dtype_t *lks_safetensors_dtype_of(lks_dtype_t dtype);

/** lks_format_t.save. Tensors are written as the safetensors library does, byte for byte. The root is a dict of
 *  tensors under str keys; anything else is refused, or left out where the options say so:
 *  - values that are no tensors, keys that are no str or no UTF-8, dtypes and views (conjugated, negative,
 *    quantized) that the format has not;
 *  - a tensor that shares bytes with one before: were it written twice, nobody could tell any more. Dropping it
 *    notes {its name: the name that is kept} in the metadata if both are the same view, as save_model does, which
 *    is how load_model finds it; a view that merely overlaps is written as a copy.
 *  What has no place but is no data is left out silently: attributes, requires_grad, `_metadata`.
 *  The metadata is the root's attribute "__metadata__" if that is a dict of strings, {"format": "pt"} where there
 *  is no such attribute. */
LKS_NODISCARD lks_status_t lks_safetensors_save(const lks_tree_t *tree, const char *path,
                                                const lks_save_options_t *options,
                                                lks_sink_t *sink);

#endif
