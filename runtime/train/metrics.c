/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - see metrics.h. */
#include "runtime/train/metrics.h"

#include <math.h>

typedef struct metric {
    const char *tag;
    size_t offset; /* of a double in the event */
    bool
        always; /* a NaN means that the job has diverged; elsewhere, that there is no such number */
} metric_t;

#define METRIC(tag, member, always)                                                                \
    {                                                                                              \
        tag, offsetof(lks_train_event_t, member), always                                           \
    }
static const metric_t step_metrics[] = {
    METRIC("train/loss", loss, true),
    METRIC("train/accuracy", accuracy, false),
    METRIC("train/lr", lr, false),
    METRIC("train/samples_per_second", samples_per_second, false),
    METRIC("train/grad_norm", grad_norm, false),
    METRIC("train/loss_scale", loss_scale, false),
};
static const metric_t epoch_metrics[] = {
    METRIC("epoch/loss", loss, true),
    METRIC("epoch/accuracy", accuracy, false),
    METRIC("epoch/lr", lr, false),
    METRIC("epoch/samples_per_second", samples_per_second, false),
    METRIC("epoch/comm_hidden", comm_hidden, false),
    METRIC("val/loss", val_loss, false),
    METRIC("val/accuracy", val_accuracy, false),
};
#undef METRIC
enum {
    STEP_COUNT = sizeof step_metrics / sizeof *step_metrics,
    EPOCH_COUNT = sizeof epoch_metrics / sizeof *epoch_metrics,
    COUNT_MAX = STEP_COUNT > EPOCH_COUNT ? STEP_COUNT : EPOCH_COUNT,
};

static lks_status_t add_metrics(lks_event_file_t *file, const lks_train_event_t *event,
                                const metric_t *metrics, size_t count)
{
    lks_scalar_t scalars[COUNT_MAX];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        double value = *(const double *)((const char *)event + metrics[i].offset);
        if (metrics[i].always || !isnan(value)) {
            scalars[used++] = (lks_scalar_t){metrics[i].tag, value};
        }
    }
    return lks_event_file_add(file, lks_event_time(), event->global_step, scalars, used);
}

lks_status_t lks_metrics_write(lks_event_file_t *file, const lks_train_event_t *event)
{
    if (file && event->kind == LKS_EVENT_STEP) {
        return add_metrics(file, event, step_metrics, STEP_COUNT);
    }
    if (file && event->kind == LKS_EVENT_EPOCH) {
        LKS_TRY(add_metrics(file, event, epoch_metrics, EPOCH_COUNT));
        return lks_event_file_flush(file);
    }
    return LKS_OK;
}
