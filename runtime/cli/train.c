/* SPDX-License-Identifier: Apache-2.0 */
/* train.c - `lockstep train`. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"

#include <math.h>
#include <signal.h>
#include <string.h>

static int stop_requested; /* atomic accesses only */

/* The first signal asks the job to save and end; the second one finds the default action again. */
static void request_stop(int signal_number)
{
    __atomic_store_n(&stop_requested, 1, __ATOMIC_RELAXED);
    (void)signal(signal_number, SIG_DFL);
}

static lks_status_t parse_optimizer(const char *text, void *target)
{
    return lks_optim_kind_from_name(text, target);
}

typedef struct train_flags {
    lks_train_config_t config;
    int64_t seed;
    bool json, load_matching;
} train_flags_t;

#define MAX_OPTIONS 48

static size_t make_options(train_flags_t *flags, option_t *options)
{
    lks_train_config_t *c = &flags->config;
    lks_optim_config_t *o = &c->optim;
    const option_t table[] = {
        OPTION_STR("model", "M", &c->model, true, "mlp:4,8,3[,dropout=P]: sizes of its layers"),
        OPTION_STR("data", "D", &c->data, false,
                   "a CSV file, a folder of IDX files, fashion-mnist or mnist"),
        OPTION_STR("label", "COLUMN", &c->label, true,
                   "CSV: label column by name, or by number from 0 (default: the last)"),
        OPTION_SWITCH("regression", &c->regression, true,
                      "CSV: the label is a number; mean squared error"),
        OPTION_SWITCH("standardize", &c->standardize, true,
                      "CSV: features to mean 0, deviation 1 (default; --no-standardize)"),
        OPTION_STR("devices", "LIST", &c->devices, false,
                   "auto, host, host:N, cuda or cuda:0,2 (default: auto)"),
        OPTION_CUSTOM("bind", "HOW", &c->bind, parse_bind, false,
                      "threads to cores: cores or none (default: cores)"),
        OPTION_INT("epochs", &c->epochs, 0, false,
                   "passes over the data (default: 10; 0: until --max-steps)"),
        OPTION_INT("max-steps", &c->max_steps, 0, false,
                   "optimizer steps of the whole job (default: 0, no limit)"),
        OPTION_INT("batch-size", &c->batch_size, 1, true,
                   "samples at a time over all replicas (default: 32)"),
        OPTION_INT("accumulate", &c->accumulate, 1, true,
                   "batches per step, whose gradients are added up (default: 1)"),
        OPTION_STR(
            "grad-average", "OVER", &c->grad_average, true,
            "samples, or ranks: the mean of the replicas' own means, as DDP (default: samples)"),
        OPTION_STR("precision", "DTYPE", &c->precision, true,
                   "what weights are stored in: float32, bfloat16 or float16 (default: float32)"),
        OPTION_STR(
            "loss-scale", "S", &c->loss_scale, true,
            "auto (with float16 from 65536 on, as GradScaler), a number or none (default: auto)"),
        OPTION_CUSTOM("optimizer", "NAME", &o->kind, parse_optimizer, true,
                      "sgd, adam or adamw (default: sgd)"),
        OPTION_FLOAT("lr", &o->lr, true, "learning rate (default: sgd 0.01, adam and adamw 0.001)"),
        OPTION_FLOAT("momentum", &o->momentum, true, "sgd (default: 0)"),
        OPTION_FLOAT("dampening", &o->dampening, true, "sgd (default: 0)"),
        OPTION_SWITCH("nesterov", &o->nesterov, true, "sgd: Nesterov momentum"),
        OPTION_FLOAT("weight-decay", &o->weight_decay, true, "default: sgd and adam 0, adamw 0.01"),
        OPTION_FLOAT("beta1", &o->beta1, true, "adam, adamw (default: 0.9)"),
        OPTION_FLOAT("beta2", &o->beta2, true, "adam, adamw (default: 0.999)"),
        OPTION_FLOAT("eps", &o->eps, true, "adam, adamw (default: 1e-8)"),
        OPTION_SWITCH("amsgrad", &o->amsgrad, true,
                      "adam, adamw: keep the maximum of the second moment"),
        OPTION_AMOUNT("clip-norm", "X", &c->clip_norm, true,
                      "largest norm of all gradients together (default: 0, any)"),
        OPTION_AMOUNT("clip-value", "X", &c->clip_value, true,
                      "largest magnitude of a gradient's element (default: 0, any)"),
        OPTION_STR(
            "scheduler", "S", &c->scheduler, true,
            "none, step:SIZE[,GAMMA], multistep:E1,E2[,gamma=G], cosine:T[,MIN] (default: none)"),
        OPTION_INT("seed", &flags->seed, 0, true,
                   "of initial values, split, order and dropout (default: 0)"),
        OPTION_FLOAT("val-fraction", &c->val_fraction, true,
                     "part of the data kept for validation, by class (default: 0)"),
        OPTION_STR("save", "DIR", &c->save_dir, false,
                   "write last.pt there at the end and whenever best.pt or a numbered file is"),
        OPTION_INT("save-every", &c->save_every, 0, false,
                   "an epoch-NNNN.pt every N epochs (default: 0, none)"),
        OPTION_INT("save-every-steps", &c->save_every_steps, 0, false,
                   "a step-NNNNNNNN.pt every N steps (default: 0, none)"),
        OPTION_SWITCH("async-save", &c->async_save, false,
                      "write files in the background while training goes on"),
        OPTION_STR("load", "FILE", &c->load, false, "start from a checkpoint's weights"),
        OPTION_STR("resume", "FILE", &c->resume, false,
                   "continue a checkpoint's job with its settings"),
        OPTION_SWITCH("load-matching", &flags->load_matching, false,
                      "load what fits by name and shape, keep the rest"),
        OPTION_STR("key-prefix", "P", &c->key_prefix, true,
                   "in front of parameter names in files, as \"fc.\" (default: none)"),
        OPTION_AMOUNT("bucket-mb", "MIB", &c->bucket_mb, false,
                      "gradients are exchanged in buckets of so many MiB (default: 25)"),
        OPTION_AMOUNT("first-bucket-mb", "MIB", &c->first_bucket_mb, false,
                      "the first bucket, which should be on its way soon (default: 1)"),
        OPTION_AMOUNT("timeout", "SECONDS", &c->timeout, false,
                      "a replica that stays away so long ends the job (default: 1800)"),
        OPTION_INT("log-every", &c->log_every, 0, false,
                   "show the loss every N steps (default: 0, epochs only)"),
        OPTION_STR("tensorboard", "DIR", &c->tensorboard_dir, false,
                   "write curves for TensorBoard there (default: none)"),
        OPTION_STR("profile", "FILE", &c->profile, false,
                   "write a trace of all ranks for ui.perfetto.dev at the end (default: none)"),
        OPTION_SWITCH("json", &flags->json, false, "events and result as JSON lines on stdout"),
    };
    enum { COUNT = sizeof table / sizeof *table };
    _Static_assert(COUNT <= MAX_OPTIONS, "room for all options");
    memcpy(options, table, sizeof table);
    return COUNT;
}

