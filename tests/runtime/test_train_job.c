/* SPDX-License-Identifier: Apache-2.0 */
/* The trainer: replicas and resuming do not change what is computed; bad jobs are refused before they start. */
#include "support/support.h"

#include <lockstep/checkpoint.h>
#include <lockstep/trainer.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_STEPS = 256 };

typedef struct curve {
    double losses[MAX_STEPS];
    int count, epochs, saves;
    int *stop; /* set after `stop_after` steps */
    int stop_after;
} curve_t;

static void record(void *context, const lks_train_event_t *event)
{
    curve_t *curve = context;
    if (event->kind == LKS_EVENT_STEP && curve->count < MAX_STEPS) {
        curve->losses[curve->count++] = event->loss;
        if (curve->stop && curve->count == curve->stop_after) {
            *curve->stop = 1;
        }
    }
    curve->epochs += event->kind == LKS_EVENT_EPOCH;
    curve->saves += event->kind == LKS_EVENT_SAVE;
}

static lks_train_config_t job(curve_t *curve)
{
    lks_train_config_t config = lks_train_config_default();
    config.model = "mlp:4,16,3,dropout=0.25";
    config.data = TEST_DATA_DIR "/iris.csv";
    config.devices = "host";
    config.optim = lks_optim_config_default(LKS_OPTIM_ADAM);
    config.optim.lr = 0.01;
    config.scheduler = "cosine:9";
    config.batch_size = 32; /* 150 samples: four full batches and 22 */
    config.epochs = 6;
    config.seed = 3;
    config.log_every = 1;
    config.observer = record;
    config.observer_context = curve;
    return config;
}

static const char *save_dir(const char *name)
{
    const char *dir = test_temp_path(name);
    cr_assert(mkdir(dir, 0777) == 0);
    return dir;
}

/* test_temp_dir is removed one level deep, so a job's folder is emptied here. */
static void remove_dir(const char *dir)
{
    static const char *const names[] = {"last.pt", "best.pt", "epoch-0002.pt", "epoch-0004.pt",
                                        "epoch-0006.pt"};
    char path[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    cr_assert(rmdir(dir) == 0, "%s holds something unexpected", dir);
}

static const char *file_in(const char *dir, const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

Test(train_job, three_replicas_follow_one)
{
    curve_t one = {0}, three = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&one);
    assert_ok(lks_train(&config, &result));
    config.devices = "host:3";
    config.observer_context = &three;
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(one.count, 30);
    cr_assert_eq(three.count, 30);
    for (int i = 0; i < 30; i++) {
        cr_assert(fabs(one.losses[i] - three.losses[i]) <= 1e-5 * one.losses[i], "step %d", i);
    }
    cr_assert(one.losses[29] < one.losses[0]);
}

Test(train_job, accumulated_batches_follow_a_large_one)
{
    curve_t one = {0}, four = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&one);
    assert_ok(lks_train(&config, &result));
    config.devices = "host:3";
    config.batch_size = 8;
    config.accumulate = 4;
    config.observer_context = &four;
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(one.count, 30);
    cr_assert_eq(four.count, 30);
    for (int i = 0; i < 30; i++) {
        cr_assert(fabs(one.losses[i] - four.losses[i]) <= 1e-5 * one.losses[i], "step %d", i);
    }
}

Test(train_job, more_replicas_than_samples_in_the_last_batch)
{
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.batch_size = 149; /* the second batch has one sample for five replicas */
    config.devices = "host:5";
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(result.global_step, 12);
    cr_assert(isfinite(result.loss));
}

