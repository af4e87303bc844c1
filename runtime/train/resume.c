/* SPDX-License-Identifier: Apache-2.0 */
/* resume.c - a job's state out of a checkpoint. A PyTorch script's file resumes at its epoch; one with a
 * `lockstep` dict resumes at its step. */
#include "runtime/train/job.h"
#include "runtime/train/read.h"

#include <lockstep/log.h>
#include <stdlib.h>

/* --- feature statistics --------------------------------------------------------------------------- */

static lks_status_t read_floats(const lks_value_t *list, int64_t count, float *out)
{
    for (int64_t i = 0; i < count; i++) {
        double number;
        LKS_TRY(lks_value_get_float(lks_value_at(list, (size_t)i), &number));
        out[i] = (float)number;
    }
    return LKS_OK;
}

lks_status_t lks_feature_stats_load(const lks_value_t *root, lks_feature_stats_t *stats)
{
    const lks_value_t *dict = lks_value_find(lks_value_find(root, "lockstep"), "standardize");
    if (!dict || lks_value_kind(dict) == LKS_VALUE_NONE) {
        return LKS_OK;
    }
    const lks_value_t *mean = lks_value_find(dict, "mean"), *std = lks_value_find(dict, "std");
    size_t count = lks_value_count(mean);
    if (!mean || !std || count == 0 || lks_value_count(std) != count ||
        lks_value_kind(mean) != LKS_VALUE_LIST || lks_value_kind(std) != LKS_VALUE_LIST) {
        return lks_fail(LKS_ERR_MISMATCH,
                        "lockstep['standardize'] wants two equally long lists 'mean' and 'std'");
    }
    lks_feature_stats_t loaded;
    LKS_TRY(lks_feature_stats_create((int64_t)count, &loaded));
    lks_status_t status = read_floats(mean, loaded.count, loaded.mean);
    if (status == LKS_OK) {
        status = read_floats(std, loaded.count, loaded.std);
    }
    for (int64_t i = 0; i < loaded.count && status == LKS_OK; i++) {
        if (!(loaded.std[i] > 0.0f)) {
            status = lks_fail(LKS_ERR_MISMATCH, "the deviation of feature %lld is %g", (long long)i,
                              (double)loaded.std[i]);
        }
    }
    if (status != LKS_OK) {
        lks_feature_stats_fini(&loaded);
        return lks_error_prefix(status, "lockstep['standardize']");
    }
    *stats = loaded;
    return LKS_OK;
}

lks_status_t lks_class_names_load(const lks_value_t *root, const char ***out, int64_t *count)
{
    const lks_value_t *list = lks_value_find(lks_value_find(root, "lockstep"), "classes");
    size_t found = list && lks_value_kind(list) == LKS_VALUE_LIST ? lks_value_count(list) : 0;
    const char **names = NULL;
    if (found > 0) {
        names = calloc(found, sizeof *names);
        if (!names) {
            return lks_fail(LKS_ERR_NO_MEMORY, "lockstep['classes']: out of memory");
        }
    }
    for (size_t i = 0; i < found; i++) {
        const lks_value_t *name = lks_value_at(list, i);
        if (lks_value_kind(name) != LKS_VALUE_STR) {
            free(names);
            return lks_fail(LKS_ERR_MISMATCH, "lockstep['classes'][%zu] wants str, found %s", i,
                            lks_value_kind_name(lks_value_kind(name)));
        }
        names[i] = lks_value_text(name, NULL);
    }
    *out = names;
    *count = (int64_t)found;
    return LKS_OK;
}

/* --- progress ------------------------------------------------------------------------------------- */

/* The seed draws the validation part and every epoch's order: it stays. In mid-epoch the same samples must be left
 * over, too. */
static lks_status_t check_sampler(const lks_job_t *job, const lks_value_t *sampler, int64_t step)
{
    const char *where = "lockstep['sampler']";
    int64_t seed = 0, count = 0, batch_size = 0;
    LKS_TRY(lks_read_count(sampler, where, "seed", &seed));
    LKS_TRY(lks_read_count(sampler, where, "count", &count));
    LKS_TRY(lks_read_count(sampler, where, "batch_size", &batch_size));
    if ((uint64_t)seed != job->sampler.seed) {
        return lks_fail(LKS_ERR_MISMATCH, "the checkpoint's job has seed %lld, this one has %lld",
                        (long long)seed, (long long)job->sampler.seed);
    }
    if (step == 0 || (count == job->sampler.count && batch_size == job->sampler.batch_size)) {
        return LKS_OK;
    }
    return lks_fail(LKS_ERR_MISMATCH,
                    "the checkpoint stopped in mid-epoch with %lld samples and batch size %lld; "
                    "this job has %lld and %lld",
                    (long long)count, (long long)batch_size, (long long)job->sampler.count,
                    (long long)job->sampler.batch_size);
}

static lks_status_t read_metrics(const lks_value_t *metrics, lks_progress_t *next)
{
    const char *where = "lockstep['metrics']";
    LKS_TRY(lks_read_float(metrics, where, "epoch_loss", &next->epoch_loss));
    LKS_TRY(lks_read_float(metrics, where, "epoch_correct", &next->epoch_correct));
    LKS_TRY(lks_read_count(metrics, where, "epoch_count", &next->epoch_count));
    LKS_TRY(lks_read_float(metrics, where, "accuracy", &next->accuracy));
    LKS_TRY(lks_read_float(metrics, where, "val_loss", &next->val_loss));
    LKS_TRY(lks_read_float(metrics, where, "val_accuracy", &next->val_accuracy));
    LKS_TRY(lks_read_float(metrics, where, "best_loss", &next->best_loss));
    if (lks_value_find(metrics, "skipped_steps")) {
        LKS_TRY(lks_read_count(metrics, where, "skipped_steps", &next->skipped_steps));
    }
    return lks_read_float(metrics, where, "best_accuracy", &next->best_accuracy);
}

