/* SPDX-License-Identifier: Apache-2.0 */
/* cast.c - see cast.h, and lks_tree_cast in transform.h.
 * A storage that is cast keeps its number. The tree gets another storage in its place, anonymous memory that costs
 * nothing until it is filled; the original one stays here, with the format's hooks behind it. */
#include "serialize/cast.h"
#include "core/checked.h"
#include "serialize/memory.h"

#include <lockstep/transform.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct lks_cast {
    lks_storage_t *original, *converted;
    lks_dtype_t from, to;
    int64_t numel;
    pthread_mutex_t fill;
    _Atomic bool ready;
};

/* --- loading ------------------------------------------------------------------------------------ */

static lks_status_t convert(const lks_cast_t *cast)
{
    lks_tensor_t from = {0}, to = {0};
    LKS_TRY(lks_tensor_view(cast->original, cast->from, 0, 1, &cast->numel, NULL, &from));
    LKS_TRY(lks_tensor_view(cast->converted, cast->to, 0, 1, &cast->numel, NULL, &to));
    return lks_tensor_convert(&to, &from);
}

static lks_status_t fill(lks_cast_t *cast, const lks_tree_t *tree, size_t index, const char *name)
{
    if (atomic_load(&cast->ready)) {
        return LKS_OK; /* another thread was faster */
    }
    LKS_TRY(lks_tree_load_raw(tree, index, name));
    lks_status_t status = convert(cast);
    lks_tree_unload_raw(tree, index);
    atomic_store(&cast->ready, status == LKS_OK);
    return status;
}

lks_status_t lks_cast_load(lks_cast_t *cast, const lks_tree_t *tree, size_t index, const char *name)
{
    if (atomic_load(&cast->ready)) {
        return LKS_OK;
    }
    (void)pthread_mutex_lock(&cast->fill);
    lks_status_t status = fill(cast, tree, index, name);
    (void)pthread_mutex_unlock(&cast->fill);
    return status;
}

void lks_cast_unload(lks_cast_t *cast)
{
    (void)pthread_mutex_lock(&cast->fill);
    size_t nbytes = lks_storage_nbytes(cast->converted);
    if (atomic_exchange(&cast->ready, false) && nbytes > 0) {
        (void)madvise(lks_storage_data(cast->converted), nbytes, MADV_DONTNEED);
    }
    (void)pthread_mutex_unlock(&cast->fill);
}

/* --- making ------------------------------------------------------------------------------------- */

static void cast_destroy(lks_cast_t *cast)
{
    if (cast) {
        lks_storage_release(cast->original);
        lks_storage_release(cast->converted);
        (void)pthread_mutex_destroy(&cast->fill);
        free(cast);
    }
}

static lks_status_t cast_create(const lks_tree_storage_t *storage, lks_dtype_t to, lks_cast_t **out)
{
    size_t count = lks_storage_nbytes(storage->storage) / lks_dtype_size(storage->dtype), nbytes;
    lks_cast_t *cast = calloc(1, sizeof *cast);
    if (!cast || !lks_mul_size(count, lks_dtype_size(to), &nbytes)) {
        free(cast);
        return lks_fail(LKS_ERR_NO_MEMORY, "casting a storage: out of memory");
    }
    lks_memory_t *memory;
    lks_status_t status;
    LKS_GOTO(lks_memory_create(nbytes, &memory), free_cast);
    status = lks_memory_storage(memory, 0, nbytes, &cast->converted);
    lks_memory_release(memory); /* the storage has its own reference */
    if (status != LKS_OK) {
        goto free_cast;
    }
    cast->original = lks_storage_retain(storage->storage);
    cast->from = storage->dtype;
    cast->to = to;
    cast->numel = (int64_t)count;
    (void)pthread_mutex_init(&cast->fill, NULL);
    *out = cast;
    return LKS_OK;

free_cast:
    free(cast);
    return status;
}

void lks_casts_fini(lks_tree_t *tree)
{
    for (size_t i = 0; i < tree->cast_count; i++) {
        cast_destroy(tree->casts[i]);
    }
    free(tree->casts);
    tree->casts = NULL;
    tree->cast_count = 0;
}

/* --- the whole tree ----------------------------------------------------------------------------- */

static bool is_floating(lks_dtype_t dtype)
{
    return dtype <= LKS_DTYPE_BF16;
}

