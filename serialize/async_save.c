/* SPDX-License-Identifier: Apache-2.0 */
/* async_save.c - saves in the background; see checkpoint.h. A handle has one thread, which sleeps until there is a
 * snapshot to be written. Handles that are alive are in a list, so that the process can wait for them when it ends. */
#include "core/thread.h"
#include "serialize/save.h"
#include "serialize/snapshot.h"

#include <lockstep/log.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is to be written, in memory of its own. */
typedef struct request {
    char *path, *format, **copies;
    lks_save_options_t options;
} request_t;

struct lks_save_handle {
    lks_snapshot_t snapshot;
    request_t request;
    lks_thread_t *thread;
    pid_t process; /* that the thread lives in: a child after fork has the handle without it */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    bool busy, stop;
    bool unseen;       /* nobody was told how the last save ended */
    lks_error_t error; /* of the last save */

    lks_save_handle_t *next, *previous; /* in the list */
};

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static lks_save_handle_t *list;

/* --- requests ----------------------------------------------------------------------------------- */

static void clear_request(request_t *request)
{
    for (size_t i = 0; request->copies && i < request->options.copy_count; i++) {
        free(request->copies[i]);
    }
    free(request->copies);
    free(request->path);
    free(request->format);
    *request = (request_t){0};
}

/* False when memory ran out. */
static bool copy_request(request_t *request, const char *path, const lks_save_options_t *options)
{
    *request = (request_t){.path = strdup(path), .options = *options};
    request->format = options->format ? strdup(options->format) : NULL;
    request->copies = calloc(options->copy_count + 1, sizeof *request->copies);
    bool ok = request->path && request->copies && (request->format || !options->format);
    for (size_t i = 0; ok && i < options->copy_count; i++) {
        request->copies[i] = strdup(options->copies[i]);
        ok = request->copies[i];
    }
    request->options.format = request->format;
    request->options.copies = (const char *const *)request->copies;
    return ok;
}

/* --- the thread --------------------------------------------------------------------------------- */

static void write_snapshot(lks_save_handle_t *handle)
{
    const request_t *request = &handle->request;
    lks_status_t status =
        lks_checkpoint_save(request->path, handle->snapshot.tree, &request->options);
    const lks_error_t error = status == LKS_OK ? (lks_error_t){0} : *lks_last_error();
    lks_snapshot_clear(&handle->snapshot);
    (void)pthread_mutex_lock(&handle->mutex);
    handle->error = error;
    handle->unseen = true;
    handle->busy = false;
    (void)pthread_cond_broadcast(&handle->changed);
    (void)pthread_mutex_unlock(&handle->mutex);
}

static void run(void *context)
{
    lks_save_handle_t *handle = context;
    lks_thread_stand_back();
    for (;;) {
        (void)pthread_mutex_lock(&handle->mutex);
        while (!handle->busy && !handle->stop) {
            (void)pthread_cond_wait(&handle->changed, &handle->mutex);
        }
        bool busy = handle->busy;
        (void)pthread_mutex_unlock(&handle->mutex);
        if (!busy) {
            return;
        }
        write_snapshot(handle);
    }
}

/* --- the end of the process --------------------------------------------------------------------- */

/* How the last save ended, after waiting for it, and whether nobody was told yet. */
static lks_error_t wait_for(lks_save_handle_t *handle, bool *unseen)
{
    (void)pthread_mutex_lock(&handle->mutex);
    while (handle->busy) {
        (void)pthread_cond_wait(&handle->changed, &handle->mutex);
    }
    lks_error_t error = handle->error;
    *unseen = handle->unseen;
    handle->unseen = false;
    (void)pthread_mutex_unlock(&handle->mutex);
    return error;
}

static void wait_and_log(lks_save_handle_t *handle)
{
    bool unseen;
    const lks_error_t error = wait_for(handle, &unseen);
    if (unseen && error.status != LKS_OK) {
        lks_log(LKS_LOG_ERROR, "a save in the background failed: %s", error.message);
    }
}

static void wait_for_all(void)
{
    (void)pthread_mutex_lock(&list_mutex);
    for (lks_save_handle_t *handle = list; handle; handle = handle->next) {
        if (handle->process == getpid()) {
            wait_and_log(handle);
        }
    }
    (void)pthread_mutex_unlock(&list_mutex);
}

static void wait_at_exit(void)
{
    (void)atexit(wait_for_all);
}

static void enlist(lks_save_handle_t *handle)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, wait_at_exit);
    (void)pthread_mutex_lock(&list_mutex);
    handle->next = list;
    if (list) {
        list->previous = handle;
    }
    list = handle;
    (void)pthread_mutex_unlock(&list_mutex);
}

