/* SPDX-License-Identifier: Apache-2.0 */
/* job.h - what the files of the trainer share: the job, its progress, and the pieces of a checkpoint.
 * Reading order: trainer.c (set-up) -> loop.c (the steps) -> saver.c, save.c, resume.c (the files) -> evaluate.c. */
#ifndef LOCKSTEP_RUNTIME_TRAIN_JOB_H
#define LOCKSTEP_RUNTIME_TRAIN_JOB_H

#include "core/strbuf.h"
#include "runtime/train/event_file.h"
#include "runtime/train/profile.h"

#include <lockstep/checkpoint.h>
#include <lockstep/data.h>
#include <lockstep/lr_scheduler.h>
#include <lockstep/replica_group.h>
#include <lockstep/state_dict.h>
#include <lockstep/trainer.h>

/** Of the `lockstep` dict in a checkpoint; readers refuse a newer one. */
#define LKS_CHECKPOINT_LAYOUT 1

/** Where a job stands. Every replica keeps one; they are equal, because everything in them was all-reduced. */
typedef struct lks_progress {
    int64_t epoch;         /* completed epochs */
    int64_t step;          /* steps done in the current epoch */
    int64_t global_step;   /* since the beginning */
    int64_t skipped_steps; /* of these, by the loss scaler */
    lks_lr_scheduler_t scheduler;
    double epoch_loss, epoch_correct; /* sums over the current epoch's samples */
    int64_t epoch_count;
    double loss, accuracy, val_loss, val_accuracy; /* of the last completed epoch */
    double best_accuracy, best_loss;
} lks_progress_t;

/** Feature statistics; NULL: features are used as they are. Both shape (features). */
typedef struct lks_feature_stats {
    float *mean, *std;
    int64_t count;
} lks_feature_stats_t;

/** The replicas of a job. Zeroed: none. */
typedef struct lks_replicas {
    lks_device_list_t *devices;
    lks_replica_group_t *group;
    int processes; /* of the job */
} lks_replicas_t;

typedef struct lks_job {
    const lks_train_config_t *config;
    lks_replicas_t replicas;
    lks_dataset_t *data;
    int64_t *train, *validation; /* sample numbers */
    int64_t train_count, validation_count;
    lks_feature_stats_t stats;
    lks_sampler_t sampler;
    lks_progress_t start, end;
    bool interrupted;
    lks_event_file_t *events; /* rank 0's; NULL: none is asked for */
    lks_profile_t profile;
} lks_job_t;

/* --- replicas.c --------------------------------------------------------------------------------- */

typedef struct lks_replicas_config {
    const char *model, *devices;
    lks_dtype_t dtype; /* of parameters */
    bool bind;
    const lks_replica_options_t *options; /* NULL: no optimizer */
    bool processes; /* those that a launcher started make one job; else each is alone */
    uint64_t seed;
    double timeout; /* 0: the communicator's default */
} lks_replicas_config_t;

/** Checks the model's description, opens the devices and starts a replica on each. Closing is right after a failure too. */
LKS_NODISCARD lks_status_t lks_replicas_open(lks_replicas_t *replicas,
                                             const lks_replicas_config_t *config);
void lks_replicas_close(lks_replicas_t *replicas);
lks_replica_t *lks_replicas_first(const lks_replicas_t *replicas);
bool lks_replicas_are_stuck(const lks_replicas_t *replicas); /* lks_replica_group_is_stuck */

/** Whether rank 0, which speaks and saves, is in this process. */
bool lks_replicas_speak(const lks_replicas_t *replicas);

/** Hands what was loaded into rank 0 to all. */
LKS_NODISCARD lks_status_t lks_replicas_share(const lks_replicas_t *replicas);

/** The statistics of `file`, if any, must be of as many features as the data has. Errors: MISMATCH. */
LKS_NODISCARD lks_status_t lks_check_stats_fit(const lks_feature_stats_t *stats, const char *file,
                                               const lks_dataset_t *data, const char *name);

/* --- data.c ------------------------------------------------------------------------------------- */

/** Allocates room for `count` features. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_feature_stats_create(int64_t count, lks_feature_stats_t *out);
void lks_feature_stats_fini(lks_feature_stats_t *stats);

/** Opens the data of a training job, splits it and standardizes it. A resumed checkpoint's `root` (NULL: none) says
 *  the statistics and the classes, else the training part does. */
LKS_NODISCARD lks_status_t lks_job_open_data(lks_job_t *job, const lks_value_t *root);
void lks_job_close_data(lks_job_t *job);

/** The model must take what the data gives. Errors: MISMATCH. */
LKS_NODISCARD lks_status_t lks_check_model_fits(const lks_module_t *module, const char *model,
                                                const lks_dataset_t *data, const char *name);

/* --- model_state.c ------------------------------------------------------------------------------ */

/** A contiguous tensor as a value with a storage of its own: parameters lie in one block here, and a file that
 *  shared it would hand PyTorch tensors that drag the whole block along. NULL when memory runs out. */
lks_value_t *lks_tensor_save(lks_tree_t *tree, const lks_tensor_t *tensor);

/** The module's tensors as an OrderedDict with `_metadata`, names behind `prefix`. */
lks_value_t *lks_model_state_save(lks_tree_t *tree, const lks_module_t *module, const char *prefix);

/** Master values in the same manner: those of parameters that have some. */
lks_value_t *lks_masters_save(lks_tree_t *tree, const lks_module_t *module,
                              const lks_optim_t *optim, const char *prefix);

