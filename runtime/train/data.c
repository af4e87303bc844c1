/* SPDX-License-Identifier: Apache-2.0 */
/* data.c - a job's samples: opened, split, standardized. */
#include "runtime/train/job.h"

#include <stdlib.h>

lks_status_t lks_feature_stats_create(int64_t count, lks_feature_stats_t *out)
{
    float *mean = calloc((size_t)count, sizeof *mean);
    float *std = calloc((size_t)count, sizeof *std);
    if (!mean || !std) {
        free(mean);
        free(std);
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory for statistics of %lld features",
                        (long long)count);
    }
    *out = (lks_feature_stats_t){.mean = mean, .std = std, .count = count};
    return LKS_OK;
}

void lks_feature_stats_fini(lks_feature_stats_t *stats)
{
    free(stats->mean);
    free(stats->std);
    *stats = (lks_feature_stats_t){0};
}

/* Images come scaled already, and many of their pixels never vary: only tables are standardized. */
static lks_status_t standardize(lks_job_t *job)
{
    const lks_train_config_t *config = job->config;
    LKS_TRY(lks_check_stats_fit(&job->stats, config->resume, job->data, config->data));
    if (!job->stats.mean) {
        if (!config->standardize || !lks_dataset_is_table(job->data)) {
            return LKS_OK;
        }
        LKS_TRY(lks_feature_stats_create(lks_dataset_features(job->data), &job->stats));
        lks_dataset_statistics(job->data, job->train, job->train_count, job->stats.mean,
                               job->stats.std);
    }
    lks_dataset_standardize(job->data, job->stats.mean, job->stats.std);
    return LKS_OK;
}

static lks_status_t open_dataset(lks_job_t *job, const lks_value_t *root)
{
    const lks_train_config_t *config = job->config;
    lks_csv_options_t csv = lks_csv_options_default();
    const char **classes = NULL;
    csv.label = config->label;
    csv.regression = config->regression;
    if (root) {
        LKS_TRY(lks_feature_stats_load(root, &job->stats));
        LKS_TRY(lks_class_names_load(root, &classes, &csv.class_count));
        csv.classes = classes;
    }
    lks_status_t status = lks_dataset_open(config->data, LKS_SPLIT_TRAIN, &csv, &job->data);
    free(classes);
    return status;
}

static lks_status_t split(lks_job_t *job)
{
    double fraction = job->config->val_fraction;
    LKS_TRY(lks_dataset_split(job->data, fraction, job->config->seed, job->train, &job->train_count,
                              job->validation, &job->validation_count));
    if (fraction > 0.0 && job->validation_count == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "'%s' has too few samples to keep a validation fraction of %g",
                        job->config->data, fraction);
    }
    return LKS_OK;
}

lks_status_t lks_job_open_data(lks_job_t *job, const lks_value_t *root)
{
    LKS_TRY(open_dataset(job, root));
    size_t count = (size_t)lks_dataset_count(job->data);
    job->train = calloc(count, sizeof *job->train);
    job->validation = calloc(count, sizeof *job->validation);
    if (!job->train || !job->validation) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory for %zu sample numbers", count);
    }
    LKS_TRY(split(job));
    LKS_TRY(standardize(job));
    int64_t samples = job->config->batch_size * job->config->accumulate; /* of a step */
    return lks_sampler_init(&job->sampler, job->train_count, samples, true, job->config->seed);
}

void lks_job_close_data(lks_job_t *job)
{
    lks_sampler_fini(&job->sampler);
    lks_feature_stats_fini(&job->stats);
    free(job->train);
    free(job->validation);
    lks_dataset_close(job->data);
}

lks_status_t lks_check_model_fits(const lks_module_t *module, const char *model,
                                  const lks_dataset_t *data, const char *name)
{
    int64_t classes = lks_dataset_classes(data);
    int64_t wanted = classes > 0 ? classes : lks_dataset_targets(data);
    if (lks_module_in_features(module) != lks_dataset_features(data)) {
        return lks_fail(LKS_ERR_MISMATCH, "model '%s' takes %lld features, '%s' has %lld", model,
                        (long long)lks_module_in_features(module), name,
                        (long long)lks_dataset_features(data));
    }
    int64_t outputs = lks_module_out_features(module);
    if (outputs < wanted || (wanted > 0 && classes == 0 && outputs != wanted)) {
        return lks_fail(LKS_ERR_MISMATCH, "model '%s' has %lld outputs, '%s' needs %lld", model,
                        (long long)outputs, name, (long long)wanted);
    }
    return LKS_OK;
}
