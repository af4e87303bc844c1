/* SPDX-License-Identifier: Apache-2.0 */
/* named_tensors.h - small tensors for value trees, and lists of names. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_NAMED_TENSORS_H
#define LOCKSTEP_TESTS_SERIALIZE_NAMED_TENSORS_H

#include "support/support.h"

#include <lockstep/value.h>
#include <stdio.h>

/** Index in the tree of a storage over 4 KiB. */
static inline size_t test_storage(lks_tree_t *tree)
{
    static double memory[512];
    lks_storage_t *storage;
    assert_ok(lks_storage_wrap(lks_device_host(), memory, sizeof memory, NULL, NULL, &storage));
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    return index;
}

/** A contiguous tensor over a storage of the tree. */
static inline lks_value_t *test_tensor(lks_tree_t *tree, size_t storage, int64_t offset,
                                       lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    int64_t stride[LKS_MAX_NDIM];
    lks_shape_contiguous_stride(ndim, shape, stride);
    const lks_value_tensor_t tensor = {.storage = storage,
                                       .dtype = dtype,
                                       .ndim = ndim,
                                       .offset = offset,
                                       .shape = shape,
                                       .stride = stride};
    return lks_value_tensor_new(tree, &tensor);
}

static inline lks_value_t *test_scalar(lks_tree_t *tree)
{
    return test_tensor(tree, test_storage(tree), 0, LKS_DTYPE_F32, 0, NULL);
}

/** The words of a text, cut in place. */
static inline size_t test_split(char *text, const char **words, size_t room)
{
    size_t count = 0;
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
        cr_assert(count < room);
        words[count++] = word;
    }
    return count;
}

/** Adds a scalar under each of the words to a dict; returns it. */
static inline lks_value_t *test_add_scalars(lks_tree_t *tree, lks_value_t *dict, const char *keys)
{
    char text[512];
    const char *words[32];
    (void)snprintf(text, sizeof text, "%s", keys);
    size_t count = test_split(text, words, 32);
    for (size_t i = 0; i < count; i++) {
        lks_value_set_str(tree, dict, words[i], test_scalar(tree));
    }
    return dict;
}

#endif
