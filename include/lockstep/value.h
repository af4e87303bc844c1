/* SPDX-License-Identifier: Apache-2.0 */
/* value.h - the value tree: what torch.load would return, as data.
 * A tree owns its nodes, strings and storages; a node (`lks_value_t *`) lives as long as its tree. The same
 * node may stand in several places (shared lists, tied tensors) and a tree read from a file may even be
 * cyclic: walk with a bound or a visited set.
 * Kinds mirror Python: none, bool, int (any size), float, str, bytes, list, tuple, dict (insertion order,
 * any hashable key), tensor, and two that keep what is neither: global (a dotted name: a dtype, a class)
 * and object (a call or an instance, kept as class, arguments and state, never executed).
 *
 * Building: constructors return NULL when memory runs out and every builder accepts NULL, so a tree is
 * built without checks and asked once: lks_tree_status. A tree that failed cannot be saved.
 * Threads: a tree being built belongs to one thread; a finished one may be read by many. */
#ifndef LOCKSTEP_VALUE_H
#define LOCKSTEP_VALUE_H

#include <lockstep/tensor.h>

LKS_BEGIN_DECLS

typedef struct lks_tree lks_tree_t;
typedef struct lks_value lks_value_t;

#define LKS_VALUE_KIND_LIST(X)                                                                     \
    X(LKS_VALUE_NONE, "none")                                                                      \
    X(LKS_VALUE_BOOL, "bool")                                                                      \
    X(LKS_VALUE_INT, "int")       /* fits int64 */                                                 \
    X(LKS_VALUE_BIGINT, "bigint") /* any other int: two's complement, little-endian bytes */       \
    X(LKS_VALUE_FLOAT, "float")                                                                    \
    X(LKS_VALUE_STR, "str") /* UTF-8 (lone surrogates kept, as Python's surrogatepass) */          \
    X(LKS_VALUE_BYTES, "bytes")                                                                    \
    X(LKS_VALUE_LIST, "list")                                                                      \
    X(LKS_VALUE_TUPLE, "tuple")                                                                    \
    X(LKS_VALUE_DICT, "dict")                                                                      \
    X(LKS_VALUE_TENSOR, "tensor")                                                                  \
    X(LKS_VALUE_GLOBAL, "global")                                                                  \
    X(LKS_VALUE_OBJECT, "object")

#define LKS_VALUE_KIND_ENUM(id, name) id,
typedef enum { LKS_VALUE_KIND_LIST(LKS_VALUE_KIND_ENUM) LKS_VALUE_KIND_COUNT } lks_value_kind_t;
#undef LKS_VALUE_KIND_ENUM

/** How an object came to be. */
typedef enum {
    LKS_OBJECT_REDUCE, /**< callable(*arguments) */
    LKS_OBJECT_NEW,    /**< cls.__new__(cls, *arguments) */
    /** A bare storage: its class, (index for lks_tree_storage, elements); a slice of one has its offset, in
     *  elements, as third number. */
    LKS_OBJECT_STORAGE,
} lks_object_how_t;

/** A tensor as a file describes it. Any ndim; bounds-checked against its storage when it was read or
 *  added. `shape` and `stride` have `ndim` elements, in the tree. */
typedef struct lks_value_tensor {
    size_t storage; /**< index for lks_tree_storage; equal index: shared memory */
    lks_dtype_t dtype;
    int ndim;
    int64_t offset;        /**< in elements */
    const int64_t *shape;  /**< elements per dimension */
    const int64_t *stride; /**< in elements */
    bool requires_grad;
    bool is_parameter; /**< wrapped in torch.nn.Parameter */
    bool is_conj;      /**< stands for the complex conjugate of the stored elements */
    bool is_neg;       /**< stands for their negative */
} lks_value_tensor_t;

/** One storage of a tree. */
typedef struct lks_tree_storage {
    lks_storage_t *storage; /**< host memory or a mapped file; borrowed from the tree */
    lks_dtype_t dtype;      /**< of the storage as the file types it */
    const char *location;   /**< the file's device tag, "cpu" or "cuda:0"; a label only */
} lks_tree_storage_t;

