/* SPDX-License-Identifier: Apache-2.0 */
/* loader.c - a ring of batches between the thread that gathers ahead and the caller that trains.
 * Slots are allocated once. Batch number n lives in slot n % slots; one slot more than the depth, because the
 * caller holds one. Three counts say it all: released <= taken <= gathered <= released + slots.
 * A caller who finds the ring empty gathers its batch itself, unless the thread is just doing so: where replicas
 * keep every core busy, a batch is copied sooner than a thread is woken. A small batch is copied sooner than it
 * is even handed over, so for those there is no thread at all. */
#include "core/thread.h"
#include "runtime/data/dataset.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of features that one core copies in about the time of a hand-over, some 3 us. */
#define SMALL_BATCH ((size_t)16 << 10)

typedef struct slot {
    lks_batch_t batch; /* its tensors have room for the largest part */
    int64_t *indices;  /* copy of the part's: the sampler's order changes with the epoch */
} slot_t;

struct lks_loader {
    const lks_dataset_t *dataset;
    const int64_t *subset;
    int rank, world_size;
    slot_t *slots;
    uint64_t slot_count;
    lks_thread_t *thread; /* NULL for small batches */

    lks_sampler_t sampler; /* with `step` the next batch to gather; of whoever set `gathering` */
    int64_t step;

    pthread_mutex_t mutex;  /* of what follows */
    pthread_cond_t changed; /* thread and caller never wait at the same time: one will do */
    uint64_t gathered, taken, released; /* batches, since the start */
    bool gathering, stopping;
};

/* --- gathering --- */

static void copy_samples(const lks_dataset_t *dataset, const int64_t *subset,
                         const int64_t *indices, int64_t count, const lks_batch_t *batch)
{
    const int64_t width = dataset->features, targets = dataset->targets;
    float *feature_data = lks_tensor_data(&batch->features);
    float *target_data = targets > 0 ? lks_tensor_data(&batch->targets) : NULL;
    int64_t *label_data = targets > 0 ? NULL : lks_tensor_data(&batch->labels);
    for (int64_t row = 0; row < count; row++) {
        int64_t sample = subset ? subset[indices[row]] : indices[row];
        memcpy(feature_data + row * width, dataset->feature_data + sample * width,
               (size_t)width * sizeof *feature_data);
        if (target_data) {
            memcpy(target_data + row * targets, dataset->target_data + sample * targets,
                   (size_t)targets * sizeof *target_data);
        } else {
            label_data[row] = dataset->label_data[sample];
        }
    }
}

static void gather(lks_loader_t *loader, slot_t *slot)
{
    lks_sampler_t *sampler = &loader->sampler;
    if (loader->step == lks_sampler_steps(sampler)) {
        lks_sampler_set_epoch(sampler, sampler->epoch + 1);
        loader->step = 0;
    }
    lks_batch_t *batch = &slot->batch;
    lks_batch_part_t part =
        lks_sampler_part(sampler, loader->step, loader->rank, loader->world_size);
    copy_samples(loader->dataset, loader->subset, part.indices, part.count, batch);
    memcpy(slot->indices, part.indices, (size_t)part.count * sizeof *slot->indices);
    part.indices = slot->indices;
    batch->part = part;
    batch->features.shape[0] = part.count;
    *(batch->targets.storage ? &batch->targets.shape[0] : &batch->labels.shape[0]) = part.count;
    batch->epoch = sampler->epoch;
    batch->step = loader->step++;
}

/* Gathers the next batch into its slot, which is free. The mutex is held at both ends, not in between. */
static void gather_next(lks_loader_t *loader)
{
    slot_t *slot = &loader->slots[loader->gathered % loader->slot_count];
    loader->gathering = true;
    (void)pthread_mutex_unlock(&loader->mutex);
    gather(loader, slot);
    (void)pthread_mutex_lock(&loader->mutex);
    loader->gathering = false;
    loader->gathered++;
    (void)pthread_cond_signal(&loader->changed);
}

static uint64_t free_slots(const lks_loader_t *loader)
{
    return loader->slot_count - (loader->gathered - loader->released);
}

static void run(void *context)
{
    lks_loader_t *loader = context;
    (void)pthread_mutex_lock(&loader->mutex);
    while (!loader->stopping) {
        if (free_slots(loader) == 0 || loader->gathering) {
            (void)pthread_cond_wait(&loader->changed, &loader->mutex);
        } else {
            gather_next(loader);
        }
    }
    (void)pthread_mutex_unlock(&loader->mutex);
}

/* --- the caller's side --- */

lks_status_t lks_loader_next(lks_loader_t *loader, lks_batch_t *out)
{
    (void)pthread_mutex_lock(&loader->mutex);
    loader->released = loader->taken; /* what the last call lent is back */
    /* Woken for half a ring of work at least: for one small batch a thread is not worth waking. */
    if (free_slots(loader) >= loader->slot_count / 2) {
        (void)pthread_cond_signal(&loader->changed);
    }
    while (loader->gathered == loader->taken) {
        if (loader->gathering) {
            (void)pthread_cond_wait(&loader->changed, &loader->mutex);
        } else {
            gather_next(loader);
        }
    }
    *out = loader->slots[loader->taken % loader->slot_count].batch;
    loader->taken++;
    (void)pthread_mutex_unlock(&loader->mutex);
    return LKS_OK;
}