/* The flags are read twice: first for the optimizer, which has its own defaults, and for a file to resume, whose
 * settings come before the flags'. */
static lks_status_t parse_flags(int argc, char **argv, train_flags_t *flags,
                                const option_t *options, size_t count, lks_train_args_t **args)
{
    size_t words;
    LKS_TRY(options_parse(options, count, argc, argv, false, NULL, 0, &words));
    if (flags->config.load && flags->config.resume) {
        return lks_fail(LKS_ERR_INVALID_ARG, "--load starts a new job, --resume continues one");
    }
    lks_optim_kind_t kind = flags->config.optim.kind;
    const char *resume = flags->config.resume;
    flags->config = lks_train_config_default();
    flags->config.optim = lks_optim_config_default(kind);
    flags->seed = 0;
    bool keep = false;
    if (resume) {
        LKS_TRY(lks_train_args_read(resume, args));
        keep = lks_train_args_has(*args, "model");
        if (keep) {
            flags->config = *lks_train_args_config(*args);
            flags->seed = (int64_t)flags->config.seed;
        }
    }
    LKS_TRY(options_parse(options, count, argc, argv, keep, NULL, 0, &words));
    flags->config.seed = (uint64_t)flags->seed;
    flags->config.strict = !flags->load_matching;
    if (resume && !flags->config.save_dir) {
        fprintf(stderr, "note: nothing will be saved without --save\n");
    }
    if (!flags->config.model || !flags->config.data) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s is missing",
                        flags->config.model ? "--data" : "--model");
    }
    return LKS_OK;
}

