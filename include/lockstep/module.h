/* SPDX-License-Identifier: Apache-2.0 */
/* module.h - layers, and the tree they form.
 * Life: build the tree (lks_linear_create, ..., lks_sequential_append) -> lks_module_materialize puts all
 * parameters on a device, one block for values, one for gradients, one for buffers -> forward, backward, ...
 * -> lks_module_destroy. A module never knows that it is replicated: each replica owns a copy.
 * Names are PyTorch's: a child's name, a dot, the parameter's: "0.weight".
 * Layers compute in float32, also where parameters and gradients are stored in 16 bits (lks_module_set_dtype). Shapes are written (batch, features); rows are samples.
 * Threads: a module belongs to one replica's thread.
 * Sources: torch.nn.Linear, ReLU, Dropout, Sequential, CrossEntropyLoss, MSELoss. */
#ifndef LOCKSTEP_MODULE_H
#define LOCKSTEP_MODULE_H

#include <lockstep/exec.h>

LKS_BEGIN_DECLS

typedef struct lks_module lks_module_t;

/** y = x W^T + b. weight (out_features, in_features), bias (out_features).
 *  Initial values: both uniform in +-1/sqrt(in_features). Errors: INVALID_ARG (sizes < 1), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_linear_create(int64_t in_features, int64_t out_features,
                                                     bool bias, lks_module_t **out);
/** y = max(x, 0); NaN stays NaN. */
LKS_API LKS_NODISCARD lks_status_t lks_relu_create(lks_module_t **out);

/** Training: y = x / (1 - p) where the mask keeps x, else 0. Evaluation: y = x. 0 <= p <= 1.
 *  The mask of element e of global sample s in layer l (counted from 1, in tree order) at step t is the Philox
 *  number at (t, l, s, e / 4), word e % 4: it does not depend on the split of the batch. */
LKS_API LKS_NODISCARD lks_status_t lks_dropout_create(double p, lks_module_t **out);

/** Children in order, each one's output the next one's input; names "0", "1", ... */
LKS_API LKS_NODISCARD lks_status_t lks_sequential_create(lks_module_t **out);

/** Takes ownership of `child` (also when it fails). Errors: INVALID_ARG (not a Sequential, already
 *  materialized), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_sequential_append(lks_module_t *sequential,
                                                         lks_module_t *child);

LKS_API void lks_module_destroy(lks_module_t *module);
LKS_API const char *lks_module_kind(const lks_module_t *module); /**< "Linear", "Sequential" */

/** How the parameters of the tree and their gradients are stored: float32 (at first), float16 or bfloat16; buffers are
 *  float32. A layer widens its parameters when it reads them, and rounds its gradients when they are done.
 *  Errors: INVALID_ARG (another dtype, already materialized, part of another module). */
LKS_API LKS_NODISCARD lks_status_t lks_module_set_dtype(lks_module_t *module, lks_dtype_t dtype);

/** Allocates every parameter, gradient and buffer of the tree on `device`; gradients are zero, values
 *  undefined. Once. Errors: INVALID_ARG (twice), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_module_materialize(lks_module_t *module,
                                                          lks_device_t *device);

/** Fills all parameters with their default initial values, in order, from one Philox stream keyed by `seed`:
 *  the same seed gives the same values on every machine. The module must be materialized on a host device. */
LKS_API LKS_NODISCARD lks_status_t lks_module_init(lks_module_t *module, uint64_t seed);

typedef enum { LKS_PARAM_WEIGHT, LKS_PARAM_BUFFER } lks_param_kind_t;

/** One named tensor of the tree; borrowed from the module. */
typedef struct lks_param {
    const char *name; /**< "0.weight" */
    lks_param_kind_t kind;
    lks_tensor_t value;
    lks_tensor_t grad; /**< no tensor for a buffer */
} lks_param_t;

/** Parameters, then buffers, each in PyTorch's state_dict order within its kind. Valid after materialize. */
LKS_API size_t lks_module_param_count(const lks_module_t *module);
LKS_API const lks_param_t *lks_module_param(const lks_module_t *module, size_t index);

/** All parameters as one vector (padding between them is zero and stays so), their gradients in the
 *  same layout, both of the module's dtype, and the buffers, float32. Any may be empty. Borrowed. */
LKS_API lks_tensor_t lks_module_flat_values(const lks_module_t *module);
LKS_API lks_tensor_t lks_module_flat_grads(const lks_module_t *module);
LKS_API lks_tensor_t lks_module_flat_buffers(const lks_module_t *module);

/** Computes `output` from `input` (batch, in) float32 contiguous. The output is scratch of `exec`, and the
 *  input must live until backward is done.
 *  Errors: INVALID_ARG (shape, dtype), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_module_forward(lks_module_t *module, lks_exec_t *exec,
                                                      const lks_tensor_t *input,
                                                      lks_tensor_t *output);

/** Adds nothing: writes every parameter's gradient from `grad_output`, the gradient of the last forward's
 *  output, in training mode. `grad_input` gets the gradient of the input; NULL if nobody wants it.
 *  Errors: INVALID_ARG (no forward before it), NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_module_backward(lks_module_t *module, lks_exec_t *exec,
                                                       const lks_tensor_t *grad_output,
                                                       lks_tensor_t *grad_input);

/** Mean negative log-likelihood of softmax(logits) at the labels, over `global_count` samples of which
 *  these are a part: the sum of the ranks' losses is the loss of the global batch.
 *  logits: (batch, classes) float32; labels: (batch) int64 in [0, classes).
 *  loss: this part's sum / global_count, summed in float64. grad: as logits, NULL for none.
 *  correct: samples whose largest logit (the first of equals) is the label; may be NULL.
 *  Errors: INVALID_ARG (shape; a label outside: the sentence names it). */
LKS_API LKS_NODISCARD lks_status_t lks_cross_entropy(lks_exec_t *exec, const lks_tensor_t *logits,
                                                     const lks_tensor_t *labels,
                                                     int64_t global_count, double *loss,
                                                     lks_tensor_t *grad, int64_t *correct);

/** Mean squared error over `global_count` samples of all their elements, in the same manner.
 *  output, target: (batch, features) float32. */
LKS_API LKS_NODISCARD lks_status_t lks_mse_loss(lks_exec_t *exec, const lks_tensor_t *output,
                                                const lks_tensor_t *target, int64_t global_count,
                                                double *loss, lks_tensor_t *grad);

/** Builds a model from its description: "mlp:4,8,3" is Linear(4,8), ReLU, Linear(8,3);
 *  "mlp:784,512,10,dropout=0.2" puts Dropout(0.2) behind every ReLU.
 *  Errors: INVALID_ARG (the sentence says what was expected). */
LKS_API LKS_NODISCARD lks_status_t lks_model_create(const char *description, lks_module_t **out);

/** Features a materialized or described model takes and gives: first Linear's in, last Linear's out. */
LKS_API int64_t lks_module_in_features(const lks_module_t *module);
LKS_API int64_t lks_module_out_features(const lks_module_t *module);

LKS_END_DECLS
#endif
