/* SPDX-License-Identifier: Apache-2.0 */
/* trainer.c - a job from its settings to its result: data, devices, replicas, weights, loop. */
#include "runtime/train/job.h"
#include "runtime/train/output_dir.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static lks_progress_t initial_progress(void)
{
    return (lks_progress_t){
        .loss = (double)NAN,
        .accuracy = (double)NAN,
        .val_loss = (double)NAN,
        .val_accuracy = (double)NAN,
        .best_accuracy = -1.0,
        .best_loss = (double)INFINITY,
    };
}

static void notify_file(const lks_job_t *job, lks_train_event_kind_t kind, const char *path,
                        const char *text)
{
    lks_train_event_t event = {
        .kind = kind,
        .epoch = job->start.epoch + 1,
        .epochs = job->config->epochs > 0 ? job->config->epochs : INT64_MAX,
        .step = job->start.step,
        .steps = lks_sampler_steps(&job->sampler),
        .global_step = job->start.global_step,
        .lr = job->start.scheduler.last_lr,
        .path = path,
        .text = text,
    };
    if (lks_replicas_speak(&job->replicas)) {
        lks_job_notify(job->config, &event);
    }
}

static lks_status_t load_weights(lks_job_t *job, lks_checkpoint_t *checkpoint)
{
    const lks_train_config_t *config = job->config;
    lks_module_t *module = lks_replicas_first(&job->replicas)->module;
    const char *path = lks_checkpoint_path(checkpoint);
    lks_strbuf_t report = {0};
    lks_status_t status =
        config->resume
            ? lks_job_resume(job, checkpoint, &report)
            : lks_model_state_load(checkpoint, module, config->key_prefix, config->strict, &report);
    if (status == LKS_OK && !config->resume) {
        status = lks_masters_load(NULL, module, lks_replicas_first(&job->replicas)->optim,
                                  config->key_prefix);
    }
    if (status == LKS_OK) {
        notify_file(job, LKS_EVENT_LOAD, path, lks_strbuf_text(&report));
        if (config->resume) {
            notify_file(job, LKS_EVENT_RESUME, path, NULL);
        }
        status = lks_replicas_share(&job->replicas);
    }
    lks_strbuf_fini(&report);
    return status;
}

static void notify_start(const lks_job_t *job)
{
    size_t count = lks_device_list_count(job->replicas.devices);
    int world_size = lks_replicas_first(&job->replicas)->world_size;
    bool rounds = strcmp(job->config->precision, "float32") != 0;
    lks_strbuf_t text = {0};
    lks_strbuf_appendf(&text, "%s%s%s on %d %s", job->config->model, rounds ? " in " : "",
                       rounds ? job->config->precision : "", world_size,
                       world_size == 1 ? "device" : "devices");
    if (job->replicas.processes > 1) {
        lks_strbuf_appendf(&text, " of %d processes, here", job->replicas.processes);
    }
    lks_strbuf_append_str(&text, " (");
    for (size_t i = 0; i < count; i++) {
        const lks_device_t *device = lks_device_list_get(job->replicas.devices, i);
        lks_strbuf_appendf(&text, "%s%s", i ? ", " : "", lks_device_name(device));
    }
    lks_strbuf_appendf(&text, "), %lld samples", (long long)job->train_count);
    if (job->validation_count > 0) {
        lks_strbuf_appendf(&text, " and %lld for validation", (long long)job->validation_count);
    }
    notify_file(job, LKS_EVENT_START, NULL, lks_strbuf_text(&text));
    lks_strbuf_fini(&text);
}

static size_t bucket_bytes(double mb)
{
    return mb > 0 ? (size_t)ceil(mb * (1 << 20)) : 1; /* 1: a bucket for each parameter */
}

static lks_status_t open_replicas(lks_job_t *job)
{
    const lks_train_config_t *config = job->config;
    lks_replica_options_t options = lks_replica_options_default();
    lks_grad_scaler_t scaler;
    lks_dtype_t dtype = LKS_DTYPE_F32;
    bool scales = false;
    LKS_TRY(lks_job_precision(config, &dtype));
    LKS_TRY(lks_job_scaler(config, &scaler, &scales));
    options.optim = &config->optim;
    options.grad_scaler = scales ? &scaler : NULL;
    options.measure_norm = config->tensorboard_dir != NULL;
    options.clip_norm = config->clip_norm;
    options.clip_value = config->clip_value;
    options.bucket_bytes = bucket_bytes(config->bucket_mb);
    options.first_bucket_bytes = bucket_bytes(config->first_bucket_mb);
    /* Gradients of the mean over all samples need no division. */
    options.reduce = lks_averages_ranks(config) ? LKS_REDUCE_AVG : LKS_REDUCE_SUM;
    const lks_replicas_config_t replicas = {
        .model = config->model,
        .dtype = dtype,
        .devices = config->devices,
        .bind = config->bind,
        .options = &options,
        .processes = true,
        .seed = config->seed,
        .timeout = config->timeout,
    };
    LKS_TRY(lks_replicas_open(&job->replicas, &replicas));
    return lks_check_model_fits(lks_replicas_first(&job->replicas)->module, config->model,
                                job->data, config->data);
}

/* A folder that a job is resumed into from elsewhere has no best.pt yet: the next epoch gives one. */
static void forget_lost_best(lks_job_t *job)
{
    char path[4096];
    if (!job->config->save_dir || !job->config->resume) {
        return;
    }
    (void)snprintf(path, sizeof path, "%s/best.pt", job->config->save_dir);
    if (access(path, F_OK) != 0) {
        job->start.best_accuracy = initial_progress().best_accuracy;
        job->start.best_loss = initial_progress().best_loss;
    }
}

