/* SPDX-License-Identifier: Apache-2.0 */
/* evaluate.c - a forward pass over samples in evaluation mode, divided among the replicas. */
#include "runtime/train/job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Calls `take` with the outputs of each of this replica's batches, in order. */
typedef lks_status_t (*take_fn_t)(void *context, lks_exec_t *exec, const lks_tensor_t *output,
                                  const lks_batch_t *batch);

static lks_status_t forward_batches(lks_replica_t *replica, lks_loader_t *loader, int64_t steps,
                                    take_fn_t take, void *context)
{
    lks_exec_set_training(replica->exec, false);
    for (int64_t i = 0; i < steps; i++) {
        lks_batch_t batch;
        lks_tensor_t output;
        LKS_TRY(lks_loader_next(loader, &batch));
        lks_exec_reset(replica->exec);
        LKS_TRY(lks_module_forward(replica->module, replica->exec, &batch.features, &output));
        LKS_TRY(take(context, replica->exec, &output, &batch));
    }
    return LKS_OK;
}

static lks_status_t forward_subset(lks_replica_t *replica, const lks_dataset_t *data,
                                   const int64_t *subset, int64_t count, int64_t batch_size,
                                   take_fn_t take, void *context)
{
    lks_sampler_t sampler;
    lks_loader_t *loader;
    LKS_TRY(lks_sampler_init(&sampler, count, batch_size, false, 0));
    lks_status_t status;
    LKS_GOTO(lks_loader_create(data, subset, &sampler, replica->rank, replica->world_size, 0, 0, 2,
                               &loader),
             fini_sampler);
    status = forward_batches(replica, loader, lks_sampler_steps(&sampler), take, context);
    lks_loader_destroy(loader);
fini_sampler:
    lks_sampler_fini(&sampler);
    return status;
}

typedef struct sums {
    int64_t count; /* of all samples */
    double loss, correct;
} sums_t;

static lks_status_t add_loss(void *context, lks_exec_t *exec, const lks_tensor_t *output,
                             const lks_batch_t *batch)
{
    sums_t *sums = context;
    double loss;
    int64_t correct;
    LKS_TRY(lks_batch_loss(exec, output, batch, sums->count, &loss, NULL, &correct));
    sums->loss += loss;
    sums->correct += (double)correct;
    return LKS_OK;
}

lks_status_t lks_evaluate_subset(lks_replica_t *replica, const lks_dataset_t *data,
                                 const int64_t *subset, int64_t count, int64_t batch_size,
                                 lks_eval_sums_t *out)
{
    sums_t sums = {.count = count};
    LKS_TRY(forward_subset(replica, data, subset, count, batch_size, add_loss, &sums));
    double total[2] = {sums.loss, sums.correct};
    LKS_TRY(
        lks_comm_all_reduce(replica->comm, total, total, 2, LKS_DTYPE_F64, LKS_REDUCE_SUM, NULL));
    *out = (lks_eval_sums_t){.loss = total[0], .correct = total[1]};
    return LKS_OK;
}

/* --- the public calls ---------------------------------------------------------------------------- */

lks_eval_config_t lks_eval_config_default(void)
{
    return (lks_eval_config_t){
        .strict = true,
        .split = LKS_SPLIT_TEST,
        .devices = "auto",
        .bind = true,
        .batch_size = 256,
    };
}

/* A checkpoint's model on every device, and the data it is asked about. */
typedef struct session {
    const lks_eval_config_t *config;
    lks_train_args_t *args;
    const char *model, *prefix;
    const char *label;
    bool regression;
    lks_replicas_t replicas;
    lks_dataset_t *data;
    lks_checkpoint_t *checkpoint;
    lks_feature_stats_t stats;
    const char **classes; /* (class_count), of the checkpoint; NULL: it does not say */
    int64_t class_count;
    lks_eval_sums_t sums; /* of rank 0 */
    float *outputs;       /* (count, out_features) */
} session_t;

static lks_status_t load_model(session_t *session)
{
    const lks_eval_config_t *config = session->config;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(session->checkpoint));
    lks_strbuf_t report = {0};
    lks_status_t status =
        lks_model_state_load(session->checkpoint, lks_replicas_first(&session->replicas)->module,
                             session->prefix, config->strict, &report);
    if (status == LKS_OK && config->observer) {
        lks_train_event_t event = {
            .kind = LKS_EVENT_LOAD, .path = config->load, .text = lks_strbuf_text(&report)};
        config->observer(config->observer_context, &event);
    }
    lks_strbuf_fini(&report);
    LKS_TRY(status);
    LKS_TRY(lks_feature_stats_load(root, &session->stats));
    LKS_TRY(lks_class_names_load(root, &session->classes, &session->class_count));
    return lks_replicas_share(&session->replicas);
}

static lks_status_t open_data(session_t *session)
{
    const lks_eval_config_t *config = session->config;
    lks_csv_options_t csv = lks_csv_options_default();
    csv.label = session->label;
    csv.regression = session->regression;
    csv.unlabelled = config->unlabelled;
    csv.classes = session->classes;
    csv.class_count = session->class_count;
    LKS_TRY(lks_dataset_open(config->data, config->split, &csv, &session->data));
    LKS_TRY(lks_check_model_fits(lks_replicas_first(&session->replicas)->module, session->model,
                                 session->data, config->data));
    LKS_TRY(lks_check_stats_fit(&session->stats, config->load, session->data, config->data));
    if (session->stats.mean) {
        lks_dataset_standardize(session->data, session->stats.mean, session->stats.std);
    }
    return LKS_OK;
}

