/* SPDX-License-Identifier: Apache-2.0 */
/* elements.c - see elements.h. */
#include "runtime/cli/elements.h"

#include <stdlib.h>
#include <string.h>

/* Elements that are taken however few bytes they repeat. */
#define TAKEN_ANYWAY (INT64_C(1) << 24)

/* True for elements of the storage itself, and not in a buffer on their way. */
static bool lies_in_file(const elements_t *elements, const void *data)
{
    const lks_storage_t *storage =
        lks_tree_storage(lks_checkpoint_tree(elements->checkpoint), elements->storage)->storage;
    uintptr_t start = (uintptr_t)lks_storage_data(storage), at = (uintptr_t)data;
    return at >= start && at - start < lks_storage_nbytes(storage);
}

static void take(void *context, const void *data, size_t nbytes)
{
    elements_t *elements = context;
    size_t total = (size_t)elements->count * lks_dtype_size(elements->dtype);
    if (nbytes == total && lies_in_file(elements, data)) {
        elements->data = data; /* in one piece, where it lies */
    } else if (elements->nbytes == 0) {
        elements->data = elements->owned = malloc(total);
    }
    if (elements->owned) {
        memcpy(elements->owned + elements->nbytes, data, nbytes);
    }
    elements->nbytes += nbytes;
}

lks_status_t elements_count(const lks_checkpoint_t *checkpoint, const lks_value_t *value,
                            const char *path, int64_t *out)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    int64_t count;
    LKS_TRY(lks_shape_numel(tensor->ndim, tensor->shape, &count));
    const lks_tree_storage_t *storage =
        lks_tree_storage(lks_checkpoint_tree(checkpoint), tensor->storage);
    size_t nbytes = lks_storage_nbytes(storage->storage);
    if ((uint64_t)count > (uint64_t)nbytes * 64 && count > TAKEN_ANYWAY) {
        return lks_fail(LKS_ERR_UNSUPPORTED,
                        "tensor '%s' repeats %zu bytes into %lld elements: not looked at", path,
                        nbytes, (long long)count);
    }
    *out = count;
    return LKS_OK;
}

lks_status_t elements_get(lks_checkpoint_t *checkpoint, const lks_value_t *value, const char *path,
                          elements_t *out)
{
    const lks_value_tensor_t *tensor = lks_value_tensor(value);
    elements_t elements = {
        .dtype = tensor->dtype, .checkpoint = checkpoint, .storage = tensor->storage};
    LKS_TRY(elements_count(checkpoint, value, path, &elements.count));
    LKS_TRY(lks_checkpoint_elements(checkpoint, value, path, take, &elements));
    if (elements.nbytes > 0 && !elements.data) {
        return lks_fail(LKS_ERR_NO_MEMORY, "tensor '%s': no memory for its %lld elements", path,
                        (long long)elements.count);
    }
    *out = elements;
    return LKS_OK;
}

void elements_release(elements_t *elements)
{
    free(elements->owned);
    if (elements->checkpoint) {
        lks_checkpoint_unload(elements->checkpoint, elements->storage);
    }
    *elements = (elements_t){0};
}

bool elements_are_numbers(const elements_t *elements)
{
    return lks_dtype_is_convertible(elements->dtype);
}

lks_status_t elements_numbers(const elements_t *elements, int64_t first, int64_t count, double *out)
{
    size_t size = lks_dtype_size(elements->dtype);
    lks_storage_t *from_storage = NULL, *to_storage = NULL;
    lks_tensor_t from = {0}, to = {0};
    lks_status_t status;
    void *data = (void *)(uintptr_t)(elements->data + (size_t)first * size);
    LKS_GOTO(
        lks_storage_wrap(lks_device_host(), data, (size_t)count * size, NULL, NULL, &from_storage),
        release_storages);
    LKS_GOTO(lks_storage_wrap(lks_device_host(), out, (size_t)count * sizeof *out, NULL, NULL,
                              &to_storage),
             release_storages);
    LKS_GOTO(lks_tensor_view(from_storage, elements->dtype, 0, 1, &count, NULL, &from),
             release_storages);
    LKS_GOTO(lks_tensor_view(to_storage, LKS_DTYPE_F64, 0, 1, &count, NULL, &to), release_storages);
    status = lks_tensor_convert(&to, &from);

release_storages:
    lks_storage_release(from_storage);
    lks_storage_release(to_storage);
    return status;
}
