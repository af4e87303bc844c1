/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_saved.h - for suites about writing safetensors: a tree whose root is a dict, saved to a file, and what that
 * file must be. A suite's .init is saved_setup, its .fini saved_teardown. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_SAFETENSORS_SAVED_H
#define LOCKSTEP_TESTS_SERIALIZE_SAFETENSORS_SAVED_H

#include "serialize/named_tensors.h"
#include "serialize/value_node.h"

#include <lockstep/checkpoint.h>
#include <stdio.h>
#include <stdlib.h>

static lks_tree_t *tree;
static lks_value_t *dict; /* its root */
static const char *path;  /* of the file */
static char told[1024];   /* "name|why\n" for each value that the last save_dropping left out */

static inline void saved_setup(void)
{
    assert_ok(lks_tree_create(&tree));
    dict = lks_value_dict(tree);
    lks_tree_set_root(tree, dict);
    path = test_temp_path("a.safetensors");
}

static inline void saved_teardown(void)
{
    lks_tree_destroy(tree);
}

/* --- the tree ----------------------------------------------------------------------------------- */

/** Adds a value to the dict; returns it. */
static inline lks_value_t *add(const char *name, lks_value_t *value)
{
    lks_value_set_str(tree, dict, name, value);
    return value;
}

/** A contiguous tensor over memory of its own. */
static inline lks_value_t *tensor(lks_dtype_t dtype, int ndim, const int64_t *shape)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), 4096, &storage));
    for (size_t i = 0; i < 4096; i++) {
        ((unsigned char *)lks_storage_data(storage))[i] = (unsigned char)i;
    }
    size_t index = lks_tree_add_storage(tree, storage, dtype, "cpu");
    lks_storage_release(storage);
    return test_tensor(tree, index, 0, dtype, ndim, shape);
}

#define SHAPE(...)                                                                                 \
    (int)(sizeof((const int64_t[]){__VA_ARGS__}) / 8), (const int64_t[])                           \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/** A contiguous tensor of float32 in the storage of another, `offset` elements behind its start. */
static inline lks_value_t *view_of(lks_value_t *value, int64_t offset, int ndim,
                                   const int64_t *shape)
{
    return test_tensor(tree, lks_value_tensor(value)->storage, offset, LKS_DTYPE_F32, ndim, shape);
}

/** Gives the dict `__metadata__`. */
static inline void set_metadata(lks_value_t *metadata)
{
    lks_value_t *attributes = lks_value_dict(tree);
    lks_value_set_str(tree, attributes, "_metadata", lks_value_dict(tree));
    lks_value_set_str(tree, attributes, "__metadata__", metadata);
    lks_value_dict_set_attributes(tree, dict, attributes);
}

/* --- the file ----------------------------------------------------------------------------------- */

static inline lks_status_t save(void)
{
    return lks_checkpoint_save(path, tree, NULL);
}

static inline void tell(void *context, const char *name, const char *why)
{
    cr_assert_eq(context, told);
    size_t length = strlen(told);
    (void)snprintf(told + length, sizeof told - length, "%s|%s\n", name, why);
}

/** Saves what can be, and fills `told`. */
static inline lks_status_t save_dropping(void)
{
    lks_save_options_t options = lks_save_options_default();
    options.drop = true;
    options.dropped = tell;
    options.dropped_context = told;
    told[0] = '\0';
    return lks_checkpoint_save(path, tree, &options);
}

/** The file is this header, filled up, and `nbytes` of data. */
static inline void assert_header(const char *wanted, size_t nbytes)
{
    size_t size, padded = (strlen(wanted) + 7) & ~(size_t)7;
    unsigned char *file = test_read_file(path, &size);
    uint64_t length;
    memcpy(&length, file, 8);
    cr_assert_eq(length, padded, "%.*s", (int)length, file + 8);
    cr_assert_eq(size, 8 + padded + nbytes);
    cr_assert(memcmp(file + 8, wanted, strlen(wanted)) == 0, "%.*s", (int)length, file + 8);
    for (size_t i = strlen(wanted); i < padded; i++) {
        cr_assert_eq(file[8 + i], ' ');
    }
    free(file);
}

#endif