static lks_status_t allocate_slot(const lks_dataset_t *dataset, int64_t rows, slot_t *slot)
{
    lks_device_t *host = lks_device_host();
    lks_batch_t *batch = &slot->batch;
    const int64_t features[] = {rows, dataset->features}, targets[] = {rows, dataset->targets};
    slot->indices = calloc((size_t)rows, sizeof *slot->indices);
    if (!slot->indices) {
        return lks_fail(LKS_ERR_NO_MEMORY, "loader: out of memory for a batch of %lld samples",
                        (long long)rows);
    }
    LKS_TRY(lks_tensor_create(host, LKS_DTYPE_F32, 2, features, &batch->features));
    if (dataset->targets > 0) {
        return lks_tensor_create(host, LKS_DTYPE_F32, 2, targets, &batch->targets);
    }
    return lks_tensor_create(host, LKS_DTYPE_I64, 1, &rows, &batch->labels);
}

static lks_status_t allocate_slots(lks_loader_t *loader, int depth)
{
    const lks_sampler_t *sampler = &loader->sampler;
    int64_t global = sampler->batch_size < sampler->count ? sampler->batch_size : sampler->count;
    int64_t rows = (global - 1) / loader->world_size + 1; /* of the largest part */
    loader->slots = calloc((size_t)depth + 1, sizeof *loader->slots);
    if (!loader->slots) {
        return lks_fail(LKS_ERR_NO_MEMORY, "loader: out of memory for %d batches", depth);
    }
    loader->slot_count = (uint64_t)depth + 1;
    for (uint64_t i = 0; i < loader->slot_count; i++) {
        LKS_TRY(allocate_slot(loader->dataset, rows, &loader->slots[i]));
    }
    return LKS_OK;
}

static bool is_worth_a_thread(const lks_loader_t *loader)
{
    return lks_tensor_nbytes(&loader->slots[0].batch.features) > SMALL_BATCH;
}

static lks_status_t check_samples(const lks_dataset_t *dataset, const int64_t *subset,
                                  int64_t count)
{
    if (!subset && count > dataset->count) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "loader: the sampler draws from %lld samples, the data set has %lld",
                        (long long)count, (long long)dataset->count);
    }
    for (int64_t i = 0; subset && i < count; i++) {
        if (subset[i] < 0 || subset[i] >= dataset->count) {
            return lks_fail(LKS_ERR_INVALID_ARG,
                            "loader: the subset names sample %lld, the data set has %lld",
                            (long long)subset[i], (long long)dataset->count);
        }
    }
    return LKS_OK;
}

static lks_status_t check_position(const lks_sampler_t *sampler, int rank, int world_size,
                                   int64_t epoch, int64_t step, int depth)
{
    if (rank < 0 || rank >= world_size || depth < 1) {
        return lks_fail(LKS_ERR_INVALID_ARG, "loader: rank %d of %d, depth %d", rank, world_size,
                        depth);
    }
    int64_t steps = lks_sampler_steps(sampler);
    if (epoch < 0 || step < 0 || step > steps) {
        return lks_fail(LKS_ERR_INVALID_ARG,
                        "loader: cannot start at epoch %lld, step %lld: an epoch has %lld steps",
                        (long long)epoch, (long long)step, (long long)steps);
    }
    return LKS_OK;
}

/* Everything but the thread. */
static lks_status_t prepare(lks_loader_t *loader, const lks_sampler_t *sampler, int64_t epoch,
                            int64_t step, int depth)
{
    LKS_TRY(lks_sampler_init(&loader->sampler, sampler->count, sampler->batch_size,
                             sampler->shuffle, sampler->seed));
    lks_sampler_set_epoch(&loader->sampler, epoch);
    loader->step = step;
    return allocate_slots(loader, depth);
}

lks_status_t lks_loader_create(const lks_dataset_t *dataset, const int64_t *subset,
                               const lks_sampler_t *sampler, int rank, int world_size,
                               int64_t epoch, int64_t step, int depth, lks_loader_t **out)
{
    LKS_TRY(check_samples(dataset, subset, sampler->count));
    LKS_TRY(check_position(sampler, rank, world_size, epoch, step, depth));
    lks_loader_t *loader = malloc(sizeof *loader);
    if (!loader) {
        return lks_fail(LKS_ERR_NO_MEMORY, "loader: out of memory");
    }
    *loader = (lks_loader_t){
        .dataset = dataset,
        .subset = subset,
        .rank = rank,
        .world_size = world_size,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    lks_status_t status = prepare(loader, sampler, epoch, step, depth);
    if (status == LKS_OK && is_worth_a_thread(loader)) {
        status = lks_thread_create("lks-loader", run, loader, &loader->thread);
    }
    if (status != LKS_OK) {
        lks_loader_destroy(loader);
        return status;
    }
    *out = loader;
    return LKS_OK;
}

static void free_slot(slot_t *slot)
{
    lks_tensor_release(&slot->batch.features);
    lks_tensor_release(&slot->batch.labels);
    lks_tensor_release(&slot->batch.targets);
    free(slot->indices);
}

void lks_loader_destroy(lks_loader_t *loader)
{
    if (!loader) {
        return;
    }
    (void)pthread_mutex_lock(&loader->mutex);
    loader->stopping = true;
    (void)pthread_cond_signal(&loader->changed);
    (void)pthread_mutex_unlock(&loader->mutex);
    lks_thread_join(loader->thread);
    for (uint64_t i = 0; i < loader->slot_count; i++) {
        free_slot(&loader->slots[i]);
    }
    free(loader->slots);
    lks_sampler_fini(&loader->sampler);
    (void)pthread_cond_destroy(&loader->changed);
    (void)pthread_mutex_destroy(&loader->mutex);
    free(loader);
}
