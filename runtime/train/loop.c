/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - what every replica does: batch, forward, loss, backward, all-reduce, step; epoch ends.
 * Replicas take the same decisions because they see the same all-reduced numbers; rank 0 speaks and saves. */
#include "runtime/train/saver.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

typedef struct loop {
    lks_job_t *job;
    const lks_train_config_t *config;
    lks_replica_t *replica;
    lks_loader_t *loader;
    lks_progress_t at;
    lks_saver_t saver;
    int64_t steps_per_epoch;
    int64_t epochs;     /* to complete */
    int64_t saved_step; /* global step of last.pt; -1: none yet */
    bool stop;          /* somebody asked for an end */
    double samples_per_second;
    struct timespec epoch_start; /* of the epoch, or of the part of it that this run does */
    int64_t samples;             /* since then */
} loop_t;

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
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
        .samples_per_second = loop->samples_per_second,
    };
}

static void notify(const loop_t *loop, const lks_train_event_t *event)
{
    if (loop->replica->rank == 0) {
        lks_job_notify(loop->config, event);
    }
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

static lks_status_t compute_grads(loop_t *loop, const lks_batch_t *batch, double *loss,
                                  int64_t *correct)
{
    lks_replica_t *replica = loop->replica;
    lks_tensor_t output, grad;
    lks_exec_reset(replica->exec);
    lks_exec_set_training(replica->exec, true);
    lks_exec_set_position(replica->exec, loop->config->seed, (uint64_t)loop->at.global_step,
                          batch->part.first);
    LKS_TRY(lks_module_forward(replica->module, replica->exec, &batch->features, &output));
    LKS_TRY(lks_batch_loss(replica->exec, &output, batch, batch->part.global_count, loss, &grad,
                           correct));
    return lks_module_backward(replica->module, replica->exec, &grad, NULL);
}

static lks_status_t train_step(loop_t *loop)
{
    lks_replica_t *replica = loop->replica;
    lks_batch_t batch;
    LKS_TRY(lks_loader_next(loop->loader, &batch));
    double loss;
    int64_t correct;
    LKS_TRY(lks_replica_begin(replica));
    LKS_TRY(compute_grads(loop, &batch, &loss, &correct));
    LKS_TRY(lks_replica_step(replica));

    const int *stop = replica->rank == 0 ? loop->config->stop : NULL;
    bool asked = stop && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
    double sums[3] = {loss, (double)correct, asked ? 1.0 : 0.0};
    LKS_TRY(lks_comm_all_reduce(replica->comm, sums, sums, 3, LKS_DTYPE_F64, LKS_REDUCE_SUM, NULL));

    lks_progress_t *at = &loop->at;
    at->epoch_loss += sums[0] * (double)batch.part.global_count;
    at->epoch_correct += sums[1];
    at->epoch_count += batch.part.global_count;
    loop->samples += batch.part.global_count;
    at->global_step++;
    at->step++;
    loop->stop = sums[2] > 0.0;
    if (loop->config->log_every > 0 && at->global_step % loop->config->log_every == 0) {
        lks_train_event_t event = make_event(loop, LKS_EVENT_STEP);
        event.loss = sums[0];
        notify(loop, &event);
    }
    return LKS_OK;
}

/* --- the end of an epoch ------------------------------------------------------------------------- */

static lks_status_t validate(loop_t *loop)
{
    lks_job_t *job = loop->job;
    if (job->validation_count == 0) {
        return LKS_OK;
    }
    lks_eval_sums_t sums;
    LKS_TRY(lks_evaluate_subset(loop->replica, job->data, job->validation, job->validation_count,
                                loop->config->batch_size, &sums));
    loop->at.val_loss = sums.loss;
    if (lks_dataset_classes(job->data) > 0) {
        loop->at.val_accuracy = 100.0 * sums.correct / (double)job->validation_count;
    }
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
    double count = (double)at->epoch_count;
    bool classes = lks_dataset_classes(loop->job->data) > 0;
    at->loss = at->epoch_loss / count;
    at->accuracy = classes ? 100.0 * at->epoch_correct / count : (double)NAN;
    at->epoch_loss = at->epoch_correct = 0.0;
    at->epoch_count = 0;
    double elapsed = seconds_since(&loop->epoch_start);
    loop->samples_per_second = elapsed > 0.0 ? (double)loop->samples / elapsed : 0.0;
    LKS_TRY(validate(loop));

    lks_train_event_t event = make_event(loop, LKS_EVENT_EPOCH);
    lks_optim_set_lr(loop->replica->optim, lks_lr_scheduler_step(&at->scheduler));
    at->epoch++;
    at->step = 0;
    bool better = take_best(loop);
    notify(loop, &event);
    clock_gettime(CLOCK_MONOTONIC, &loop->epoch_start);
    loop->samples = 0;
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
        notify(loop, &event);
    }
    if (config->save_dir) {
        LKS_TRY(save_last(loop));
    }
    return lks_saver_finish(&loop->saver, true);
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
    clock_gettime(CLOCK_MONOTONIC, &loop.epoch_start);
    lks_optim_set_lr(replica->optim, loop.at.scheduler.last_lr);
    LKS_TRY(lks_loader_create(job->data, job->train, &job->sampler, replica->rank,
                              replica->world_size, loop.at.epoch, loop.at.step, 2, &loop.loader));
    lks_status_t status = run_steps(&loop);
    lks_saver_close(&loop.saver);
    lks_loader_destroy(loop.loader);
    if (status == LKS_OK && replica->rank == 0) {
        job->end = loop.at;
        job->interrupted = loop.stop;
    }
    return status;
}
