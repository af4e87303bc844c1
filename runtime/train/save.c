/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - the checkpoint of a job: the dict of trainer.h as a tree of borrowed tensors, then one file. */
#include "runtime/train/job.h"

#include <lockstep/version.h>
#include <math.h>

static lks_value_t *float_list(lks_tree_t *tree, const float *values, int64_t count)
{
    lks_value_t *list = lks_value_list(tree);
    for (int64_t i = 0; i < count; i++) {
        lks_value_append(tree, list, lks_value_float(tree, (double)values[i]));
    }
    return list;
}

static lks_value_t *sampler_dict(lks_tree_t *tree, const lks_job_t *job,
                                 const lks_progress_t *progress)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "seed", lks_value_int(tree, (int64_t)job->sampler.seed));
    lks_value_set_str(tree, dict, "epoch", lks_value_int(tree, progress->epoch));
    lks_value_set_str(tree, dict, "step", lks_value_int(tree, progress->step));
    lks_value_set_str(tree, dict, "count", lks_value_int(tree, job->sampler.count));
    lks_value_set_str(tree, dict, "batch_size", lks_value_int(tree, job->sampler.batch_size));
    return dict;
}

static lks_value_t *rng_dict(lks_tree_t *tree, const lks_job_t *job, const lks_progress_t *progress)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "algorithm", lks_value_str(tree, "philox4x32-10"));
    lks_value_set_str(tree, dict, "seed", lks_value_int(tree, (int64_t)job->config->seed));
    lks_value_set_str(tree, dict, "step", lks_value_int(tree, progress->global_step));
    return dict;
}

/* Sums of an epoch that is not over, so that its mean comes out the same after a resume. */
static lks_value_t *metrics_dict(lks_tree_t *tree, const lks_progress_t *progress)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "epoch_loss", lks_value_float(tree, progress->epoch_loss));
    lks_value_set_str(tree, dict, "epoch_correct", lks_value_float(tree, progress->epoch_correct));
    lks_value_set_str(tree, dict, "epoch_count", lks_value_int(tree, progress->epoch_count));
    lks_value_set_str(tree, dict, "accuracy", lks_value_float(tree, progress->accuracy));
    lks_value_set_str(tree, dict, "val_loss", lks_value_float(tree, progress->val_loss));
    lks_value_set_str(tree, dict, "val_accuracy", lks_value_float(tree, progress->val_accuracy));
    lks_value_set_str(tree, dict, "best_loss", lks_value_float(tree, progress->best_loss));
    lks_value_set_str(tree, dict, "best_accuracy", lks_value_float(tree, progress->best_accuracy));
    if (progress->skipped_steps > 0) {
        lks_value_set_str(tree, dict, "skipped_steps",
                          lks_value_int(tree, progress->skipped_steps));
    }
    return dict;
}

static lks_value_t *standardize_dict(lks_tree_t *tree, const lks_feature_stats_t *stats)
{
    if (!stats->mean) {
        return lks_value_none(tree);
    }
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "mean", float_list(tree, stats->mean, stats->count));
    lks_value_set_str(tree, dict, "std", float_list(tree, stats->std, stats->count));
    return dict;
}

static lks_value_t *class_list(lks_tree_t *tree, const lks_dataset_t *data)
{
    lks_value_t *list = lks_value_list(tree);
    for (int64_t i = 0; i < lks_dataset_classes(data); i++) {
        lks_value_append(tree, list, lks_value_str(tree, lks_dataset_class_name(data, i)));
    }
    return list;
}

static lks_value_t *lockstep_dict(lks_tree_t *tree, const lks_job_t *job,
                                  const lks_replica_t *replica, const lks_progress_t *progress)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "layout", lks_value_int(tree, LKS_CHECKPOINT_LAYOUT));
    lks_value_set_str(tree, dict, "version", lks_value_str(tree, LKS_VERSION_STRING));
    lks_value_set_str(tree, dict, "world_size", lks_value_int(tree, replica->world_size));
    lks_value_set_str(tree, dict, "sampler", sampler_dict(tree, job, progress));
    lks_value_set_str(tree, dict, "rng", rng_dict(tree, job, progress));
    lks_value_set_str(tree, dict, "metrics", metrics_dict(tree, progress));
    lks_value_set_str(tree, dict, "standardize", standardize_dict(tree, &job->stats));
    lks_value_set_str(tree, dict, "classes", class_list(tree, job->data));
    return dict;
}

/* What only a job with it has: 16-bit parameters, a loss scale. */
static void add_precision(lks_tree_t *tree, lks_value_t *root, const lks_job_t *job,
                          const lks_replica_t *replica)
{
    const lks_grad_scaler_t *scaler = lks_replica_grad_scaler(replica);
    if (lks_module_flat_values(replica->module).dtype != LKS_DTYPE_F32) {
        lks_value_set_str(
            tree, root, "master_params",
            lks_masters_save(tree, replica->module, replica->optim, job->config->key_prefix));
    }
    if (scaler) {
        lks_value_set_str(tree, root, "grad_scaler", lks_scaler_state_save(tree, scaler));
    }
}

static lks_value_t *checkpoint_dict(lks_tree_t *tree, const lks_job_t *job,
                                    const lks_replica_t *replica, const lks_progress_t *progress)
{
    const lks_train_config_t *config = job->config;
    const lks_lr_scheduler_t *scheduler = &progress->scheduler;
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_str(tree, root, "epoch", lks_value_int(tree, progress->epoch));
    lks_value_set_str(tree, root, "model_state_dict",
                      lks_model_state_save(tree, replica->module, config->key_prefix));
    lks_value_set_str(tree, root, "optimizer_state_dict",
                      lks_optim_state_save(tree, replica->optim, replica->module, scheduler));
    lks_value_set_str(tree, root, "lr_scheduler", lks_scheduler_state_save(tree, scheduler));
    lks_value_set_str(tree, root, "loss", lks_value_float(tree, progress->loss));
    lks_value_set_str(tree, root, "best_prec",
                      lks_value_float(tree, fmax(progress->best_accuracy, 0.0)));
    add_precision(tree, root, job, replica);
    lks_value_set_str(tree, root, "args", lks_args_save(tree, config));
    lks_value_set_str(tree, root, "lockstep", lockstep_dict(tree, job, replica, progress));
    return root;
}

lks_status_t lks_job_save(const lks_job_t *job, const lks_replica_t *replica,
                          const lks_progress_t *progress, const char *const *paths, int count,
                          lks_save_handle_t **background)
{
    lks_tree_t *tree;
    LKS_TRY(lks_tree_create(&tree));
    lks_tree_set_root(tree, checkpoint_dict(tree, job, replica, progress));
    lks_save_options_t options = lks_save_options_default();
    options.copies = paths + 1;
    options.copy_count = (size_t)count - 1;
    lks_status_t status = background
                              ? lks_checkpoint_save_async(paths[0], tree, &options, background)
                              : lks_checkpoint_save(paths[0], tree, &options);
    lks_tree_destroy(tree);
    return status;
}