static void assert_same_tensors(const char *a, const char *b)
{
    lks_checkpoint_t *ca, *cb;
    assert_ok(lks_checkpoint_open(a, NULL, &ca));
    assert_ok(lks_checkpoint_open(b, NULL, &cb));
    size_t count = lks_tree_storage_count(lks_checkpoint_tree(ca));
    cr_assert_eq(count, lks_tree_storage_count(lks_checkpoint_tree(cb)));
    cr_assert(count >= 12);
    for (size_t i = 0; i < count; i++) {
        const void *da, *db;
        size_t na, nb;
        assert_ok(lks_checkpoint_storage(ca, i, NULL, &da, &na));
        assert_ok(lks_checkpoint_storage(cb, i, NULL, &db, &nb));
        cr_assert_eq(na, nb);
        cr_assert(memcmp(da, db, na) == 0, "storage %zu differs", i);
    }
    lks_checkpoint_close(ca);
    lks_checkpoint_close(cb);
}

static void check_resume(const char *precision, bool standardize)
{
    const char *whole = save_dir("whole"), *cut = save_dir("cut");
    curve_t all = {0}, first = {0}, second = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&all);
    config.devices = "host:3";
    config.precision = precision;
    config.standardize = standardize;
    config.save_dir = whole;
    assert_ok(lks_train(&config, &result));
    int64_t skipped = result.skipped_steps;

    int stop = 0;
    first.stop = &stop;
    first.stop_after = 13; /* the third of the five steps of epoch 3 */
    config.stop = &stop;
    config.save_dir = cut;
    config.observer_context = &first;
    assert_ok(lks_train(&config, &result));
    cr_assert(result.interrupted);
    cr_assert(result.global_step >= 13 && result.global_step < 30);

    stop = 0;
    config.resume = file_in(cut, "last.pt");
    config.observer_context = &second;
    assert_ok(lks_train(&config, &result));
    cr_assert_not(result.interrupted);
    cr_assert_eq(result.skipped_steps, skipped);
    cr_assert_eq(first.count + second.count, all.count);
    for (int i = 0; i < second.count; i++) {
        cr_assert(second.losses[i] == all.losses[first.count + i], "step %d", first.count + i);
    }
    assert_same_tensors(file_in(whole, "last.pt"), file_in(cut, "last.pt"));
    remove_dir(whole);
    remove_dir(cut);
}

Test(train_job, stopped_in_mid_epoch_and_resumed_it_ends_with_the_same_bits)
{
    check_resume("float32", true);
}

Test(train_job, so_it_does_in_16_bits)
{
    check_resume("bfloat16", true);
    check_resume("float16", false); /* large features: some gradients overflow at first */
}

Test(train_job, steps_that_the_loss_scale_made_overflow_are_skipped)
{
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.optim = lks_optim_config_default(LKS_OPTIM_SGD);
    config.standardize = false;
    config.precision = "float16";
    config.devices = "host:2";
    config.loss_scale = "1e30";
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(result.global_step, 30);
    cr_assert_eq(result.skipped_steps, 30);
    config.loss_scale = "auto";
    assert_ok(lks_train(&config, &result));
    cr_assert(result.skipped_steps > 0 && result.skipped_steps < 5, "%d",
              (int)result.skipped_steps);
    config.loss_scale = "none";
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(result.skipped_steps, 0);
    cr_assert(isfinite(result.loss));
}

Test(train_job, saves_what_it_was_asked_to)
{
    const char *dir = save_dir("run");
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.val_fraction = 0.2;
    config.save_dir = dir;
    config.save_every = 2;
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(curve.epochs, 6);
    cr_assert(access(file_in(dir, "epoch-0002.pt"), R_OK) == 0);
    cr_assert(access(file_in(dir, "epoch-0003.pt"), R_OK) != 0);
    cr_assert(access(file_in(dir, "epoch-0006.pt"), R_OK) == 0);
    assert_same_tensors(file_in(dir, "epoch-0006.pt"), file_in(dir, "last.pt"));

    lks_eval_config_t eval = lks_eval_config_default();
    lks_eval_result_t measured;
    eval.load = file_in(dir, "best.pt");
    eval.data = config.data;
    eval.devices = "host:2";
    assert_ok(lks_evaluate(&eval, &measured));
    cr_assert_eq(measured.count, 150);
    cr_assert(measured.accuracy > 60.0 && measured.accuracy <= 100.0);
    remove_dir(dir);
}

