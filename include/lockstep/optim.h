/* SPDX-License-Identifier: Apache-2.0 */
/* optim.h - optimizers, with PyTorch's update rules, defaults and state names.
 * Sources: torch.optim.SGD, Adam, AdamW (the documentation's algorithms; 1.13 and later agree).
 * Moments are float32 as the parameters; hyper-parameters and bias corrections are computed in float64.
 * Parameters stored as float16 or bfloat16 have float32 master values, which a step updates and then rounds: an update
 * too small for 16 bits is not lost. They begin as the parameters' values.
 * The state lies in one block per name, laid out as the module's flat values, so that a step is one pass.
 * Threads: an optimizer belongs to its replica's thread. */
#ifndef LOCKSTEP_OPTIM_H
#define LOCKSTEP_OPTIM_H

#include <lockstep/module.h>

LKS_BEGIN_DECLS

typedef enum { LKS_OPTIM_SGD, LKS_OPTIM_ADAM, LKS_OPTIM_ADAMW, LKS_OPTIM_COUNT } lks_optim_kind_t;

/** Hyper-parameters; those of other kinds are ignored. */
typedef struct lks_optim_config {
    lks_optim_kind_t kind;
    double lr;           /**< SGD 1e-2 here (PyTorch has no default), Adam and AdamW 1e-3 */
    double momentum;     /**< SGD, 0 */
    double dampening;    /**< SGD, 0 */
    bool nesterov;       /**< SGD, false; needs momentum > 0 and dampening 0 */
    double weight_decay; /**< SGD and Adam 0 (added to the gradient), AdamW 1e-2 (decoupled) */
    double beta1, beta2; /**< Adam, AdamW: 0.9, 0.999 */
    double eps;          /**< Adam, AdamW: 1e-8; for 0 see lks_optim_step */
    bool amsgrad;        /**< Adam, AdamW: false */
    bool maximize;       /**< all, false */
} lks_optim_config_t;

LKS_API lks_optim_config_t lks_optim_config_default(lks_optim_kind_t kind);

/** "sgd", "adam", "adamw", any case. Errors: NOT_FOUND (the sentence lists them). */
LKS_API LKS_NODISCARD lks_status_t lks_optim_kind_from_name(const char *name,
                                                            lks_optim_kind_t *out);
/** PyTorch's class name: "SGD", "Adam", "AdamW". */
LKS_API const char *lks_optim_kind_name(lks_optim_kind_t kind);

/** What lks_optim_create asks of a config. Errors: INVALID_ARG (the sentence names the hyper-parameter). */
LKS_API LKS_NODISCARD lks_status_t lks_optim_config_check(const lks_optim_config_t *config);

typedef struct lks_optim lks_optim_t;

/** An optimizer over all parameters of `module` (borrowed, materialized, outlives it), whose values are the first master
 *  values of parameters of 16 bits.
 *  Errors: INVALID_ARG (a hyper-parameter out of PyTorch's range, or not finite; the sentence names it),
 *  NO_MEMORY. */
LKS_API LKS_NODISCARD lks_status_t lks_optim_create(const lks_optim_config_t *config,
                                                    lks_module_t *module, lks_optim_t **out);
LKS_API void lks_optim_destroy(lks_optim_t *optim);

/** One update of every parameter from its gradient. Adam with eps 0 leaves an element alone whose gradients
 *  were all 0, where PyTorch makes it NaN. Errors: none on the host. */
LKS_API LKS_NODISCARD lks_status_t lks_optim_step(lks_optim_t *optim, lks_exec_t *exec);

LKS_API const lks_optim_config_t *lks_optim_config(const lks_optim_t *optim);
LKS_API void lks_optim_set_lr(lks_optim_t *optim, double lr);

/** Steps taken; PyTorch keeps it per parameter ("step"), here all parameters agree. */
LKS_API int64_t lks_optim_steps(const lks_optim_t *optim);

/* State, for checkpoints. Names are PyTorch's: momentum_buffer; exp_avg, exp_avg_sq, max_exp_avg_sq. */
LKS_API size_t lks_optim_state_count(const lks_optim_t *optim);
LKS_API const char *lks_optim_state_name(const lks_optim_t *optim, size_t state);
/** State `state` of parameter `param` (an index of lks_module_param), as a view with its shape; no
 *  tensor for a buffer. Borrowed; zeros until a step or the caller writes it. */
LKS_API lks_tensor_t lks_optim_state(const lks_optim_t *optim, size_t state, size_t param);
/** All parameters' state `state` in the layout of lks_module_flat_values. Borrowed. */
LKS_API lks_tensor_t lks_optim_flat_state(const lks_optim_t *optim, size_t state);

/** Master values of parameter `param`, as a view with its shape; no tensor where it is float32 and has none, or a buffer.
 *  Borrowed. Who changes a parameter's value sets its masters, too, or the next step goes on from the old ones. */
LKS_API lks_tensor_t lks_optim_master(const lks_optim_t *optim, size_t param);

/** After a checkpoint's state was copied in: the steps it was taken at. 0 makes the next step a first one,
 *  which takes the states for unwritten; they are not touched here. */
LKS_API void lks_optim_set_steps(lks_optim_t *optim, int64_t steps);
/** Replaces the hyper-parameters (not the kind or amsgrad). Momentum turned on adds its state, so call this
 *  before a checkpoint's state is copied in. Errors: INVALID_ARG, NO_MEMORY; nothing is replaced then. */
LKS_API LKS_NODISCARD lks_status_t lks_optim_set_config(lks_optim_t *optim,
                                                        const lks_optim_config_t *config);

LKS_END_DECLS
#endif