static bool is_wanted(const lks_tree_t *tree, size_t index, const lks_dtype_t *from, lks_dtype_t to)
{
    lks_dtype_t dtype = tree->storages[index].dtype;
    return dtype != to && (from ? dtype == *from : is_floating(dtype));
}

/* Room in tree->casts for every storage. */
static lks_status_t reserve(lks_tree_t *tree)
{
    size_t nbytes, count = tree->storage_count;
    if (count <= tree->cast_count) {
        return LKS_OK;
    }
    lks_cast_t **casts =
        lks_mul_size(count, sizeof(lks_cast_t *), &nbytes) ? realloc(tree->casts, nbytes) : NULL;
    if (!casts) {
        return lks_fail(LKS_ERR_NO_MEMORY, "casting %zu storages: out of memory", count);
    }
    for (size_t i = tree->cast_count; i < count; i++) {
        casts[i] = NULL;
    }
    tree->casts = casts;
    tree->cast_count = count;
    return LKS_OK;
}

/* The new casts, by storage; NULL where there is nothing to do. */
static lks_status_t create_all(const lks_tree_t *tree, const lks_dtype_t *from, lks_dtype_t to,
                               lks_cast_t **created, size_t *count)
{
    for (size_t i = 0; i < tree->storage_count; i++) {
        if (!is_wanted(tree, i, from, to)) {
            continue;
        }
        if (lks_cast_of(tree, i)) {
            return lks_fail(LKS_ERR_UNSUPPORTED, "a storage that was cast is cast again");
        }
        LKS_TRY(cast_create(&tree->storages[i], to, &created[i]));
        ++*count;
    }
    return LKS_OK;
}

static void install(lks_tree_t *tree, lks_cast_t **created)
{
    for (size_t i = 0; i < tree->storage_count; i++) {
        lks_tree_storage_t *storage = &tree->storages[i];
        if (created[i]) {
            lks_storage_release(storage->storage);
            storage->storage = lks_storage_retain(created[i]->converted);
            storage->dtype = created[i]->to;
            tree->casts[i] = created[i];
            created[i] = NULL;
        }
    }
    for (lks_tensor_node_t *node = tree->tensors; node; node = node->previous) {
        lks_cast_t *cast = lks_cast_of(tree, node->tensor.storage);
        if (cast && node->tensor.dtype == cast->from) {
            node->tensor.dtype = cast->to;
        }
    }
}

/* A tensor over a storage of another dtype would be left looking at converted bytes. */
static lks_status_t check_tensors(const lks_tree_t *tree, lks_cast_t *const *created)
{
    for (const lks_tensor_node_t *node = tree->tensors; node; node = node->previous) {
        const lks_cast_t *cast = created[node->tensor.storage];
        if (cast && node->tensor.dtype != cast->from) {
            return lks_fail(LKS_ERR_UNSUPPORTED,
                            "a tensor of %s lies in a storage of %s, which is to be cast",
                            lks_dtype_name(node->tensor.dtype), lks_dtype_name(cast->from));
        }
    }
    return LKS_OK;
}

lks_status_t lks_tree_cast(lks_tree_t *tree, const lks_dtype_t *from, lks_dtype_t to, size_t *count)
{
    if (!lks_dtype_is_convertible(to) || (from && !lks_dtype_is_convertible(*from))) {
        return lks_fail(LKS_ERR_UNSUPPORTED, "%s is not converted%s%s",
                        lks_dtype_name(from ? *from : to), from ? " to " : "",
                        from ? lks_dtype_name(to) : "");
    }
    LKS_TRY(lks_tree_status(tree));
    LKS_TRY(reserve(tree));
    lks_cast_t **created = calloc(tree->storage_count + 1, sizeof(lks_cast_t *));
    if (!created) {
        return lks_fail(LKS_ERR_NO_MEMORY, "casting %zu storages: out of memory",
                        tree->storage_count);
    }
    size_t casts = 0;
    lks_status_t status = create_all(tree, from, to, created, &casts);
    if (status == LKS_OK) {
        status = check_tensors(tree, created);
    }
    if (status == LKS_OK) {
        install(tree, created);
        if (count) {
            *count = casts;
        }
    }
    for (size_t i = 0; i < tree->storage_count; i++) {
        cast_destroy(created[i]); /* what was not installed */
    }
    free(created);
    return status;
}
