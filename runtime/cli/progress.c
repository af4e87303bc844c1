/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c - the events of a job as text for people and, on request, as JSON lines for programs. */
#include "runtime/cli/cli.h"
#include "runtime/cli/json_out.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

void progress_init(progress_t *progress, bool json)
{
    *progress = (progress_t){.terminal = isatty(STDERR_FILENO) == 1, .json = json};
}

void progress_close(progress_t *progress)
{
    if (progress->line_open) {
        fputc('\n', stderr);
        progress->line_open = false;
    }
}

/* Ends the changing line by wiping it. */
static void wipe_line(progress_t *progress)
{
    if (progress->line_open) {
        fputs("\r\033[K", stderr);
        progress->line_open = false;
    }
}

static void show_step(progress_t *progress, const lks_train_event_t *event)
{
    if (progress->terminal) {
        fprintf(stderr, "\r\033[K");
    }
    fprintf(stderr, "epoch %lld step %lld/%lld  loss %.6f  lr %g", (long long)event->epoch,
            (long long)event->step, (long long)event->steps, event->loss, event->lr);
    if (progress->terminal) {
        progress->line_open = true;
        fflush(stderr);
    } else {
        fputc('\n', stderr);
    }
}

static void show_epoch(const lks_train_event_t *event)
{
    fprintf(stderr, "epoch %lld", (long long)event->epoch);
    if (event->epochs < INT64_MAX) {
        fprintf(stderr, "/%lld", (long long)event->epochs);
    }
    fprintf(stderr, "  loss %.6f", event->loss);
    if (!isnan(event->accuracy)) {
        fprintf(stderr, "  accuracy %.2f %%", event->accuracy);
    }
    if (!isnan(event->val_loss)) {
        fprintf(stderr, "  val loss %.6f", event->val_loss);
    }
    if (!isnan(event->val_accuracy)) {
        fprintf(stderr, "  val accuracy %.2f %%", event->val_accuracy);
    }
    fprintf(stderr, "  lr %g  %.0f samples/s", event->lr, event->samples_per_second);
    if (!isnan(event->comm_hidden)) {
        fprintf(stderr, "  %.0f %% of exchange hidden", 100 * event->comm_hidden);
    }
    fputc('\n', stderr);
}

static void show_text(progress_t *progress, const lks_train_event_t *event)
{
    if (event->kind == LKS_EVENT_STEP) {
        show_step(progress, event);
        return;
    }
    wipe_line(progress);
    switch (event->kind) {
    case LKS_EVENT_START: fprintf(stderr, "%s\n", event->text); break;
    case LKS_EVENT_LOAD: fprintf(stderr, "loaded %s: %s", event->path, event->text); break;
    case LKS_EVENT_RESUME:
        fprintf(stderr, "resumed %s at epoch %lld, step %lld\n", event->path,
                (long long)event->epoch, (long long)event->step);
        break;
    case LKS_EVENT_EPOCH: show_epoch(event); break;
    case LKS_EVENT_SAVE: fprintf(stderr, "saved %s\n", event->path); break;
    case LKS_EVENT_BEST: fprintf(stderr, "best so far: %s\n", event->path); break;
    case LKS_EVENT_INTERRUPT:
        fprintf(stderr, "interrupted after step %lld of epoch %lld\n", (long long)event->step,
                (long long)event->epoch);
        break;
    default: break;
    }
}

static void show_json(const lks_train_event_t *event)
{
    static const char *const names[] = {"start", "load", "resume", "step",
                                        "epoch", "save", "best",   "interrupt"};
    bool first = true;
    fputc('{', stdout);
    json_key_str(stdout, &first, "event", names[event->kind]);
    json_key_int(stdout, &first, "epoch", event->epoch);
    json_key_int(stdout, &first, "step", event->step);
    json_key_int(stdout, &first, "global_step", event->global_step);
    if (event->kind == LKS_EVENT_STEP || event->kind == LKS_EVENT_EPOCH) {
        json_key_float(stdout, &first, "loss", event->loss);
        json_key_float(stdout, &first, "lr", event->lr);
    }
    if (event->kind == LKS_EVENT_STEP) {
        json_key_float(stdout, &first, "loss_scale", event->loss_scale);
    }
    if (event->kind == LKS_EVENT_EPOCH) {
        json_key_float(stdout, &first, "accuracy", event->accuracy);
        json_key_float(stdout, &first, "val_loss", event->val_loss);
        json_key_float(stdout, &first, "val_accuracy", event->val_accuracy);
        json_key_float(stdout, &first, "samples_per_second", event->samples_per_second);
        json_key_float(stdout, &first, "comm_hidden", event->comm_hidden);
    }
    if (event->path) {
        json_key_str(stdout, &first, "path", event->path);
    }
    if (event->text) {
        json_key_str(stdout, &first, "text", event->text);
    }
    fputs("}\n", stdout);
    (void)fflush(stdout); /* whoever reads a pipe wants to see it now */
}

void progress_show(void *context, const lks_train_event_t *event)
{
    progress_t *progress = context;
    if (progress->json) {
        show_json(event);
    } else {
        show_text(progress, event);
    }
}