/** An empty tree. Errors: NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_tree_create(lks_tree_t **out);
LKS_API void lks_tree_destroy(lks_tree_t *tree);

/** OK, or the first error that building met (with its sentence). */
LKS_API LKS_NODISCARD lks_status_t lks_tree_status(const lks_tree_t *tree);

LKS_API lks_value_t *lks_tree_root(const lks_tree_t *tree); /**< NULL until set */
LKS_API void lks_tree_set_root(lks_tree_t *tree, lks_value_t *root);
LKS_API size_t lks_tree_storage_count(const lks_tree_t *tree);
LKS_API const lks_tree_storage_t *lks_tree_storage(const lks_tree_t *tree, size_t index);

/* --- reading ------------------------------------------------------------------------------------ */

LKS_API lks_value_kind_t lks_value_kind(const lks_value_t *value);
LKS_API const char *lks_value_kind_name(lks_value_kind_t kind);

/** The value if it is of that kind. int accepts bool; float accepts int and bool.
 *  Errors: MISMATCH ("wants int, found str"). */
LKS_API LKS_NODISCARD lks_status_t lks_value_get_bool(const lks_value_t *value, bool *out);
LKS_API LKS_NODISCARD lks_status_t lks_value_get_int(const lks_value_t *value, int64_t *out);
LKS_API LKS_NODISCARD lks_status_t lks_value_get_float(const lks_value_t *value, double *out);

/** The bytes of a str, bytes or bigint, with a zero behind them; `nbytes` may be NULL. NULL if the value
 *  is of another kind. */
LKS_API const char *lks_value_text(const lks_value_t *value, size_t *nbytes);

/** Items of a list or tuple, entries of a dict; 0 for other kinds. */
LKS_API size_t lks_value_count(const lks_value_t *value);

/** Item of a list or tuple, value of a dict entry (in insertion order); NULL past the end. */
LKS_API lks_value_t *lks_value_at(const lks_value_t *value, size_t index);

/** Key of a dict entry; NULL past the end. */
LKS_API lks_value_t *lks_value_key_at(const lks_value_t *dict, size_t index);

/** The value under a str or int key; NULL if absent or not a dict. */
LKS_API lks_value_t *lks_value_find(const lks_value_t *dict, const char *key);
LKS_API lks_value_t *lks_value_find_int(const lks_value_t *dict, int64_t key);

/** True for collections.OrderedDict. `attributes` is its instance dict (state dicts keep `_metadata`
 *  there), NULL if none. */
LKS_API bool lks_value_dict_is_ordered(const lks_value_t *dict);
LKS_API lks_value_t *lks_value_dict_attributes(const lks_value_t *dict);

/** The tensor, NULL if the value is none. */
LKS_API const lks_value_tensor_t *lks_value_tensor(const lks_value_t *value);

/** The Python attributes of a tensor that has some (a dict, as BUILD would have set it); else NULL. */
LKS_API lks_value_t *lks_value_tensor_attributes(const lks_value_t *value);

/** What the integers of a quantized tensor mean, as PyTorch says it: the tuple (torch.per_tensor_affine, scale,
 *  zero_point) or (torch.per_channel_affine, scales, zero_points, axis), real = (q - zero_point) x scale. NULL if
 *  the tensor is not quantized. */
LKS_API lks_value_t *lks_value_tensor_quantizer(const lks_value_t *value);

/** "torch.float32", "argparse.Namespace": the dotted name of a global or of an object's class. NULL for
 *  other kinds. */
LKS_API const char *lks_value_class_name(const lks_value_t *value);

/** Parts of an object; each NULL if absent. `arguments` is a tuple; `state` is what BUILD would have set;
 *  `items` is a list of what APPENDS, `entries` a dict of what SETITEMS would have added. */
