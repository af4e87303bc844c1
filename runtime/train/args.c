/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - a job's settings as a checkpoint's `args`, and back. One table names every setting once; keys are
 * the flags' names with '_' for '-', as argparse would have made them. */
#include "runtime/train/job.h"

#include "core/arena.h"
#include "serialize/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef enum { FIELD_STR, FIELD_BOOL, FIELD_INT, FIELD_FLOAT, FIELD_OPTIMIZER } field_type_t;

typedef struct field {
    const char *key;
    field_type_t type;
    size_t offset;
} field_t;

#define FIELD(key, type, member)                                                                   \
    {                                                                                              \
        key, type, offsetof(lks_train_config_t, member)                                            \
    }
static const field_t fields[] = {
    FIELD("model", FIELD_STR, model),
    FIELD("data", FIELD_STR, data),
    FIELD("label", FIELD_STR, label),
    FIELD("regression", FIELD_BOOL, regression),
    FIELD("standardize", FIELD_BOOL, standardize),
    FIELD("epochs", FIELD_INT, epochs),
    FIELD("max_steps", FIELD_INT, max_steps),
    FIELD("batch_size", FIELD_INT, batch_size),
    FIELD("accumulate", FIELD_INT, accumulate),
    FIELD("grad_average", FIELD_STR, grad_average),
    FIELD("clip_norm", FIELD_FLOAT, clip_norm),
    FIELD("clip_value", FIELD_FLOAT, clip_value),
    FIELD("precision", FIELD_STR, precision),
    FIELD("loss_scale", FIELD_STR, loss_scale),
    FIELD("optimizer", FIELD_OPTIMIZER, optim.kind),
    FIELD("lr", FIELD_FLOAT, optim.lr),
    FIELD("momentum", FIELD_FLOAT, optim.momentum),
    FIELD("dampening", FIELD_FLOAT, optim.dampening),
    FIELD("nesterov", FIELD_BOOL, optim.nesterov),
    FIELD("weight_decay", FIELD_FLOAT, optim.weight_decay),
    FIELD("beta1", FIELD_FLOAT, optim.beta1),
    FIELD("beta2", FIELD_FLOAT, optim.beta2),
    FIELD("eps", FIELD_FLOAT, optim.eps),
    FIELD("amsgrad", FIELD_BOOL, optim.amsgrad),
    FIELD("maximize", FIELD_BOOL, optim.maximize),
    FIELD("scheduler", FIELD_STR, scheduler),
    FIELD("seed", FIELD_INT, seed),
    FIELD("val_fraction", FIELD_FLOAT, val_fraction),
    FIELD("key_prefix", FIELD_STR, key_prefix),
};
#undef FIELD
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static lks_value_t *field_value(lks_tree_t *tree, const lks_train_config_t *config,
                                const field_t *field)
{
    const char *at = (const char *)config + field->offset;
    switch (field->type) {
    case FIELD_BOOL: return lks_value_bool(tree, *(const bool *)at);
    case FIELD_INT: return lks_value_int(tree, *(const int64_t *)at);
    case FIELD_FLOAT: return lks_value_float(tree, *(const double *)at);
    case FIELD_OPTIMIZER:
        return lks_value_str(tree, lks_optim_kind_name(*(const lks_optim_kind_t *)at));
    default: break;
    }
    const char *text = *(const char *const *)at;
    return text ? lks_value_str(tree, text) : lks_value_none(tree);
}

lks_value_t *lks_args_save(lks_tree_t *tree, const lks_train_config_t *config)
{
    lks_value_t *args = lks_value_dict(tree);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        lks_value_set_str(tree, args, fields[i].key, field_value(tree, config, &fields[i]));
    }
    return args;
}

/* --- reading ------------------------------------------------------------------------------------- */

struct lks_train_args {
    lks_train_config_t config;
    lks_arena_t texts;
    bool has[FIELD_COUNT];
};

