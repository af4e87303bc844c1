/* SPDX-License-Identifier: Apache-2.0 */
/* lr_scheduler.c - the schedules, one row each in a table: how its description reads, what its
 * numbers may be, and the rate of the next epoch.
 * Rates are recursive, as in PyTorch: each follows from the one before, with PyTorch's order of
 * operations, so that not even the last bit differs. */
#include "core/number.h"

#include <lockstep/lr_scheduler.h>

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One comma-separated part of a description; not terminated. */
typedef struct field {
    const char *text;
    int length;
} field_t;

enum { FIELDS_MAX = LKS_LR_MAX_MILESTONES + 1 };

typedef struct schedule {
    const char *keyword; /* of the description */
    const char *name;    /* PyTorch's class */
    const char *usage;
    size_t fields_min, fields_max;
    lks_status_t (*parse)(const field_t *fields, size_t count, lks_lr_scheduler_t *out);
    lks_status_t (*check)(const lks_lr_scheduler_t *scheduler);
    double (*next)(const lks_lr_scheduler_t *scheduler); /* last_epoch is the new epoch already */
} schedule_t;

/* Up to here every epoch is exact in float64, and twice a period fits an int64_t. */
#define EPOCHS_MAX ((int64_t)1 << 53)

static lks_status_t check_epochs(const char *what, int64_t epochs)
{
    if (epochs < 1 || epochs > EPOCHS_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "%s is %lld; it must be a number of epochs of at least 1", what,
                        (long long)epochs);
    }
    return LKS_OK;
}

static lks_status_t check_rate(const char *what, double rate)
{
    if (!(rate >= 0) || isinf(rate)) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s is %g; it must be a finite number of at least 0",
                        what, rate);
    }
    return LKS_OK;
}

static lks_status_t parse_epochs(const char *what, field_t field, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    bool starts = field.length > 0 && strchr("-0123456789", field.text[0]);
    long long epochs = starts ? strtoll(field.text, &end, 10) : 0;
    if (!starts || errno || end != field.text + field.length) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s is '%.*s'; it must be a whole number of epochs",
                        what, field.length, field.text);
    }
    *out = epochs;
    return LKS_OK;
}

static lks_status_t parse_rate(const char *what, field_t field, double *out)
{
    char *end = NULL;
    /* strtod alone would take spaces, hexadecimal, "inf" and "nan" too. */
    bool plain = field.length > 0 && field.length == (int)strspn(field.text, "-+.0123456789eE");
    double rate = plain ? lks_strtod(field.text, &end) : 0;
    if (!plain || end != field.text + field.length) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%s is '%.*s'; it must be a number", what,
                        field.length, field.text);
    }
    *out = rate;
    return LKS_OK;
}

static double next_constant(const lks_lr_scheduler_t *scheduler)
{
    return scheduler->last_lr;
}

static lks_status_t parse_step(const field_t *fields, size_t count, lks_lr_scheduler_t *out)
{
    out->gamma = 0.1;
    LKS_TRY(parse_epochs("the step size", fields[0], &out->step_size));
    return count > 1 ? parse_rate("gamma", fields[1], &out->gamma) : LKS_OK;
}

static lks_status_t check_step(const lks_lr_scheduler_t *scheduler)
{
    LKS_TRY(check_epochs("the step size", scheduler->step_size));
    return check_rate("gamma", scheduler->gamma);
}

static double next_step(const lks_lr_scheduler_t *s)
{
    return s->last_epoch % s->step_size == 0 ? s->last_lr * s->gamma : s->last_lr;
}

static lks_status_t parse_multi_step(const field_t *fields, size_t count, lks_lr_scheduler_t *out)
{
    static const char key[] = "gamma=";
    const int key_length = sizeof key - 1;
    out->gamma = 0.1;
    if (count > FIELDS_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%zu milestones are more than %d", count,
                        LKS_LR_MAX_MILESTONES);
    }
    field_t last = fields[count - 1];
    if (count > 1 && last.length >= key_length && memcmp(last.text, key, sizeof key - 1) == 0) {
        field_t value = {last.text + key_length, last.length - key_length};
        LKS_TRY(parse_rate("gamma", value, &out->gamma));
        count--;
    }
    out->milestone_count = count; /* 65 where the last field is no gamma: the check says so */
    for (size_t i = 0; i < count && i < LKS_LR_MAX_MILESTONES; i++) {
        LKS_TRY(parse_epochs("a milestone", fields[i], &out->milestones[i]));
    }
    return LKS_OK;
}

static lks_status_t check_multi_step(const lks_lr_scheduler_t *scheduler)
{
    const int64_t *milestones = scheduler->milestones;
    if (scheduler->milestone_count > LKS_LR_MAX_MILESTONES) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%zu milestones are more than %d",
                        scheduler->milestone_count, LKS_LR_MAX_MILESTONES);
    }
    for (size_t i = 0; i < scheduler->milestone_count; i++) {
        LKS_TRY(check_epochs("a milestone", milestones[i]));
        if (i > 0 && milestones[i] < milestones[i - 1]) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "milestone %lld comes after %lld; they must ascend",
                            (long long)milestones[i], (long long)milestones[i - 1]);
        }
    }
    return check_rate("gamma", scheduler->gamma);
}

static double next_multi_step(const lks_lr_scheduler_t *s)
{
    int repeats = 0;
    for (size_t i = 0; i < s->milestone_count; i++) {
        repeats += s->milestones[i] == s->last_epoch;
    }
    return repeats ? s->last_lr * pow(s->gamma, repeats) : s->last_lr;
}