LKS_API lks_object_how_t lks_value_object_how(const lks_value_t *object);
LKS_API lks_value_t *lks_value_object_callable(const lks_value_t *object);
LKS_API lks_value_t *lks_value_object_arguments(const lks_value_t *object);
LKS_API lks_value_t *lks_value_object_state(const lks_value_t *object);
LKS_API lks_value_t *lks_value_object_items(const lks_value_t *object);
LKS_API lks_value_t *lks_value_object_entries(const lks_value_t *object);

/* --- building ----------------------------------------------------------------------------------- */

LKS_API lks_value_t *lks_value_none(lks_tree_t *tree);
LKS_API lks_value_t *lks_value_bool(lks_tree_t *tree, bool value);
LKS_API lks_value_t *lks_value_int(lks_tree_t *tree, int64_t value);
LKS_API lks_value_t *lks_value_bigint(lks_tree_t *tree, const void *bytes, size_t nbytes);
LKS_API lks_value_t *lks_value_float(lks_tree_t *tree, double value);
LKS_API lks_value_t *lks_value_str(lks_tree_t *tree, const char *text);
LKS_API lks_value_t *lks_value_str_n(lks_tree_t *tree, const char *text, size_t nbytes);
LKS_API lks_value_t *lks_value_bytes(lks_tree_t *tree, const void *bytes, size_t nbytes);
LKS_API lks_value_t *lks_value_list(lks_tree_t *tree);
LKS_API lks_value_t *lks_value_tuple(lks_tree_t *tree);
LKS_API lks_value_t *lks_value_dict(lks_tree_t *tree);
LKS_API lks_value_t *lks_value_ordered_dict(lks_tree_t *tree);

/** A global by module and name: ("torch", "float32"). */
LKS_API lks_value_t *lks_value_global(lks_tree_t *tree, const char *module, const char *name);

/** An object; set its other parts afterwards. `callable` is usually a global, `arguments` a tuple. */
LKS_API lks_value_t *lks_value_object(lks_tree_t *tree, lks_object_how_t how, lks_value_t *callable,
                                      lks_value_t *arguments);
LKS_API void lks_value_object_set_state(lks_tree_t *tree, lks_value_t *object, lks_value_t *state);

/** Appends to a list, a tuple under construction, or an object's items. */
LKS_API void lks_value_append(lks_tree_t *tree, lks_value_t *sequence, lks_value_t *item);

/** Sets dict[key] (the last value of a repeated key wins and keeps its place, as in Python), or an object's
 *  entries. Keys must be hashable: none, bool, int, float, str, bytes, tuple of those, global, tensor or
 *  object (by identity). */
LKS_API void lks_value_set(lks_tree_t *tree, lks_value_t *dict, lks_value_t *key,
                           lks_value_t *value);
LKS_API void lks_value_set_str(lks_tree_t *tree, lks_value_t *dict, const char *key,
                               lks_value_t *value);
LKS_API void lks_value_set_int(lks_tree_t *tree, lks_value_t *dict, int64_t key,
                               lks_value_t *value);
LKS_API void lks_value_dict_set_attributes(lks_tree_t *tree, lks_value_t *dict,
                                           lks_value_t *attributes);

/** Adds a storage (retained by the tree) and returns its index; SIZE_MAX when memory ran out. Adding the
 *  same storage again returns the same index. */
LKS_API size_t lks_tree_add_storage(lks_tree_t *tree, lks_storage_t *storage, lks_dtype_t dtype,
                                    const char *location);

/** A tensor over a host storage of the tree, described by `*tensor` (shape and stride are copied).
 *  Outside its storage: the tree fails with INVALID_ARG. */
LKS_API lks_value_t *lks_value_tensor_new(lks_tree_t *tree, const lks_value_tensor_t *tensor);

LKS_API void lks_value_tensor_set_attributes(lks_tree_t *tree, lks_value_t *tensor,
                                             lks_value_t *attributes);

LKS_API void lks_value_tensor_set_quantizer(lks_tree_t *tree, lks_value_t *tensor,
                                            lks_value_t *quantizer);

/** The same from a compute tensor in host memory: adds its storage if need be. */
LKS_API lks_value_t *lks_value_tensor_from(lks_tree_t *tree, const lks_tensor_t *tensor);

LKS_END_DECLS
#endif