static lks_status_t read_text(lks_train_args_t *args, const lks_value_t *value, const char **out)
{
    if (lks_value_kind(value) == LKS_VALUE_NONE) {
        return LKS_OK;
    }
    size_t nbytes;
    const char *text = lks_value_text(value, &nbytes);
    if (!text || lks_value_kind(value) != LKS_VALUE_STR || strlen(text) != nbytes) {
        return lks_fail(LKS_ERR_MISMATCH, "wants str, found %s",
                        lks_value_kind_name(lks_value_kind(value)));
    }
    const char *copy = lks_arena_copy_text(&args->texts, text, nbytes);
    if (!copy) {
        return lks_fail(LKS_ERR_NO_MEMORY, "out of memory");
    }
    *out = copy;
    return LKS_OK;
}

static lks_status_t read_field(lks_train_args_t *args, const field_t *field,
                               const lks_value_t *value)
{
    char *at = (char *)&args->config + field->offset;
    switch (field->type) {
    case FIELD_BOOL: return lks_value_get_bool(value, (bool *)at);
    case FIELD_INT: return lks_value_get_int(value, (int64_t *)at);
    case FIELD_FLOAT: return lks_value_get_float(value, (double *)at);
    case FIELD_OPTIMIZER: {
        const char *name = lks_value_text(value, NULL);
        if (!name) {
            return lks_fail(LKS_ERR_MISMATCH, "wants str, found %s",
                            lks_value_kind_name(lks_value_kind(value)));
        }
        return lks_optim_kind_from_name(name, (lks_optim_kind_t *)at);
    }
    default: return read_text(args, value, (const char **)at);
    }
}

/* Only what lockstep wrote is read as settings: another program's `args` may mean anything by "lr". */
static lks_status_t read_fields(lks_train_args_t *args, const lks_value_t *root)
{
    const lks_value_t *said = lks_value_find(root, "args");
    if (!said || !lks_value_find(root, "lockstep")) {
        return LKS_OK;
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const lks_value_t *value = lks_value_find(said, fields[i].key);
        if (!value) {
            continue;
        }
        lks_status_t status = read_field(args, &fields[i], value);
        if (status != LKS_OK) {
            return lks_error_prefix(status, "args['%s']", fields[i].key);
        }
        args->has[i] = true;
    }
    return LKS_OK;
}

lks_status_t lks_train_args_read(const char *path, lks_train_args_t **out)
{
    lks_checkpoint_t *checkpoint;
    LKS_TRY(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_train_args_t *args = calloc(1, sizeof *args);
    lks_status_t status;
    if (!args) {
        status = lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", path);
        goto close_checkpoint;
    }
    args->config = lks_train_config_default();
    lks_arena_init(&args->texts, 1024, 0);
    status = read_fields(args, lks_tree_root(lks_checkpoint_tree(checkpoint)));
    if (status != LKS_OK) {
        lks_train_args_destroy(args);
        status = lks_error_prefix(status, "reading '%s'", path);
        goto close_checkpoint;
    }
    *out = args;
close_checkpoint:
    lks_checkpoint_close(checkpoint);
    return status;
}

void lks_train_args_destroy(lks_train_args_t *args)
{
    if (args) {
        lks_arena_fini(&args->texts);
        free(args);
    }
}

const lks_train_config_t *lks_train_args_config(const lks_train_args_t *args)
{
    return &args->config;
}

bool lks_train_args_has(const lks_train_args_t *args, const char *name)
{
    char key[32] = ""; /* keys have '_' where flags have '-' */
    for (size_t i = 0; i + 1 < sizeof key && name[i]; i++) {
        key[i] = name[i] == '-' ? '_' : name[i];
    }
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            return args->has[i];
        }
    }
    return false;
}

bool lks_averages_ranks(const lks_train_config_t *config)
{
    return strcmp(config->grad_average, "ranks") == 0;
}

/* --- defaults and checks -------------------------------------------------------------------------- */

lks_train_config_t lks_train_config_default(void)
{
    return (lks_train_config_t){
        .standardize = true,
        .devices = "auto",
        .bind = true,
        .epochs = 10,
        .batch_size = 32,
        .accumulate = 1,
        .grad_average = "samples",
        .precision = "float32",
        .loss_scale = "auto",
        .optim = lks_optim_config_default(LKS_OPTIM_SGD),
        .scheduler = "none",
        .key_prefix = "",
        .strict = true,
        .bucket_mb = 25,
        .first_bucket_mb = 1,
    };
}

