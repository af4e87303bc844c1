/* SPDX-License-Identifier: Apache-2.0 */
/* module_ops.h - what a layer is made of: the table it fills and the struct it lives in. linear.c is the
 * example; to add a layer, see README.md. */
#ifndef LOCKSTEP_RUNTIME_NN_MODULE_OPS_H
#define LOCKSTEP_RUNTIME_NN_MODULE_OPS_H

#include "core/rng.h"
#include "core/trace.h"

#include <lockstep/module.h>

/** Own parameters and buffers of one layer, and the dimensions of one. */
#define LKS_SLOTS_MAX 4
#define LKS_SLOT_DIMS_MAX 4

/** A parameter or buffer of a layer, declared when the layer is made. */
typedef struct lks_slot {
    const char *name; /* "weight" */
    lks_param_kind_t kind;
    int ndim;
    int64_t shape[LKS_SLOT_DIMS_MAX];
    /* What the layer reads and writes; no grad for a buffer. Float32 ones are those that are stored, from materialize
     * on; else they are copies, valid in the layer's own init, forward and backward: in forward value, in backward
     * grad and, where the input's gradient is wanted, value. */
    float *value, *grad;
    void *stored_value, *stored_grad; /* of the module's dtype; NULL: the same as above */
    size_t count;                     /* elements; from materialize on, as the next */
    size_t param;                     /* index of lks_module_param */
} lks_slot_t;

typedef struct lks_module_ops {
    const char *kind; /* PyTorch's class */

    /* Features taken and given. NULL: whatever comes, and the same number goes. */
    int64_t (*in_features)(const lks_module_t *module);
    int64_t (*out_features)(const lks_module_t *module);

    /* Fills the slots with their default initial values; NULL: there are none. */
    void (*init)(lks_module_t *module, lks_rng_t *rng);

    /* As lks_module_forward and _backward, with inputs that were checked: float32, (batch, features),
     * contiguous. In training mode forward keeps in `module` what backward wants; a view of its input will do.
     * `relu` and `input_is_relu` are only set where `fuses_relu`: forward then also applies a ReLU to its
     * output, and backward the gradient of a ReLU, whose output was the input, to grad_input. */
    bool fuses_relu;
    lks_status_t (*forward)(lks_module_t *module, lks_exec_t *exec, const lks_tensor_t *input,
                            bool relu, lks_tensor_t *output);
    lks_status_t (*backward)(lks_module_t *module, lks_exec_t *exec,
                             const lks_tensor_t *grad_output, bool input_is_relu,
                             lks_tensor_t *grad_input);
} lks_module_ops_t;

/** The blocks behind a whole tree's parameters; only the root has one. */
typedef struct lks_module_memory {
    lks_storage_t *values, *grads, *buffers;
    lks_param_t *params;
    size_t param_count;
    char *names; /* what params[].name point into */
} lks_module_memory_t;

struct lks_module {
    const lks_module_ops_t *ops;
    lks_module_t **children; /* only a container has them */
    size_t child_count, child_capacity;
    bool owned, materialized;
    lks_dtype_t dtype; /* of parameters; the root's, until materialize makes it everybody's */
    lks_slot_t slots[LKS_SLOTS_MAX];
    size_t slot_count;
    size_t layer; /* number among the leaves of the tree, in order, from 1 */
    lks_module_memory_t memory;

    /* The last forward in training mode: scratch of the exec. */
    lks_tensor_t input, output;
    const lks_exec_t *trained_on; /* NULL: there was none; of the root only, as the next */
    uint64_t generation;          /* of the exec's scratch, then */

    const char *forward_span, *backward_span; /* of a layer whose exec records a trace */
};

/** A module of this kind without slots, in `size` bytes: a layer with settings of its own begins its struct
 *  with an lks_module_t. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_module_create(const lks_module_ops_t *ops, size_t size,
                                             lks_module_t **out);

/** Names the spans of all layers of a tree, before its exec gets a row: "3 Linear forward". */
void lks_module_name_spans(lks_module_t *module, lks_trace_t *trace);

/** A layer's ops->forward and ops->backward, with parameters of 16 bits widened before and gradients rounded after. */
LKS_NODISCARD lks_status_t lks_module_run_forward(lks_module_t *module, lks_exec_t *exec,
                                                  const lks_tensor_t *input, bool relu,
                                                  lks_tensor_t *output);
LKS_NODISCARD lks_status_t lks_module_run_backward(lks_module_t *module, lks_exec_t *exec,
                                                   const lks_tensor_t *grad_output,
                                                   bool input_is_relu, lks_tensor_t *grad_input);

/** Tells the exec that the gradients of a layer's own parameters are done: after the layer's backward, which was the
 *  last to use their values. */
LKS_NODISCARD lks_status_t lks_module_report_grads(const lks_module_t *module, lks_exec_t *exec);

/** ops->init, likewise. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_module_run_init(lks_module_t *module, lks_rng_t *rng);

/** A materialized tree's gradients move to the memory of `to`, as many bytes of the host, which gets theirs in exchange.
 *  Pointers to them are void. */
void lks_module_move_grads(lks_module_t *module, lks_storage_t *to);

void lks_module_memory_fini(lks_module_memory_t *memory);

/** Declares a parameter or buffer of a module that is being made. */
void lks_module_declare(lks_module_t *module, const char *name, lks_param_kind_t kind, int ndim,
                        const int64_t *shape);

extern const lks_module_ops_t lks_linear_ops, lks_relu_ops, lks_dropout_ops, lks_sequential_ops;

#endif
