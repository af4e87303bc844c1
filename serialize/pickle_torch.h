/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_torch.h - what torch puts into a pickle: storages as persistent ids, tensors as calls.
 *     ('storage', torch.FloatStorage, '0', 'cpu', 12)                     a storage
 *     ('storage', torch.FloatStorage, '7', 'cpu', 12, None)               the same in a stream (before 1.6)
 *     ('storage', torch.FloatStorage, '7', 'cpu', 12, ('8', 3, 6))        its elements 3 to 8 (before 0.4)
 *     ('module', class, source file, source text)                         a class, in a stream
 *     torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)
 *     torch._utils._rebuild_parameter(tensor, requires_grad, hooks)
 * How a storage's key becomes bytes is the format's business: zip archives, streams and tar files differ. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_TORCH_H
#define LOCKSTEP_SERIALIZE_PICKLE_TORCH_H

#include "serialize/pickle_read.h"
#include "serialize/pickle_write.h"

/** A storage as a pickle names it. */
typedef struct lks_torch_storage_id {
    const char *class_name; /* for messages: "torch.FloatStorage" */
    const char *key;        /* as long as the tree and the pickle are there; not terminated */
    size_t key_length;
    const char *location; /* as long as the tree is */
    lks_dtype_t dtype;    /* of a class that has none here, one of the same size, or uint8 */
    size_t itemsize;      /* 0: the class is unknown */
    int64_t numel;        /* >= 0; of the whole, where the id names a slice */
} lks_torch_storage_id_t;

/** As lks_pickle_hooks_t.create. */
typedef lks_status_t (*lks_torch_create_fn_t)(void *context, lks_tree_t *tree, lks_object_how_t how,
                                              lks_value_t *callable, lks_value_t *arguments,
                                              lks_value_t **out);

typedef struct lks_torch_reader {
    void *context;
    /* Adds the storage to the tree, or finds it there. NULL: ids are something else, and hooks.persistent is set by
     * the caller. */
    lks_status_t (*storage)(void *context, lks_tree_t *tree, const lks_torch_storage_id_t *id,
                            size_t *index);
    bool stream;                  /* ids may name slices and classes, as before 1.6 */
    lks_torch_create_fn_t create; /* calls that the format around the pickle knows; NULL: none */
    /* Of the reader: the storage class that was named last. */
    const lks_value_t *class;
    lks_dtype_t dtype;
    size_t itemsize;
} lks_torch_reader_t;

/** Hooks that read one pickle as torch wrote it; `reader` is borrowed, and is their context. Calls that make something else than a plain
 *  tensor (sparse, quantized, float8, conjugated) stay objects over bare storages: nothing is lost. */
lks_pickle_hooks_t lks_torch_read_hooks(lks_torch_reader_t *reader);

/** lks_pickle_hooks_t.call for plain tensors: see pickle_tensor.c. */
LKS_NODISCARD lks_status_t lks_torch_read_call(void *context, struct lks_pickle_machine *machine,
                                               bool *done);

/** What a storage of that class holds; `*itemsize` 0 and bytes if the class is unknown. */
lks_dtype_t lks_torch_class_dtype(const char *class_name, size_t *itemsize);

/** "torch.FloatStorage"; NULL for dtypes without a class of their own. */
const char *lks_torch_dtype_class(lks_dtype_t dtype);

/** Moves a tensor that was described as one of `storage`, a bare storage, to the whole of that.
 *  Errors: FORMAT (not within the storage). */
LKS_NODISCARD lks_status_t lks_torch_place_tensor(const lks_value_t *storage,
                                                  lks_value_tensor_t *tensor);

/** A storage's key, "12"; need not be terminated. */
typedef struct lks_torch_key {
    const char *text;
    size_t length;
} lks_torch_key_t;

/** The storages that a pickle being written has named, by key: `order[key]` is the tree's index. */
typedef struct lks_torch_writer {
    const lks_tree_t *tree;
    /* By index, those that storages already have; NULL: they are numbered as they are first named, and what
     * follows tells how. */
    const lks_torch_key_t *keys;
    bool stream;      /* as before 1.6: ids say whether they name a slice */
    size_t *order;    /* key -> index */
    size_t *key_of;   /* index -> key, SIZE_MAX if not named yet */
    size_t *itemsize; /* index -> bytes of an element, of the class that it was named with first */
    size_t count;
} lks_torch_writer_t;

/** Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_torch_writer_init(const lks_tree_t *tree, lks_torch_writer_t *out);
void lks_torch_writer_fini(lks_torch_writer_t *writer);

/** Forgets what was named, for another pickle; costs as much as naming it did. */
void lks_torch_writer_reset(lks_torch_writer_t *writer);

/** Hooks that write tensors and storages as torch does; `writer` is borrowed. */
lks_pickle_write_hooks_t lks_torch_write_hooks(lks_torch_writer_t *writer);

#endif