static void assert_same_file(const char *dir, const char *other, const char *name)
{
    size_t a_size, b_size;
    unsigned char *a = test_read_file(file_in(dir, name), &a_size);
    unsigned char *b = test_read_file(file_in(other, name), &b_size);
    cr_assert_eq(a_size, b_size, "%s", name);
    cr_assert(memcmp(a, b, a_size) == 0, "%s", name);
    free(a);
    free(b);
}

static void check_background(const char *precision)
{
    curve_t now = {0}, later = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&now);
    config.devices = "host:2";
    config.precision = precision;
    config.val_fraction = 0.2;
    config.save_every = 2;
    const char *dir = save_dir("now"), *other = save_dir("later");
    config.save_dir = dir;
    assert_ok(lks_train(&config, &result));
    config.save_dir = other;
    config.async_save = true;
    config.observer_context = &later;
    assert_ok(lks_train(&config, &result));
    cr_assert_eq(now.saves, later.saves);
    static const char *const names[] = {"best.pt", "last.pt", "epoch-0002.pt", "epoch-0004.pt",
                                        "epoch-0006.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_same_file(dir, other, names[i]);
    }
    remove_dir(dir);
    remove_dir(other);
}

Test(train_job, saves_in_the_background_are_the_same_files)
{
    check_background("float32");
}

Test(train_job, with_masters_and_a_loss_scale_they_are_so_too)
{
    check_background("bfloat16");
    check_background("float16");
}

/* A directory is in the way of the second file. */
Test(train_job, a_failed_save_in_the_background_ends_the_job)
{
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.epochs = 100000;
    config.save_every = 1;
    config.async_save = true;
    config.save_dir = save_dir("run");
    const char *obstacle = file_in(config.save_dir, "epoch-0001.pt");
    cr_assert_eq(mkdir(obstacle, 0777), 0);
    assert_fails(lks_train(&config, &result), LKS_ERR_IO, "epoch-0001.pt");
    cr_assert_eq(rmdir(obstacle), 0);
    remove_dir(config.save_dir);
}

Test(train_job, settings_come_back_from_the_file)
{
    const char *dir = save_dir("run");
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_args_t *args;
    lks_train_config_t config = job(&curve);
    config.save_dir = dir;
    config.key_prefix = "fc.";
    config.optim.amsgrad = true;
    config.accumulate = 2;
    config.precision = "bfloat16";
    config.loss_scale = "128";
    config.grad_average = "ranks";
    config.clip_norm = 1.5;
    config.clip_value = 0.25;
    config.bucket_mb = 3;
    config.timeout = 60;
    config.profile = test_temp_path("trace.json");
    config.tensorboard_dir = test_temp_path("tb");
    assert_ok(lks_train(&config, &result));
    assert_ok(lks_train_args_read(file_in(dir, "last.pt"), &args));
    const lks_train_config_t *said = lks_train_args_config(args);
    cr_assert_str_eq(said->model, config.model);
    cr_assert_str_eq(said->key_prefix, "fc.");
    cr_assert_str_eq(said->scheduler, "cosine:9");
    cr_assert_null(said->label);
    cr_assert_eq(said->batch_size, 32);
    cr_assert_eq(said->seed, 3);
    cr_assert_eq(said->optim.kind, LKS_OPTIM_ADAM);
    cr_assert(said->optim.amsgrad);
    cr_assert(said->optim.lr == 0.01);
    cr_assert_eq(said->accumulate, 2);
    cr_assert_str_eq(said->precision, "bfloat16");
    cr_assert_str_eq(said->loss_scale, "128");
    cr_assert_str_eq(said->grad_average, "ranks");
    cr_assert(said->clip_norm == 1.5);
    cr_assert(said->clip_value == 0.25);
    cr_assert(said->bucket_mb == 25 && said->timeout == 0);
    cr_assert(lks_train_args_has(args, "batch-size"));
    cr_assert(lks_train_args_has(args, "batch_size"));
    cr_assert_not(lks_train_args_has(args, "save_dir"));
    cr_assert_not(lks_train_args_has(args, "bucket-mb"));
    cr_assert_not(lks_train_args_has(args, "timeout"));
    cr_assert_not(lks_train_args_has(args, "profile"));
    cr_assert_not(lks_train_args_has(args, "tensorboard"));
    lks_train_args_destroy(args);
    remove_dir(dir);
}

