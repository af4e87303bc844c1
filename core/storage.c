/* SPDX-License-Identifier: Apache-2.0 */
/* storage.c - reference-counted bytes on a device. */
#include "core/storage.h"

#include <stdatomic.h>
#include <stdlib.h>

struct lks_storage {
    _Atomic size_t references;
    lks_device_t *device;
    void *data;
    size_t nbytes;
    void (*release)(void *context); /* of wrapped memory; NULL for none and for our own */
    void *context;
    bool owned; /* data came from lks_device_alloc */
};

lks_status_t lks_storage_wrap(lks_device_t *device, void *data, size_t nbytes,
                              void (*release)(void *context), void *context, lks_storage_t **out)
{
    lks_storage_t *storage = malloc(sizeof *storage);
    if (!storage) {
        return lks_fail(LKS_ERR_NO_MEMORY, "storage: out of memory");
    }
    *storage = (lks_storage_t){
        .device = device, .data = data, .nbytes = nbytes, .release = release, .context = context};
    atomic_init(&storage->references, 1);
    *out = storage;
    return LKS_OK;
}

lks_status_t lks_storage_create(lks_device_t *device, size_t nbytes, lks_storage_t **out)
{
    void *data;
    LKS_TRY(lks_device_alloc(device, nbytes, &data));
    lks_storage_t *storage;
    lks_status_t status = lks_storage_wrap(device, data, nbytes, NULL, NULL, &storage);
    if (status != LKS_OK) {
        lks_device_free(device, data);
        return status;
    }
    storage->owned = true;
    *out = storage;
    return LKS_OK;
}

lks_storage_t *lks_storage_retain(lks_storage_t *storage)
{
    atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
    return storage;
}

void lks_storage_release(lks_storage_t *storage)
{
    if (!storage || atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (storage->owned) {
        lks_device_free(storage->device, storage->data);
    } else if (storage->release) {
        storage->release(storage->context);
    }
    free(storage);
}

void lks_storage_swap(lks_storage_t *a, lks_storage_t *b)
{
    const lks_storage_t was = {
        .data = a->data, .release = a->release, .context = a->context, .owned = a->owned};
    a->data = b->data;
    a->release = b->release;
    a->context = b->context;
    a->owned = b->owned;
    b->data = was.data;
    b->release = was.release;
    b->context = was.context;
    b->owned = was.owned;
}

void *lks_storage_data(const lks_storage_t *storage)
{
    return storage->data;
}

size_t lks_storage_nbytes(const lks_storage_t *storage)
{
    return storage->nbytes;
}

lks_device_t *lks_storage_device(const lks_storage_t *storage)
{
    return storage->device;
}
