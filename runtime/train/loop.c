/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - what every replica does: batch, forward, loss, backward, all-reduce, step; epoch ends.
 * Replicas take the same decisions because they see the same all-reduced numbers; rank 0 speaks and saves. */
#include "runtime/kernels/exec_team.h"
#include "runtime/replica/grad_sync.h"
#include "runtime/train/metrics.h"
#include "runtime/train/saver.h"

#include <math.h>
#include <stdio.h>

/* Counts samples over the time since it was started. */
typedef struct stopwatch {
    int64_t start; /* lks_trace_now */
    int64_t samples;
} stopwatch_t;

typedef struct loop {
    lks_job_t *job;
    const lks_train_config_t *config;
    lks_replica_t *replica;
    lks_loader_t *loader;
    lks_progress_t at;
    lks_saver_t saver;
    int64_t steps_per_epoch;
    int64_t epochs;          /* to complete */
    int64_t saved_step;      /* global step of last.pt; -1: none yet */
    bool stop;               /* somebody asked for an end */
    stopwatch_t epoch_watch; /* of the epoch, or of the part of it that this run does */
    stopwatch_t log_watch;   /* since the last event */
    lks_trace_row_t *compute_row, *comm_row, *loader_row; /* NULL: no profile */
} loop_t;

static void start_watch(stopwatch_t *watch)
{
    *watch = (stopwatch_t){.start = lks_trace_now()};
}

static double samples_per_second(const stopwatch_t *watch)
{
    int64_t elapsed = lks_trace_now() - watch->start;
    return elapsed > 0 ? (double)watch->samples * 1e9 / (double)elapsed : 0.0;
}

static lks_train_event_t make_event(const loop_t *loop, lks_train_event_kind_t kind)
{
    const lks_progress_t *at = &loop->at;
    return (lks_train_event_t){
        .kind = kind,
        .epoch = at->epoch + 1,
        .epochs = loop->epochs,
        .step = at->step,
        .steps = loop->steps_per_epoch,
        .global_step = at->global_step,
        .loss = at->loss,
        .accuracy = at->accuracy,
        .val_loss = at->val_loss,
        .val_accuracy = at->val_accuracy,
        .lr = at->scheduler.last_lr,
        .grad_norm = (double)NAN,
        .loss_scale = (double)NAN,
        .comm_hidden = (double)NAN,
    };
}

static lks_status_t notify(const loop_t *loop, const lks_train_event_t *event)
{
    if (loop->replica->rank != 0) {
        return LKS_OK;
    }
    lks_job_notify(loop->config, event);
    return lks_metrics_write(loop->job->events, event);
}

/* --- saving (rank 0) ----------------------------------------------------------------------------- */

/* The first is written, the others are copies. last.pt comes last: it says what the best is so far, so best.pt must be
 * there before it. */
static lks_status_t save_as(loop_t *loop, const char *const *names, int count)
{
    loop->saved_step = loop->at.global_step;
    lks_train_event_t event = make_event(loop, LKS_EVENT_SAVE);
    event.epoch = loop->at.step == 0 ? loop->at.epoch : loop->at.epoch + 1;
    return lks_saver_save(&loop->saver, &loop->at, &event, names, count);
}

static lks_status_t save_epoch(loop_t *loop, bool better)
{
    char numbered[64];
    const char *names[LKS_SAVER_NAMES_MAX];
    int count = 0;
    const lks_train_config_t *config = loop->config;
    (void)snprintf(numbered, sizeof numbered, "epoch-%04lld.pt", (long long)loop->at.epoch);
    if (better) {
        names[count++] = "best.pt";
    }
    if (config->save_every > 0 && loop->at.epoch % config->save_every == 0) {
        names[count++] = numbered;
    }
    names[count++] = "last.pt";
    return count > 1 ? save_as(loop, names, count) : LKS_OK;
}

static lks_status_t save_step(loop_t *loop)
{
    char numbered[64];
    const char *const names[] = {numbered, "last.pt"};
    (void)snprintf(numbered, sizeof numbered, "step-%08lld.pt", (long long)loop->at.global_step);
    return save_as(loop, names, 2);
}

static lks_status_t save_last(loop_t *loop)
{
    const char *const names[] = {"last.pt"};
    return loop->saved_step == loop->at.global_step ? LKS_OK : save_as(loop, names, 1);
}

/* --- one step ------------------------------------------------------------------------------------ */

lks_status_t lks_batch_loss(lks_exec_t *exec, const lks_tensor_t *output, const lks_batch_t *batch,
                            int64_t global_count, double *loss, lks_tensor_t *grad,
                            int64_t *correct)
{
    if (batch->labels.storage) {
        return lks_cross_entropy(exec, output, &batch->labels, global_count, loss, grad, correct);
    }
    *correct = 0;
    return lks_mse_loss(exec, output, &batch->targets, global_count, loss, grad);
}