static lks_status_t read_lockstep(const lks_job_t *job, const lks_value_t *dict,
                                  lks_progress_t *next)
{
    int64_t layout;
    LKS_TRY(lks_read_count(dict, "lockstep", "layout", &layout));
    if (layout > LKS_CHECKPOINT_LAYOUT) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "layout %lld is newer than this version's %d",
                        (long long)layout, LKS_CHECKPOINT_LAYOUT);
    }
    const lks_value_t *sampler = NULL, *rng = NULL, *metrics = NULL;
    LKS_TRY(lks_read_value(dict, "lockstep", "sampler", &sampler));
    LKS_TRY(lks_read_value(dict, "lockstep", "rng", &rng));
    LKS_TRY(lks_read_value(dict, "lockstep", "metrics", &metrics));
    LKS_TRY(lks_read_count(sampler, "lockstep['sampler']", "step", &next->step));
    LKS_TRY(lks_read_count(rng, "lockstep['rng']", "step", &next->global_step));
    LKS_TRY(read_metrics(metrics, next));
    if (next->skipped_steps > next->global_step) {
        return lks_fail(LKS_ERR_MISMATCH, "lockstep has %lld steps, of which %lld were skipped",
                        (long long)next->global_step, (long long)next->skipped_steps);
    }
    LKS_TRY(check_sampler(job, sampler, next->step));
    if (next->step >= lks_sampler_steps(&job->sampler) && next->step > 0) {
        return lks_fail(LKS_ERR_MISMATCH, "sampler['step'] is %lld, but an epoch has %lld steps",
                        (long long)next->step, (long long)lks_sampler_steps(&job->sampler));
    }
    return LKS_OK;
}

/* A number if it is one: scripts also save the loss as a tensor, and nothing depends on it. */
static void note_float(const lks_value_t *root, const char *key, double *out)
{
    const lks_value_t *value = lks_value_find(root, key);
    double number;
    if (value && lks_value_get_float(value, &number) == LKS_OK) {
        *out = number;
    }
}

static lks_status_t read_progress(const lks_job_t *job, const lks_value_t *root,
                                  const lks_optim_t *optim, lks_progress_t *out)
{
    lks_progress_t next = *out;
    LKS_TRY(lks_read_count(root, "the checkpoint", "epoch", &next.epoch));
    LKS_TRY(lks_scheduler_state_load(lks_value_find(root, "lr_scheduler"), &next.scheduler));
    note_float(root, "loss", &next.loss);
    const lks_value_t *ours = lks_value_find(root, "lockstep");
    if (ours) {
        LKS_TRY(read_lockstep(job, ours, &next));
    } else {
        next.global_step = lks_optim_steps(optim);
        note_float(root, "best_prec", &next.best_accuracy);
    }
    *out = next;
    return LKS_OK;
}

/* Another program's file decides the hyper-parameters, as load_state_dict has it; that may surprise. */
static void warn_of_other_settings(const lks_job_t *job, const lks_value_t *root,
                                   const lks_optim_config_t *loaded)
{
    const lks_optim_config_t *asked = &job->config->optim;
    if (lks_value_find(root, "lockstep")) {
        return;
    }
    if (loaded->lr != asked->lr || loaded->momentum != asked->momentum ||
        loaded->weight_decay != asked->weight_decay) {
        lks_log(LKS_LOG_WARN,
                "'%s' decides the optimizer's settings: lr %g, momentum %g, weight decay %g",
                job->config->resume, loaded->lr, loaded->momentum, loaded->weight_decay);
    }
}

static lks_status_t restore(lks_job_t *job, lks_checkpoint_t *checkpoint, lks_strbuf_t *report)
{
    const lks_train_config_t *config = job->config;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    lks_replica_t *replica = lks_replicas_first(&job->replicas);
    const lks_value_t *optim = NULL;
    LKS_TRY(lks_read_value(root, "the checkpoint", "optimizer_state_dict", &optim));
    LKS_TRY(lks_optim_state_load(checkpoint, optim, replica->optim, replica->module));
    LKS_TRY(read_progress(job, root, replica->optim, &job->start));
    const lks_optim_config_t *loaded = lks_optim_config(replica->optim);
    warn_of_other_settings(job, root, loaded);
    if (job->start.scheduler.kind == LKS_LR_CONSTANT) {
        job->start.scheduler.last_lr = job->start.scheduler.base_lr = loaded->lr;
    }
    if (job->start.global_step > 0 && config->optim.kind == LKS_OPTIM_SGD) {
        lks_optim_set_steps(replica->optim, job->start.global_step - job->start.skipped_steps);
    }
    const lks_value_t *scaler = lks_value_find(root, "grad_scaler");
    if (scaler && lks_replica_grad_scaler(replica)) {
        LKS_TRY(lks_scaler_state_load(scaler, lks_replica_grad_scaler(replica)));
    }
    LKS_TRY(lks_model_state_load(checkpoint, replica->module, config->key_prefix, config->strict,
                                 report));
    return lks_masters_load(checkpoint, replica->module, replica->optim, config->key_prefix);
}

lks_status_t lks_job_resume(lks_job_t *job, lks_checkpoint_t *checkpoint, lks_strbuf_t *report)
{
    lks_status_t status = restore(job, checkpoint, report);
    return status == LKS_OK ? LKS_OK
                            : lks_error_prefix(status, "resuming '%s'", job->config->resume);
}