static lks_status_t resolve_model(session_t *session)
{
    const lks_eval_config_t *config = session->config;
    LKS_TRY(lks_train_args_read(config->load, &session->args));
    const lks_train_config_t *said = lks_train_args_config(session->args);
    session->model = config->model ? config->model : said->model;
    session->prefix = config->key_prefix ? config->key_prefix : said->key_prefix;
    session->label = config->label ? config->label : said->label;
    session->regression = config->regression || said->regression;
    if (!session->model) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "'%s' does not say which model it holds: name it with --model",
                        config->load);
    }
    return LKS_OK;
}

static lks_status_t session_open(session_t *session)
{
    const lks_eval_config_t *config = session->config;
    if (!config->load || !config->data) {
        return lks_fail(LKS_ERR_INVALID_ARG, "evaluation needs a checkpoint and data");
    }
    if (config->batch_size < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the batch size must be at least 1");
    }
    LKS_TRY(resolve_model(session));
    lks_dtype_t dtype = LKS_DTYPE_F32;
    LKS_TRY(lks_job_precision(lks_train_args_config(session->args), &dtype));
    const lks_replicas_config_t replicas = {
        .model = session->model, .dtype = dtype, .devices = config->devices, .bind = config->bind};
    LKS_TRY(lks_replicas_open(&session->replicas, &replicas));
    LKS_TRY(lks_checkpoint_open(config->load, NULL, &session->checkpoint));
    LKS_TRY(load_model(session));
    return open_data(session);
}

static void session_close(session_t *session)
{
    free(session->outputs);
    free(session->classes);
    lks_checkpoint_close(session->checkpoint);
    lks_feature_stats_fini(&session->stats);
    lks_dataset_close(session->data);
    lks_replicas_close(&session->replicas);
    lks_train_args_destroy(session->args);
}

static lks_status_t evaluate_replica(lks_replica_t *replica, void *context)
{
    session_t *session = context;
    lks_eval_sums_t sums;
    LKS_TRY(lks_evaluate_subset(replica, session->data, NULL, lks_dataset_count(session->data),
                                session->config->batch_size, &sums));
    if (replica->rank == 0) {
        session->sums = sums;
    }
    return LKS_OK;
}

lks_status_t lks_evaluate(const lks_eval_config_t *config, lks_eval_result_t *result)
{
    if (config->unlabelled) {
        return lks_fail(LKS_ERR_INVALID_ARG, "without labels there is nothing to evaluate");
    }
    session_t session = {.config = config};
    lks_status_t status;
    LKS_GOTO(session_open(&session), close_session);
    LKS_GOTO(lks_replica_group_run(session.replicas.group, evaluate_replica, &session),
             close_session);
    int64_t count = lks_dataset_count(session.data);
    bool classes = lks_dataset_classes(session.data) > 0;
    *result = (lks_eval_result_t){
        .count = count,
        .loss = session.sums.loss,
        .accuracy = classes ? 100.0 * session.sums.correct / (double)count : (double)NAN,
    };
close_session:
    session_close(&session);
    return status;
}

static lks_status_t keep_output(void *context, lks_exec_t *exec, const lks_tensor_t *output,
                                const lks_batch_t *batch)
{
    (void)exec;
    session_t *session = context;
    int64_t row = batch->step * session->config->batch_size + batch->part.first;
    size_t nbytes = lks_tensor_nbytes(output);
    if (nbytes > 0) {
        memcpy(session->outputs + row * output->shape[1], lks_tensor_data(output), nbytes);
    }
    return LKS_OK;
}

static lks_status_t predict_replica(lks_replica_t *replica, void *context)
{
    session_t *session = context;
    return forward_subset(replica, session->data, NULL, lks_dataset_count(session->data),
                          session->config->batch_size, keep_output, session);
}

static lks_status_t predict(session_t *session, lks_predict_sink_t sink, void *context)
{
    int64_t count = lks_dataset_count(session->data);
    int64_t width = lks_module_out_features(lks_replicas_first(&session->replicas)->module);
    session->outputs = calloc((size_t)count, (size_t)width * sizeof(float));
    const char **names = calloc((size_t)width, sizeof *names);
    if (!session->outputs || !names) {
        free(names);
        return lks_fail(LKS_ERR_NO_MEMORY, "predict: out of memory for %lld outputs",
                        (long long)count);
    }
    bool named = session->class_count == width || lks_dataset_classes(session->data) == width;
    for (int64_t i = 0; i < width && named; i++) {
        names[i] = session->class_count == width ? session->classes[i]
                                                 : lks_dataset_class_name(session->data, i);
    }
    lks_status_t status = lks_replica_group_run(session->replicas.group, predict_replica, session);
    if (status == LKS_OK) {
        status = sink(context, session->outputs, count, width, named ? names : NULL);
    }
    free(names);
    return status;
}

lks_status_t lks_predict(const lks_eval_config_t *config, lks_predict_sink_t sink, void *context)
{
    session_t session = {.config = config};
    lks_status_t status = session_open(&session);
    if (status == LKS_OK) {
        status = predict(&session, sink, context);
    }
    session_close(&session);
    return status;
}