static void set_step(const loop_t *loop)
{
    int64_t step = loop->at.global_step + 1;
    lks_trace_set_step(loop->compute_row, step);
    lks_trace_set_step(loop->comm_row, step);
    lks_trace_set_step(loop->loader_row, step);
}

static lks_status_t next_batch(const loop_t *loop, lks_batch_t *batch)
{
    int64_t start = lks_trace_begin(loop->loader_row);
    LKS_TRY(lks_loader_next(loop->loader, batch));
    lks_trace_end(loop->loader_row, "loader", start, NULL, 0);
    return LKS_OK;
}

static lks_status_t forward(const loop_t *loop, const lks_batch_t *batch, lks_tensor_t *output)
{
    lks_replica_t *replica = loop->replica;
    int64_t start = lks_trace_begin(loop->compute_row);
    lks_exec_reset(replica->exec);
    lks_exec_set_training(replica->exec, true);
    lks_exec_set_position(replica->exec, loop->config->seed, (uint64_t)loop->at.global_step,
                          batch->part.first);
    LKS_TRY(lks_module_forward(replica->module, replica->exec, &batch->features, output));
    lks_trace_end(loop->compute_row, "forward", start, NULL, 0);
    return LKS_OK;
}

/* What all ranks must know of a step, summed over them. */
typedef struct step_sums {
    double loss, correct, asked; /* who was asked to stop */
} step_sums_t;

static void scale_gradient(const lks_tensor_t *grad, double scale)
{
    float *numbers = lks_tensor_data(grad);
    for (int64_t i = 0, count = lks_tensor_numel(grad); i < count && scale != 1; i++) {
        numbers[i] *= (float)scale;
    }
}

/* Adds to `sums`. The gradient is that of a mean over `mean_count` samples, scaled; the loss is that of all samples. */
static lks_status_t compute_loss(const loop_t *loop, const lks_batch_t *batch, int64_t mean_count,
                                 const lks_tensor_t *output, step_sums_t *sums, lks_tensor_t *grad)
{
    double loss;
    int64_t correct, start = lks_trace_begin(loop->compute_row);
    LKS_TRY(lks_batch_loss(loop->replica->exec, output, batch, mean_count, &loss, grad, &correct));
    sums->loss += loss * ((double)mean_count / (double)batch->part.global_count);
    sums->correct += (double)correct;
    scale_gradient(grad, lks_replica_loss_scale(loop->replica));
    lks_trace_end(loop->compute_row, "loss", start, NULL, 0);
    return LKS_OK;
}

static lks_status_t backward(const loop_t *loop, const lks_tensor_t *grad)
{
    lks_replica_t *replica = loop->replica;
    int64_t start = lks_trace_begin(loop->compute_row);
    LKS_TRY(lks_module_backward(replica->module, replica->exec, grad, NULL));
    lks_trace_end(loop->compute_row, "backward", start, NULL, 0);
    return LKS_OK;
}

static lks_status_t update(const loop_t *loop)
{
    lks_replica_t *replica = loop->replica;
    int64_t start = lks_trace_begin(loop->comm_row);
    LKS_TRY(lks_replica_step(replica));
    lks_trace_end(loop->comm_row, "finish", start, NULL, 0);
    return LKS_OK;
}

static lks_status_t share_sums(const loop_t *loop, step_sums_t *sums)
{
    lks_replica_t *replica = loop->replica;
    const int *stop = lks_comm_local_rank(replica->comm) == 0 ? loop->config->stop : NULL;
    sums->asked = stop && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0 ? 1.0 : 0.0;
    int64_t start = lks_trace_begin(loop->comm_row);
    LKS_TRY(lks_comm_all_reduce(replica->comm, sums, sums, sizeof *sums / sizeof(double),
                                LKS_DTYPE_F64, LKS_REDUCE_SUM, NULL));
    lks_trace_end(loop->comm_row, "all_reduce loss", start, NULL, 0);
    return LKS_OK;
}

static void count_step(loop_t *loop, const step_sums_t *sums, int64_t count)
{
    lks_progress_t *at = &loop->at;
    at->epoch_loss += sums->loss * (double)count;
    at->epoch_correct += sums->correct;
    at->epoch_count += count;
    at->global_step++;
    at->skipped_steps = loop->job->start.skipped_steps + lks_replica_skipped_steps(loop->replica);
    at->step++;
    loop->epoch_watch.samples += count;
    loop->log_watch.samples += count;
    loop->stop = sums->asked > 0.0;
}

