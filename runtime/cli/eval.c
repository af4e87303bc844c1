/* SPDX-License-Identifier: Apache-2.0 */
/* eval.c - `lockstep eval` and `lockstep predict`: a checkpoint's model on a data set. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"

#include <math.h>
#include <string.h>

typedef struct eval_flags {
    lks_eval_config_t config;
    progress_t progress;
    bool json, load_matching;
} eval_flags_t;

#define MAX_OPTIONS 16

static lks_status_t parse_split(const char *text, void *target)
{
    bool test = strcmp(text, "test") == 0;
    if (!test && strcmp(text, "train") != 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "wants 'train' or 'test', not '%s'", text);
    }
    *(lks_split_t *)target = test ? LKS_SPLIT_TEST : LKS_SPLIT_TRAIN;
    return LKS_OK;
}

static size_t make_options(eval_flags_t *flags, option_t *options)
{
    lks_eval_config_t *c = &flags->config;
    const option_t table[] = {
        OPTION_STR("load", "FILE", &c->load, false, "the checkpoint, as FILE without --load"),
        OPTION_STR("data", "D", &c->data, false,
                   "a CSV file, a folder of IDX files, fashion-mnist or mnist"),
        OPTION_CUSTOM("split", "S", &c->split, parse_split, false,
                      "of a named data set: train or test (default: test)"),
        OPTION_STR("label", "COLUMN", &c->label, false,
                   "CSV: label column, by name or from 0 (default: as trained); predict: none"),
        OPTION_SWITCH("regression", &c->regression, false, "CSV: the label is a number"),
        OPTION_STR("model", "M", &c->model, false, "mlp:4,8,3 (default: what the checkpoint says)"),
        OPTION_STR("key-prefix", "P", &c->key_prefix, false,
                   "in front of parameter names (default: what the checkpoint says)"),
        OPTION_SWITCH("load-matching", &flags->load_matching, false,
                      "load what fits by name and shape, leave the rest at its initial values"),
        OPTION_STR("devices", "LIST", &c->devices, false,
                   "auto, host, host:N, cuda or cuda:0,2 (default: auto)"),
        OPTION_CUSTOM("bind", "HOW", &c->bind, parse_bind, false,
                      "threads to cores: cores or none (default: cores)"),
        OPTION_INT("batch-size", &c->batch_size, 1, false,
                   "samples per forward pass over all replicas (default: 256)"),
        OPTION_SWITCH("json", &flags->json, false, "eval: the result as one JSON object"),
    };
    enum { COUNT = sizeof table / sizeof *table };
    _Static_assert(COUNT <= MAX_OPTIONS, "room for all options");
    memcpy(options, table, sizeof table);
    return COUNT;
}

/* Parses and checks; returns -1 to go on, else an exit code. */
static int prepare(const command_t *command, int argc, char **argv, eval_flags_t *flags)
{
    *flags = (eval_flags_t){.config = lks_eval_config_default()};
    option_t options[MAX_OPTIONS];
    size_t count = make_options(flags, options), words;
    if (options_want_help(argc, argv)) {
        options_print_help(command, options, count);
        return finish_output(EXIT_DONE);
    }
    lks_status_t status =
        options_parse(options, count, argc, argv, false, &flags->config.load, 1, &words);
    if (status == LKS_OK && (!flags->config.load || !flags->config.data)) {
        status = lks_fail(LKS_ERR_INVALID_ARG, "%s is missing",
                          flags->config.load ? "--data" : "the checkpoint");
    }
    progress_init(&flags->progress, false);
    flags->config.observer = progress_show;
    flags->config.observer_context = &flags->progress;
    flags->config.strict = !flags->load_matching;
    if (flags->config.label && strcmp(flags->config.label, "none") == 0) {
        flags->config.unlabelled = true;
    }
    return status == LKS_OK ? -1 : report_usage(command);
}

static int run_eval(int argc, char **argv)
{
    eval_flags_t flags;
    int code = prepare(&eval_command, argc, argv, &flags);
    if (code >= 0) {
        return code;
    }
    lks_eval_result_t result;
    if (lks_evaluate(&flags.config, &result) != LKS_OK) {
        return report_failure();
    }
    if (flags.json) {
        bool first = true;
        fputc('{', stdout);
        json_key_int(stdout, &first, "count", result.count);
        json_key_float(stdout, &first, "loss", result.loss);
        json_key_float(stdout, &first, "accuracy", result.accuracy);
        fputs("}\n", stdout);
    } else {
        printf("%lld samples: loss %.6f", (long long)result.count, result.loss);
        if (!isnan(result.accuracy)) {
            printf(", accuracy %.2f %%", result.accuracy);
        }
        fputc('\n', stdout);
    }
    return finish_output(EXIT_DONE);
}

/* A CSV field: quoted where it must be (RFC 4180). */
static void print_field(const char *text)
{
    if (strcspn(text, ",\"\r\n") == strlen(text)) {
        fputs(text, stdout);
        return;
    }
    fputc('"', stdout);
    for (; *text; text++) {
        fputs(*text == '"' ? "\"\"" : (char[2]){*text, '\0'}, stdout);
    }
    fputc('"', stdout);
}

static lks_status_t print_outputs(void *context, const float *outputs, int64_t count,
                                  int64_t features, const char *const *names)
{
    (void)context;
    for (int64_t i = 0; i < features; i++) {
        fputs(i ? "," : "", stdout);
        if (names) {
            print_field(names[i]);
        } else {
            printf("output_%lld", (long long)i);
        }
    }
    fputc('\n', stdout);
    for (int64_t row = 0; row < count; row++) {
        for (int64_t i = 0; i < features; i++) {
            printf("%s%.9g", i ? "," : "", (double)outputs[row * features + i]);
        }
        fputc('\n', stdout);
    }
    return LKS_OK;
}

static int run_predict(int argc, char **argv)
{
    eval_flags_t flags;
    int code = prepare(&predict_command, argc, argv, &flags);
    if (code >= 0) {
        return code;
    }
    if (lks_predict(&flags.config, print_outputs, NULL) != LKS_OK) {
        return report_failure();
    }
    return finish_output(EXIT_DONE);
}

const command_t eval_command = {
    .name = "eval",
    .arguments = "FILE",
    .summary = "Accuracy and loss of a checkpoint. The model is in evaluation mode.",
    .run = run_eval,
};

const command_t predict_command = {
    .name = "predict",
    .arguments = "FILE",
    .summary = "Outputs of a checkpoint's model as CSV. One row per sample, in order; a header of "
               "class names.",
    .run = run_predict,
};