/* What the job writes is begun before the first step: an hour of training must not end in a typing error. But after
 * everything else that can fail, so that a mistake leaves nothing behind. */
static lks_status_t open_outputs(lks_job_t *job)
{
    const lks_train_config_t *config = job->config;
    int64_t restart = config->resume ? job->start.global_step + 1 : 0;
    bool speaks = lks_replicas_speak(&job->replicas);
    if (speaks && config->save_dir) {
        LKS_TRY(lks_output_dir_make(config->save_dir));
    }
    LKS_TRY(lks_profile_open(&job->profile, config->profile, speaks));
    if (!speaks || !config->tensorboard_dir) {
        return LKS_OK;
    }
    lks_status_t status = lks_event_file_open(config->tensorboard_dir, restart, &job->events);
    if (status != LKS_OK) {
        lks_profile_discard(&job->profile);
    }
    return status;
}

/* Everything up to the first step. The checkpoint is not needed after it. */
static lks_status_t prepare_job(lks_job_t *job, lks_checkpoint_t *checkpoint)
{
    const lks_train_config_t *config = job->config;
    const lks_value_t *root =
        config->resume ? lks_tree_root(lks_checkpoint_tree(checkpoint)) : NULL;
    LKS_TRY(lks_optim_config_check(&config->optim));
    LKS_TRY(lks_lr_scheduler_parse(config->scheduler, config->optim.lr, &job->start.scheduler));
    LKS_TRY(lks_job_open_data(job, root));
    LKS_TRY(open_replicas(job));
    notify_start(job);
    if (checkpoint) {
        LKS_TRY(load_weights(job, checkpoint));
    }
    LKS_TRY(open_outputs(job));
    forget_lost_best(job);
    return LKS_OK;
}

static lks_status_t open_job(lks_job_t *job)
{
    const lks_train_config_t *config = job->config;
    const char *path = config->resume ? config->resume : config->load;
    lks_checkpoint_t *checkpoint = NULL;
    if (path) {
        LKS_TRY(lks_checkpoint_open(path, NULL, &checkpoint));
    }
    lks_status_t status = prepare_job(job, checkpoint);
    lks_checkpoint_close(checkpoint);
    return status;
}

static lks_status_t gather_profile(lks_replica_t *replica, void *context)
{
    lks_job_t *job = context;
    return lks_profile_gather(&job->profile, replica->comm);
}

/* Steps, and then what the processes recorded of them. */
static lks_status_t run_replicas(lks_job_t *job)
{
    LKS_TRY(lks_replica_group_run(job->replicas.group, lks_train_loop, job));
    if (job->replicas.processes > 1 && job->profile.trace) {
        return lks_replica_group_run(job->replicas.group, gather_profile, job);
    }
    return LKS_OK;
}

/* Both are finished whatever became of the job: what was recorded until it failed is what one wants to see. */
static lks_status_t close_outputs(lks_job_t *job)
{
    bool stuck = lks_replicas_are_stuck(&job->replicas);
    lks_status_t status = stuck ? LKS_OK : lks_event_file_close(job->events);
    lks_error_t error = *lks_last_error();
    LKS_TRY(lks_profile_close(&job->profile, stuck));
    return status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

/* A replica that is given up may come back to all of it. */
static void close_job(lks_job_t *job)
{
    if (!lks_replicas_are_stuck(&job->replicas)) {
        lks_replicas_close(&job->replicas);
        lks_job_close_data(job);
        free(job);
    }
}

static lks_status_t run_job(lks_job_t *job)
{
    lks_status_t status = open_job(job);
    if (status == LKS_OK) {
        status = run_replicas(job);
    }
    lks_error_t error = *lks_last_error();
    if (status != LKS_OK && job->replicas.group) { /* other processes may be waiting for this one */
        lks_comm_abort(lks_replicas_first(&job->replicas)->comm, error.message);
    }
    lks_status_t closed = close_outputs(job);
    return status == LKS_OK ? closed : lks_error_raise(&error);
}

/* All but the time. */
static void set_result(const lks_job_t *job, lks_train_result_t *result)
{
    *result = (lks_train_result_t){
        .epochs = job->end.epoch,
        .global_step = job->end.global_step,
        .skipped_steps = job->end.skipped_steps,
        .loss = job->end.loss,
        .accuracy = job->end.accuracy,
        .val_loss = job->end.val_loss,
        .val_accuracy = job->end.val_accuracy,
        .best_accuracy = fmax(job->end.best_accuracy, 0.0),
        .interrupted = job->interrupted,
        .rank = lks_replicas_first(&job->replicas)->rank,
        .world_size = lks_replicas_first(&job->replicas)->world_size,
    };
}

lks_status_t lks_train(const lks_train_config_t *config, lks_train_result_t *result)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    LKS_TRY(lks_train_config_check(config));
    lks_job_t *job = malloc(sizeof *job);
    if (!job) {
        return lks_fail(LKS_ERR_NO_MEMORY, "a training job: out of memory");
    }
    *job = (lks_job_t){.config = config, .start = initial_progress()};
    lks_status_t status = run_job(job);
    lks_error_t error = *lks_last_error();
    if (status == LKS_OK) {
        set_result(job, result);
    }
    close_job(job);
    if (status != LKS_OK) {
        return lks_error_raise(&error);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    result->seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) * 1e-9;
    return LKS_OK;
}