static double percent(const loop_t *loop, double correct, int64_t count)
{
    bool classes = lks_dataset_classes(loop->job->data) > 0;
    return classes ? 100.0 * correct / (double)count : (double)NAN;
}

static lks_status_t log_step(loop_t *loop, const step_sums_t *sums, int64_t count,
                             double loss_scale)
{
    int64_t every = loop->config->log_every;
    if (every == 0 || loop->at.global_step % every != 0) {
        return LKS_OK;
    }
    lks_train_event_t event = make_event(loop, LKS_EVENT_STEP);
    event.loss = sums->loss;
    event.accuracy = percent(loop, sums->correct, count);
    event.grad_norm = lks_replica_grad_norm(loop->replica);
    event.loss_scale = loss_scale;
    event.samples_per_second = samples_per_second(&loop->log_watch);
    start_watch(&loop->log_watch);
    return notify(loop, &event);
}

static lks_status_t cut_rows(lks_tensor_t *tensor, lks_part_t rows)
{
    lks_tensor_t whole = *tensor;
    if (!whole.storage) {
        return LKS_OK;
    }
    return lks_tensor_narrow(&whole, 0, (int64_t)rows.begin, (int64_t)(rows.end - rows.begin),
                             tensor);
}

/* Piece `k` of this rank's part of the step's samples. */
static lks_status_t cut_batch(const loop_t *loop, const lks_batch_t *whole, int64_t k,
                              lks_batch_t *out)
{
    lks_part_t rows =
        lks_exec_part((size_t)whole->part.count, 1, (size_t)k, (size_t)loop->config->accumulate);
    *out = *whole;
    out->part.indices += rows.begin;
    out->part.first += (int64_t)rows.begin;
    out->part.count = (int64_t)(rows.end - rows.begin);
    LKS_TRY(cut_rows(&out->features, rows));
    LKS_TRY(cut_rows(&out->labels, rows));
    return cut_rows(&out->targets, rows);
}

/* Only the last of `accumulate` pieces exchanges gradients and updates. */
static lks_status_t train_piece(const loop_t *loop, const lks_batch_t *whole, int64_t k,
                                step_sums_t *sums)
{
    lks_batch_t batch;
    lks_tensor_t output, grad;
    int64_t own = whole->part.count > 0 ? whole->part.count : 1;
    bool last = k + 1 == loop->config->accumulate;
    LKS_TRY(cut_batch(loop, whole, k, &batch));
    lks_replica_set_sync(loop->replica, last);
    LKS_TRY(lks_replica_begin(loop->replica));
    LKS_TRY(forward(loop, &batch, &output));
    LKS_TRY(compute_loss(loop, &batch,
                         lks_averages_ranks(loop->config) ? own : batch.part.global_count, &output,
                         sums, &grad));
    LKS_TRY(backward(loop, &grad));
    return last ? update(loop) : LKS_OK;
}

static lks_status_t train_step(loop_t *loop)
{
    lks_batch_t batch;
    step_sums_t sums = {0};
    bool scales = lks_replica_grad_scaler(loop->replica) != NULL;
    double loss_scale = scales ? lks_replica_loss_scale(loop->replica) : (double)NAN;
    set_step(loop);
    LKS_TRY(next_batch(loop, &batch));
    for (int64_t k = 0; k < loop->config->accumulate; k++) {
        LKS_TRY(train_piece(loop, &batch, k, &sums));
    }
    LKS_TRY(share_sums(loop, &sums));
    count_step(loop, &sums, batch.part.global_count);
    return log_step(loop, &sums, batch.part.global_count, loss_scale);
}

/* --- the end of an epoch ------------------------------------------------------------------------- */

static lks_status_t validate(loop_t *loop)
{
    lks_job_t *job = loop->job;
    if (job->validation_count == 0) {
        return LKS_OK;
    }
    lks_eval_sums_t sums;
    int64_t start = lks_trace_begin(loop->compute_row);
    LKS_TRY(lks_evaluate_subset(loop->replica, job->data, job->validation, job->validation_count,
                                loop->config->batch_size, &sums));
    lks_trace_end(loop->compute_row, "validate", start, NULL, 0);
    loop->at.val_loss = sums.loss;
    loop->at.val_accuracy = percent(loop, sums.correct, job->validation_count);
    return LKS_OK;
}