static lks_status_t parse_cosine(const field_t *fields, size_t count, lks_lr_scheduler_t *out)
{
    LKS_TRY(parse_epochs("T_max", fields[0], &out->t_max));
    return count > 1 ? parse_rate("eta_min", fields[1], &out->eta_min) : LKS_OK;
}

static lks_status_t check_cosine(const lks_lr_scheduler_t *scheduler)
{
    LKS_TRY(check_epochs("T_max", scheduler->t_max));
    return check_rate("eta_min", scheduler->eta_min);
}

static double next_cosine(const lks_lr_scheduler_t *s)
{
    const double pi = 0x1.921fb54442d18p+1, epoch = (double)s->last_epoch, t_max = (double)s->t_max;
    if ((s->last_epoch - 1 - s->t_max) % (2 * s->t_max) == 0) {
        /* One epoch past a minimum: the ratio below would be 0 / 0. */
        return s->last_lr + (s->base_lr - s->eta_min) * (1 - cos(pi / t_max)) / 2;
    }
    return (1 + cos(pi * epoch / t_max)) / (1 + cos(pi * (epoch - 1) / t_max)) *
               (s->last_lr - s->eta_min) +
           s->eta_min;
}

static const schedule_t schedules[LKS_LR_KIND_COUNT] = {
    [LKS_LR_CONSTANT] = {"none", "", "none", 0, 0, NULL, NULL, next_constant},
    [LKS_LR_STEP] = {"step", "StepLR", "step:STEP_SIZE[,GAMMA]", 1, 2, parse_step, check_step,
                     next_step},
    [LKS_LR_MULTI_STEP] = {"multistep", "MultiStepLR", "multistep:EPOCH,...[,gamma=GAMMA]", 1,
                           SIZE_MAX, parse_multi_step, check_multi_step, next_multi_step},
    [LKS_LR_COSINE] = {"cosine", "CosineAnnealingLR", "cosine:T_MAX[,ETA_MIN]", 1, 2, parse_cosine,
                       check_cosine, next_cosine},
};

lks_status_t lks_lr_scheduler_check(const lks_lr_scheduler_t *scheduler)
{
    if ((unsigned)scheduler->kind >= LKS_LR_KIND_COUNT) {
        return lks_fail(LKS_ERR_INVALID_ARG, "%d is no kind of schedule", (int)scheduler->kind);
    }
    LKS_TRY(check_rate("the base learning rate", scheduler->base_lr));
    LKS_TRY(check_rate("the last learning rate", scheduler->last_lr));
    if (scheduler->last_epoch < 0 || scheduler->last_epoch >= EPOCHS_MAX) {
        return lks_fail(LKS_ERR_INVALID_ARG, "the last epoch is %lld; it must be at least 0",
                        (long long)scheduler->last_epoch);
    }
    const schedule_t *schedule = &schedules[scheduler->kind];
    return schedule->check ? schedule->check(scheduler) : LKS_OK;
}

/* Cuts the text behind the colon at its commas. More fields than fit are counted, not kept. */
static size_t split(const char *text, field_t fields[FIELDS_MAX])
{
    size_t count = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        if (count < FIELDS_MAX) {
            fields[count] = (field_t){text, (int)length};
        }
        count++;
        if (!text[length]) {
            return count;
        }
        text += length + 1;
    }
}

static lks_status_t find_schedule(const char *description, lks_lr_kind_t *kind)
{
    size_t length = strcspn(description, ":");
    for (int i = 0; i < LKS_LR_KIND_COUNT; i++) {
        if (strlen(schedules[i].keyword) == length &&
            memcmp(schedules[i].keyword, description, length) == 0) {
            *kind = (lks_lr_kind_t)i;
            return LKS_OK;
        }
    }
    return lks_fail(LKS_ERR_INVALID_ARG, "unknown schedule; there are %s, %s, %s and %s",
                    schedules[LKS_LR_CONSTANT].usage, schedules[LKS_LR_STEP].usage,
                    schedules[LKS_LR_MULTI_STEP].usage, schedules[LKS_LR_COSINE].usage);
}

static lks_status_t parse(const char *description, lks_lr_scheduler_t *out)
{
    LKS_TRY(find_schedule(description, &out->kind));
    const schedule_t *schedule = &schedules[out->kind];
    const char *colon = strchr(description, ':');
    field_t fields[FIELDS_MAX];
    size_t count = colon ? split(colon + 1, fields) : 0;
    if (count < schedule->fields_min || count > schedule->fields_max) {
        return lks_fail(LKS_ERR_INVALID_ARG, "it must read %s", schedule->usage);
    }
    if (schedule->parse) {
        LKS_TRY(schedule->parse(fields, count, out));
    }
    return lks_lr_scheduler_check(out);
}

lks_status_t lks_lr_scheduler_parse(const char *description, double base_lr,
                                    lks_lr_scheduler_t *out)
{
    lks_lr_scheduler_t scheduler = {.base_lr = base_lr, .last_lr = base_lr};
    lks_status_t status = parse(description, &scheduler);
    if (status != LKS_OK) {
        return lks_error_prefix(status, "learning-rate schedule '%s'", description);
    }
    *out = scheduler;
    return LKS_OK;
}

const char *lks_lr_kind_name(lks_lr_kind_t kind)
{
    return (unsigned)kind < LKS_LR_KIND_COUNT ? schedules[kind].name : "";
}

double lks_lr_scheduler_step(lks_lr_scheduler_t *scheduler)
{
    scheduler->last_epoch++;
    scheduler->last_lr = schedules[scheduler->kind].next(scheduler);
    return scheduler->last_lr;
}