static void delist(lks_save_handle_t *handle)
{
    (void)pthread_mutex_lock(&list_mutex);
    *(handle->previous ? &handle->previous->next : &list) = handle->next;
    if (handle->next) {
        handle->next->previous = handle->previous;
    }
    (void)pthread_mutex_unlock(&list_mutex);
}

/* --- life --------------------------------------------------------------------------------------- */

static void free_handle(lks_save_handle_t *handle)
{
    clear_request(&handle->request);
    lks_snapshot_fini(&handle->snapshot);
    (void)pthread_cond_destroy(&handle->changed);
    (void)pthread_mutex_destroy(&handle->mutex);
    free(handle);
}

static lks_status_t create_handle(lks_save_handle_t **out)
{
    lks_save_handle_t *handle = calloc(1, sizeof *handle);
    if (!handle) {
        return lks_fail(LKS_ERR_NO_MEMORY, "saving in the background: out of memory");
    }
    handle->process = getpid();
    (void)pthread_mutex_init(&handle->mutex, NULL);
    (void)pthread_cond_init(&handle->changed, NULL);
    lks_status_t status = lks_thread_create("lockstep save", run, handle, &handle->thread);
    if (status != LKS_OK) {
        free_handle(handle);
        return status;
    }
    enlist(handle);
    *out = handle;
    return LKS_OK;
}

void lks_save_handle_destroy(lks_save_handle_t *handle)
{
    if (!handle) {
        return;
    }
    delist(handle);
    wait_and_log(handle);
    (void)pthread_mutex_lock(&handle->mutex);
    handle->stop = true;
    (void)pthread_cond_broadcast(&handle->changed);
    (void)pthread_mutex_unlock(&handle->mutex);
    lks_thread_join(handle->thread);
    free_handle(handle);
}

/* --- the calls ---------------------------------------------------------------------------------- */

static bool is_busy(lks_save_handle_t *handle)
{
    (void)pthread_mutex_lock(&handle->mutex);
    bool busy = handle->busy;
    (void)pthread_mutex_unlock(&handle->mutex);
    return busy;
}

lks_status_t lks_save_handle_wait(lks_save_handle_t *handle)
{
    bool unseen;
    const lks_error_t error = wait_for(handle, &unseen);
    return error.status == LKS_OK ? LKS_OK : lks_error_raise(&error);
}

lks_status_t lks_save_handle_test(lks_save_handle_t *handle, bool *done)
{
    *done = !is_busy(handle);
    return *done ? lks_save_handle_wait(handle) : LKS_OK;
}

/* The save before is over, and whoever may have missed its failure learns it now. */
static lks_status_t finish_previous(lks_save_handle_t *handle, const char *path, bool refuse)
{
    if (refuse && is_busy(handle)) {
        return lks_fail(LKS_ERR_BUSY, "writing '%s': the save of '%s' is still going on", path,
                        handle->request.path);
    }
    bool unseen;
    const lks_error_t error = wait_for(handle, &unseen);
    return unseen && error.status != LKS_OK ? lks_error_raise(&error) : LKS_OK;
}

static lks_status_t prepare(lks_save_handle_t *handle, const char *path, const lks_tree_t *tree,
                            const lks_save_options_t *options)
{
    clear_request(&handle->request);
    if (!copy_request(&handle->request, path, options)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "writing '%s': out of memory", path);
    }
    lks_status_t status = lks_snapshot_take(&handle->snapshot, tree);
    return status == LKS_OK ? LKS_OK : lks_error_prefix(status, "writing '%s'", path);
}

lks_status_t lks_checkpoint_save_async(const char *path, const lks_tree_t *tree,
                                       const lks_save_options_t *options,
                                       lks_save_handle_t **handle)
{
    const lks_save_options_t defaults = lks_save_options_default();
    options = options ? options : &defaults;
    LKS_TRY(lks_save_check(path, tree, options));
    if (!*handle) {
        LKS_TRY(create_handle(handle));
    }
    LKS_TRY(finish_previous(*handle, path, options->refuse_if_busy));
    LKS_TRY(prepare(*handle, path, tree, options));
    (void)pthread_mutex_lock(&(*handle)->mutex);
    (*handle)->error = (lks_error_t){0};
    (*handle)->busy = true;
    (void)pthread_cond_broadcast(&(*handle)->changed);
    (void)pthread_mutex_unlock(&(*handle)->mutex);
    return LKS_OK;
}