/* Higher accuracy is better; where there is none (regression), lower loss. */
static bool take_best(loop_t *loop)
{
    lks_progress_t *at = &loop->at;
    bool validated = loop->job->validation_count > 0;
    double accuracy = validated ? at->val_accuracy : at->accuracy;
    double loss = validated ? at->val_loss : at->loss;
    if (!isfinite(loss) || !isfinite(at->loss)) {
        return false; /* a model that has diverged still guesses some classes right */
    }
    bool better = isnan(accuracy) ? loss < at->best_loss : accuracy > at->best_accuracy;
    if (better) {
        at->best_accuracy = isnan(accuracy) ? 0.0 : accuracy;
        at->best_loss = loss;
    }
    return better;
}

static lks_status_t finish_epoch(loop_t *loop)
{
    lks_progress_t *at = &loop->at;
    at->loss = at->epoch_loss / (double)at->epoch_count;
    at->accuracy = percent(loop, at->epoch_correct, at->epoch_count);
    at->epoch_loss = at->epoch_correct = 0.0;
    at->epoch_count = 0;
    double speed = samples_per_second(&loop->epoch_watch);
    LKS_TRY(validate(loop));

    lks_train_event_t event = make_event(loop, LKS_EVENT_EPOCH);
    event.samples_per_second = speed;
    event.comm_hidden = lks_replica_hidden_share(loop->replica);
    lks_optim_set_lr(loop->replica->optim, lks_lr_scheduler_step(&at->scheduler));
    at->epoch++;
    at->step = 0;
    bool better = take_best(loop);
    LKS_TRY(notify(loop, &event));
    start_watch(&loop->epoch_watch);
    start_watch(&loop->log_watch);
    return loop->config->save_dir ? save_epoch(loop, better) : LKS_OK;
}

/* --- the loop ------------------------------------------------------------------------------------ */

static bool finished(const loop_t *loop)
{
    const lks_train_config_t *config = loop->config;
    return loop->at.epoch >= loop->epochs ||
           (config->max_steps > 0 && loop->at.global_step >= config->max_steps);
}

static lks_status_t run_steps(loop_t *loop)
{
    const lks_train_config_t *config = loop->config;
    while (!finished(loop) && !loop->stop) {
        LKS_TRY(train_step(loop));
        LKS_TRY(lks_saver_finish(&loop->saver, false));
        bool numbered = config->save_dir && config->save_every_steps > 0 &&
                        loop->at.global_step % config->save_every_steps == 0;
        if (loop->at.step == loop->steps_per_epoch) {
            LKS_TRY(finish_epoch(loop));
        }
        if (numbered) {
            LKS_TRY(save_step(loop));
        }
    }
    if (loop->stop) {
        lks_train_event_t event = make_event(loop, LKS_EVENT_INTERRUPT);
        LKS_TRY(notify(loop, &event));
    }
    if (config->save_dir) {
        LKS_TRY(save_last(loop));
    }
    return lks_saver_finish(&loop->saver, true);
}

static lks_status_t open_rows(loop_t *loop)
{
    lks_trace_t *trace = loop->job->profile.trace;
    int rank = loop->replica->rank;
    LKS_TRY(lks_trace_row(trace, rank, LKS_TRACE_COMPUTE, &loop->compute_row));
    LKS_TRY(lks_trace_row(trace, rank, LKS_TRACE_COMM, &loop->comm_row));
    LKS_TRY(lks_trace_row(trace, rank, LKS_TRACE_LOADER, &loop->loader_row));
    LKS_TRY(lks_grad_sync_set_trace(loop->replica->sync, trace));
    lks_replica_set_timing(loop->replica, true);
    return rank == 0 ? lks_trace_row(trace, rank, LKS_TRACE_SAVE, &loop->saver.row) : LKS_OK;
}

lks_status_t lks_train_loop(lks_replica_t *replica, void *context)
{
    lks_job_t *job = context;
    loop_t loop = {
        .job = job,
        .config = job->config,
        .replica = replica,
        .at = job->start,
        .saver = {.job = job, .replica = replica},
        .steps_per_epoch = lks_sampler_steps(&job->sampler),
        .epochs = job->config->epochs > 0 ? job->config->epochs : INT64_MAX,
        .saved_step = -1,
    };
    LKS_TRY(open_rows(&loop));
    start_watch(&loop.epoch_watch);
    start_watch(&loop.log_watch);
    lks_optim_set_lr(replica->optim, loop.at.scheduler.last_lr);
    LKS_TRY(lks_loader_create(job->data, job->train, &job->sampler, replica->rank,
                              replica->world_size, loop.at.epoch, loop.at.step, 2, &loop.loader));
    lks_status_t status = run_steps(&loop);
    lks_saver_close(&loop.saver);
    lks_loader_destroy(loop.loader);
    if (status == LKS_OK && lks_comm_local_rank(replica->comm) == 0) {
        job->end = loop.at;
        job->interrupted = loop.stop;
    }
    return status;
}