static void print_result(const train_flags_t *flags, const lks_train_result_t *result)
{
    if (flags->json) {
        bool first = true;
        fputc('{', stdout);
        json_key_str(stdout, &first, "event", "done");
        json_key_int(stdout, &first, "epochs", result->epochs);
        json_key_int(stdout, &first, "global_step", result->global_step);
        json_key_int(stdout, &first, "skipped_steps", result->skipped_steps);
        json_key_float(stdout, &first, "loss", result->loss);
        json_key_float(stdout, &first, "accuracy", result->accuracy);
        json_key_float(stdout, &first, "val_loss", result->val_loss);
        json_key_float(stdout, &first, "val_accuracy", result->val_accuracy);
        json_key_float(stdout, &first, "best_accuracy", result->best_accuracy);
        json_key_bool(stdout, &first, "interrupted", result->interrupted);
        json_key_float(stdout, &first, "seconds", result->seconds);
        fputs("}\n", stdout);
        return;
    }
    printf("%s after %lld epochs, %lld steps", result->interrupted ? "stopped" : "trained",
           (long long)result->epochs, (long long)result->global_step);
    if (result->skipped_steps > 0) {
        printf(" (%lld skipped)", (long long)result->skipped_steps);
    }
    printf(", %.2f s", result->seconds);
    if (!isnan(result->loss)) {
        printf(": loss %.6f", result->loss);
    }
    if (!isnan(result->accuracy)) {
        printf(", accuracy %.2f %%", result->accuracy);
    }
    if (!isnan(result->val_accuracy)) {
        printf(", validation accuracy %.2f %% (best %.2f %%)", result->val_accuracy,
               result->best_accuracy);
    }
    fputc('\n', stdout);
}

static int run(int argc, char **argv)
{
    train_flags_t flags = {.config = lks_train_config_default()};
    option_t options[MAX_OPTIONS];
    size_t count = make_options(&flags, options);
    if (options_want_help(argc, argv)) {
        options_print_help(&train_command, options, count);
        return finish_output(EXIT_DONE);
    }
    lks_train_args_t *args = NULL;
    lks_status_t status = parse_flags(argc, argv, &flags, options, count, &args);
    if (status != LKS_OK) {
        int code = status == LKS_ERR_INVALID_ARG ? report_usage(&train_command) : report_failure();
        lks_train_args_destroy(args);
        return code;
    }
    progress_t progress;
    progress_init(&progress, flags.json);
    flags.config.observer = progress_show;
    flags.config.observer_context = &progress;
    flags.config.stop = &stop_requested;
    if (progress.terminal && !flags.json && flags.config.log_every == 0) {
        flags.config.log_every = 100; /* the line that changes */
    }
    (void)signal(SIGINT, request_stop);
    (void)signal(SIGTERM, request_stop);
    lks_train_result_t result;
    status = lks_train(&flags.config, &result);
    progress_close(&progress);
    int code = EXIT_DONE;
    if (status == LKS_OK) {
        if (result.rank == 0) {
            print_result(&flags, &result);
        }
        code = finish_output(EXIT_DONE);
    } else {
        code = report_failure();
    }
    lks_train_args_destroy(args);
    return code;
}

const command_t train_command = {
    .name = "train",
    .summary = "Trains a model on the visible devices. Saves, keeps the best, resumes.",
    .run = run,
};
