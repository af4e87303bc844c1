/* SPDX-License-Identifier: Apache-2.0 */
/* saver.c - see saver.h. What a file holds is save.c's business. */
#include "runtime/train/saver.h"

#include <stdio.h>
#include <string.h>

static void notify_all(lks_saver_t *saver)
{
    lks_trace_set_step(saver->row, saver->event.global_step);
    lks_trace_end(saver->row, "save", saver->start, NULL, 0);
    for (int i = 0; i < saver->count; i++) {
        lks_train_event_t event = saver->event;
        const char *name = strrchr(saver->paths[i], '/') + 1;
        event.kind = strcmp(name, "best.pt") == 0 ? LKS_EVENT_BEST : LKS_EVENT_SAVE;
        event.path = saver->paths[i];
        lks_job_notify(saver->job->config, &event);
    }
    saver->count = 0;
}

lks_status_t lks_saver_finish(lks_saver_t *saver, bool wait)
{
    bool done = true;
    if (saver->count == 0) {
        return LKS_OK;
    }
    LKS_TRY(wait ? lks_save_handle_wait(saver->handle)
                 : lks_save_handle_test(saver->handle, &done));
    if (done) {
        notify_all(saver);
    }
    return LKS_OK;
}

lks_status_t lks_saver_save(lks_saver_t *saver, const lks_progress_t *at,
                            const lks_train_event_t *event, const char *const *names, int count)
{
    const lks_train_config_t *config = saver->job->config;
    if (saver->replica->rank != 0) {
        return LKS_OK;
    }
    LKS_TRY(lks_saver_finish(saver, true));
    const char *paths[LKS_SAVER_NAMES_MAX];
    for (int i = 0; i < count; i++) {
        (void)snprintf(saver->paths[i], LKS_SAVER_PATH_MAX, "%s/%s", config->save_dir, names[i]);
        paths[i] = saver->paths[i];
    }
    saver->event = *event;
    saver->start = lks_trace_begin(saver->row);
    LKS_TRY(lks_job_save(saver->job, saver->replica, at, paths, count,
                         config->async_save ? &saver->handle : NULL));
    saver->count = count;
    if (!config->async_save) {
        notify_all(saver);
    }
    return LKS_OK;
}

void lks_saver_close(lks_saver_t *saver)
{
    lks_save_handle_destroy(saver->handle);
    saver->handle = NULL;
}