/** Fills them from a checkpoint's master_params; where it has none, or `checkpoint` is NULL, from the module's values.
 *  Errors: as lks_model_state_load, strict. */
LKS_NODISCARD lks_status_t lks_masters_load(lks_checkpoint_t *checkpoint,
                                            const lks_module_t *module, const lks_optim_t *optim,
                                            const char *prefix);

/** Fills the module from a checkpoint's state dict: all of it or nothing. `report` gets the load report's
 *  text. Errors: NOT_FOUND (no state dict), MISMATCH (strict, or nothing fits), CORRUPT. */
LKS_NODISCARD lks_status_t lks_model_state_load(lks_checkpoint_t *checkpoint, lks_module_t *module,
                                                const char *prefix, bool strict,
                                                lks_strbuf_t *report);

/* --- optim_state.c, scheduler_state.c ----------------------------------------------------------- */

lks_value_t *lks_optim_state_save(lks_tree_t *tree, const lks_optim_t *optim,
                                  const lks_module_t *module, const lks_lr_scheduler_t *scheduler);

/** Restores state and hyper-parameters from torch's optimizer state_dict.
 *  Errors: MISMATCH (another optimizer, parameter count or shapes), UNSUPPORTED (several groups). */
LKS_NODISCARD lks_status_t lks_optim_state_load(lks_checkpoint_t *checkpoint,
                                                const lks_value_t *state, lks_optim_t *optim,
                                                const lks_module_t *module);

lks_value_t *lks_scheduler_state_save(lks_tree_t *tree, const lks_lr_scheduler_t *scheduler);
LKS_NODISCARD lks_status_t lks_scheduler_state_load(const lks_value_t *state,
                                                    lks_lr_scheduler_t *scheduler);

/* --- precision.c -------------------------------------------------------------------------------- */

/** config->precision. Errors: INVALID_ARG. */
LKS_NODISCARD lks_status_t lks_job_precision(const lks_train_config_t *config, lks_dtype_t *out);

/** The loss scaler that config->loss_scale asks for, if it `scales`. Errors: INVALID_ARG. */
LKS_NODISCARD lks_status_t lks_job_scaler(const lks_train_config_t *config, lks_grad_scaler_t *out,
                                          bool *scales);

lks_value_t *lks_scaler_state_save(lks_tree_t *tree, const lks_grad_scaler_t *scaler);
LKS_NODISCARD lks_status_t lks_scaler_state_load(const lks_value_t *state,
                                                 lks_grad_scaler_t *scaler);

/* --- save.c, resume.c, args.c ------------------------------------------------------------------- */

/** Writes the state of `replica` (rank 0) at `progress` to the first of `count` paths and copies it to the others; with
 *  `background` (may be NULL) as lks_checkpoint_save_async does. */
LKS_NODISCARD lks_status_t lks_job_save(const lks_job_t *job, const lks_replica_t *replica,
                                        const lks_progress_t *progress, const char *const *paths,
                                        int count, lks_save_handle_t **background);

/** Restores replica 0 and job->start from config->resume. The data is open. */
LKS_NODISCARD lks_status_t lks_job_resume(lks_job_t *job, lks_checkpoint_t *checkpoint,
                                          lks_strbuf_t *report);

/** Feature statistics of a checkpoint, if it has any. */
LKS_NODISCARD lks_status_t lks_feature_stats_load(const lks_value_t *root,
                                                  lks_feature_stats_t *stats);

/** The class names a checkpoint's model learned, into *out (count of them; free it; the texts are the tree's); NULL and
 *  0 if it says none. Errors: MISMATCH, NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_class_names_load(const lks_value_t *root, const char ***out,
                                                int64_t *count);

/** The config's settings as a plain dict, and `args` of a root back into a config. */
lks_value_t *lks_args_save(lks_tree_t *tree, const lks_train_config_t *config);

/** Whether gradients are means over each rank's samples, and then over ranks. */
bool lks_averages_ranks(const lks_train_config_t *config);

/** Refuses settings no job can run with. Errors: INVALID_ARG. */
LKS_NODISCARD lks_status_t lks_train_config_check(const lks_train_config_t *config);

/* --- loop.c, evaluate.c ------------------------------------------------------------------------- */

/** lks_replica_group_run's function: trains from job->start to the end. context: lks_job_t. */
LKS_NODISCARD lks_status_t lks_train_loop(lks_replica_t *replica, void *context);

/** Mean loss and share correct over `count` samples (numbers in `subset`; NULL: all), on all replicas. */
typedef struct lks_eval_sums {
    double loss;    /* mean over the samples */
    double correct; /* samples; 0 for regression */
} lks_eval_sums_t;
LKS_NODISCARD lks_status_t lks_evaluate_subset(lks_replica_t *replica, const lks_dataset_t *data,
                                               const int64_t *subset, int64_t count,
                                               int64_t batch_size, lks_eval_sums_t *out);

/** Loss of one batch and, with `grad`, its gradient: cross-entropy or MSE, as the data has it. */
LKS_NODISCARD lks_status_t lks_batch_loss(lks_exec_t *exec, const lks_tensor_t *output,
                                          const lks_batch_t *batch, int64_t global_count,
                                          double *loss, lks_tensor_t *grad, int64_t *correct);

static inline void lks_job_notify(const lks_train_config_t *config, const lks_train_event_t *event)
{
    if (config->observer) {
        config->observer(config->observer_context, event);
    }
}

#endif