/* What goes into the checkpoint's `args` must be what a pickle can hold. */
static lks_status_t check_texts(const lks_train_config_t *config)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *text = NULL;
        if (fields[i].type == FIELD_STR) {
            text = *(const char *const *)((const char *)config + fields[i].offset);
        }
        if (text && !lks_utf8_valid(text, strlen(text))) {
            return lks_fail(LKS_ERR_INVALID_ARG, "%s is not UTF-8, which a checkpoint wants",
                            fields[i].key);
        }
    }
    return LKS_OK;
}

static lks_status_t check_outputs(const lks_train_config_t *config)
{
    if (config->tensorboard_dir && config->tensorboard_dir[0] == '\0') {
        return lks_fail(LKS_ERR_INVALID_ARG, "the folder for TensorBoard has no name");
    }
    if (config->profile && config->profile[0] == '\0') {
        return lks_fail(LKS_ERR_INVALID_ARG, "the file for the profile has no name");
    }
    return LKS_OK;
}

static lks_status_t check_batches(const lks_train_config_t *config)
{
    if (config->batch_size < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the batch size must be at least 1, not %lld",
                        (long long)config->batch_size);
    }
    if (config->accumulate < 1 || config->accumulate > INT64_MAX / config->batch_size) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%lld batches of %lld samples are no step",
                        (long long)config->accumulate, (long long)config->batch_size);
    }
    return LKS_OK;
}

/* How replicas exchange gradients. */
static lks_status_t check_exchange(const lks_train_config_t *config)
{
    const double most = 1 << 20; /* MiB: a TiB */
    if (strcmp(config->grad_average, "samples") != 0 && !lks_averages_ranks(config)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "gradients are averaged over 'samples' or 'ranks', not '%s'",
                        config->grad_average);
    }
    if (!(config->clip_norm >= 0) || !(config->clip_value >= 0)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "gradients clipped to a norm of %g and values of %g; both must be at "
                        "least 0",
                        config->clip_norm, config->clip_value);
    }
    if (!(config->bucket_mb >= 0 && config->bucket_mb <= most) ||
        !(config->first_bucket_mb >= 0 && config->first_bucket_mb <= most)) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "gradient buckets of %g MiB, the first of %g; both must be 0 to %g",
                        config->bucket_mb, config->first_bucket_mb, most);
    }
    if (!(config->timeout >= 0)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a timeout of %g s; it must be at least 0",
                        config->timeout);
    }
    return LKS_OK;
}

lks_status_t lks_train_config_check(const lks_train_config_t *config)
{
    if (!config->model || !config->data) {
        return lks_fail(LKS_ERR_INVALID_ARG, "training needs a model and data");
    }
    const char *const texts[] = {config->devices,      config->scheduler, config->key_prefix,
                                 config->grad_average, config->precision, config->loss_scale};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!texts[i]) {
            return lks_fail(
                LKS_ERR_INVALID_ARG,
                "devices, scheduler, key_prefix, grad_average, precision and loss_scale "
                "must be texts; begin with lks_train_config_default()");
        }
    }
    LKS_TRY(check_texts(config));
    LKS_TRY(check_outputs(config));
    if (!config->save_dir && (config->save_every > 0 || config->save_every_steps > 0)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "saving every so often needs a folder to save in");
    }
    lks_grad_scaler_t scaler;
    bool scales;
    LKS_TRY(lks_job_scaler(config, &scaler, &scales));
    LKS_TRY(check_batches(config));
    LKS_TRY(check_exchange(config));
    if (config->epochs < 0 || config->max_steps < 0 || config->save_every < 0 ||
        config->save_every_steps < 0 || config->log_every < 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "a number of epochs or steps cannot be negative");
    }
    if (config->epochs == 0 && config->max_steps == 0) {
        return lks_fail(LKS_ERR_INVALID_ARG, "training needs a number of epochs or of steps");
    }
    if (config->load && config->resume) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "a job either loads weights or resumes a checkpoint, not both");
    }
    if (config->seed > INT64_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the seed must be below 2^63");
    }
    size_t prefix = strlen(config->key_prefix);
    if (prefix > 0 && (config->key_prefix[prefix - 1] != '.' || config->key_prefix[0] == '.')) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "the key prefix '%s' must be a name with a '.' at its end",
                        config->key_prefix);
    }
    return LKS_OK;
}