Test(train_job, another_split_of_the_data_cannot_be_resumed_in_mid_epoch)
{
    const char *dir = save_dir("run");
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.save_dir = dir;
    config.max_steps = 7;
    assert_ok(lks_train(&config, &result));
    config.resume = file_in(dir, "last.pt");
    config.max_steps = 20;
    config.batch_size = 16;
    assert_fails(lks_train(&config, &result), LKS_ERR_MISMATCH, "stopped in mid-epoch");
    config.batch_size = 32;
    config.optim = lks_optim_config_default(LKS_OPTIM_SGD);
    assert_fails(lks_train(&config, &result), LKS_ERR_MISMATCH, "not SGD's");
    config = job(&curve);
    config.resume = file_in(dir, "last.pt");
    config.scheduler = "none";
    assert_fails(lks_train(&config, &result), LKS_ERR_MISMATCH, "scheduler");
    remove_dir(dir);
}

Test(train_job, a_diverged_epoch_is_never_the_best)
{
    const char *dir = save_dir("run");
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.optim = lks_optim_config_default(LKS_OPTIM_SGD);
    config.optim.lr = 1e30;
    config.save_dir = dir;
    assert_ok(lks_train(&config, &result));
    cr_assert_not(isfinite(result.loss));
    cr_assert(access(file_in(dir, "best.pt"), F_OK) != 0);
    cr_assert(access(file_in(dir, "last.pt"), R_OK) == 0);
    remove_dir(dir);
}

Test(train_job, learns_a_regression)
{
    const char *path = test_temp_path("line.csv");
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "x,y\n");
    for (int i = 0; i < 64; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%d,%g\n", i, 0.5 * i - 3.0);
    }
    test_write_file(path, text, used);
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.model = "mlp:1,1";
    config.data = path;
    config.regression = true;
    config.devices = "host:2";
    config.scheduler = "none";
    config.optim.lr = 0.5;
    config.epochs = 100;
    assert_ok(lks_train(&config, &result));
    cr_assert(result.loss < 1.0, "loss %g", result.loss);
    cr_assert(isnan(result.accuracy));
    cr_assert(result.best_accuracy == 0.0);
}

Test(train_job, refuses_what_no_job_can_be)
{
    curve_t curve = {0};
    lks_train_result_t result;
    lks_train_config_t config = job(&curve);
    config.batch_size = 0;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "batch size");
    config = job(&curve);
    config.epochs = 0;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "epochs or of steps");
    config = job(&curve);
    config.accumulate = INT64_MAX;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "are no step");
    config = job(&curve);
    config.precision = "float64";
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "not 'float64'");
    config = job(&curve);
    config.loss_scale = "128x";
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "not '128x'");
    config = job(&curve);
    config.clip_value = (double)NAN;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "values of nan");
    config = job(&curve);
    config.bucket_mb = (double)INFINITY;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "buckets of inf MiB");
    config = job(&curve);
    config.timeout = -1;
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "timeout of -1 s");
    config = job(&curve);
    config.key_prefix = ".fc.";
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "key prefix");
    config = job(&curve);
    config.tensorboard_dir = "";
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "TensorBoard");
    config = job(&curve);
    config.profile = "";
    assert_fails(lks_train(&config, &result), LKS_ERR_INVALID_ARG, "profile");
    config = job(&curve);
    config.model = "mlp:5,3";
    assert_fails(lks_train(&config, &result), LKS_ERR_MISMATCH, "takes 5 features");
    config = job(&curve);
    config.load = "/no/such.pt";
    assert_fails(lks_train(&config, &result), LKS_ERR_IO, "/no/such.pt");
    cr_assert_eq(curve.count, 0);
}
