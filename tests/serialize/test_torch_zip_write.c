/* SPDX-License-Identifier: Apache-2.0 */
/* What torch's archives look like that are written, that all of a tree comes back, and what is refused. */
#include "serialize/loaded.h"
#include "serialize/opened.h"
#include "serialize/zip_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const float numbers[4] = {1.5f, -2, 3e10f, 0};

static void setup(void)
{
    path = test_temp_path("a.pt");
}

TestSuite(torch_zip_write, .init = setup, .fini = close_opened);

static lks_tree_t *tree_of_one(void)
{
    lks_tree_t *tree;
    lks_storage_t *storage;
    lks_tensor_t tensor;
    const int64_t shape[] = {2, 2};
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), (void *)(uintptr_t)numbers, sizeof numbers, NULL,
                               NULL, &storage));
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 2, shape, NULL, &tensor));
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "w", lks_value_tensor_from(tree, &tensor));
    lks_tree_set_root(tree, dict);
    lks_storage_release(storage);
    return tree;
}

static void assert_record(const lks_zip_t *zip, size_t index, const char *name, const void *data,
                          size_t nbytes)
{
    const lks_zip_entry_t *entry = &zip->entries[index];
    cr_assert(entry->name_length == strlen(name) &&
                  memcmp(entry->name, name, entry->name_length) == 0,
              "record %zu is %.*s", index, (int)entry->name_length, entry->name);
    cr_assert(!data ||
              (entry->size == nbytes && memcmp(zip->data + entry->data, data, nbytes) == 0));
    cr_assert_eq(entry->data % 64, 0);
}

Test(torch_zip_write, records_are_written_as_torch_does)
{
    lks_tree_t *tree = tree_of_one();
    const char *target = test_temp_path("my model.v1.pt");
    assert_ok(lks_checkpoint_save(target, tree, NULL));
    lks_tree_destroy(tree);
    size_t nbytes;
    unsigned char *file = test_read_file(target, &nbytes);
    lks_zip_t zip;
    assert_ok(lks_zip_open(file, nbytes, &zip));
    cr_assert_eq(zip.count, 5);
    assert_record(&zip, 0, "my model.v1/data.pkl", NULL, 0);
    assert_record(&zip, 1, "my model.v1/byteorder", "little", 6);
    assert_record(&zip, 2, "my model.v1/data/0", numbers, sizeof numbers);
    assert_record(&zip, 3, "my model.v1/version", "3\n", 2);
    assert_record(&zip, 4, "my model.v1/.data/serialization_id", NULL, 0);
    cr_assert_eq(zip.entries[4].size, 40);
    lks_zip_close(&zip);
    free(file);
}

Test(torch_zip_write, names_that_make_no_folder_become_archive)
{
    static const char *const names[] = {".pt",         "...pt",   "..pt",
                                        "\xc3\xa4.pt", "a\\b.pt", "a\nb.pt"};
    lks_tree_t *tree = tree_of_one();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t nbytes;
        assert_ok(lks_checkpoint_save(test_temp_path(names[i]), tree, NULL));
        unsigned char *file = test_read_file(test_temp_path(names[i]), &nbytes);
        cr_assert(memcmp(file + 30, "archive/data.pkl", 16) == 0, "%s", names[i]);
        free(file);
    }
    lks_tree_destroy(tree);
}

Test(torch_zip_write, a_quantized_tensor_without_its_scale_is_not_written)
{
    lks_tree_t *tree = tree_of_one();
    const int64_t shape[] = {4}, stride[] = {1};
    const lks_value_tensor_t other = {
        .storage = 0, .dtype = LKS_DTYPE_QI32, .ndim = 1, .shape = shape, .stride = stride};
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, lks_value_tensor_new(tree, &other));
    lks_value_set_str(tree, lks_tree_root(tree), "bad", list);
    assert_fails(
        lks_checkpoint_save(path, tree, NULL), LKS_ERR_UNSUPPORTED,
        "a.pt': value 'bad.0': a tensor of qint32 over a storage of float32, without a quantizer");
    lks_tree_destroy(tree);
}

/* A tree whose root is a list of tensors, one of each dtype, over a storage of that dtype or over bytes. */
static lks_tree_t *tree_of_dtypes(lks_storage_t *storage, bool typed)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *list = lks_value_list(tree);
    const int64_t shape[] = {2, 2}, stride[] = {1, 2};
    for (int dtype = 0; dtype < LKS_DTYPE_QI8; dtype++) {
        lks_storage_t *view;
        assert_ok(lks_storage_wrap(lks_device_host(), lks_storage_data(storage),
                                   4 * lks_dtype_size((lks_dtype_t)dtype), NULL, NULL, &view));
        const lks_value_tensor_t tensor = {
            .storage =
                lks_tree_add_storage(tree, view, typed ? (lks_dtype_t)dtype : LKS_DTYPE_U8, "cpu"),
            .dtype = (lks_dtype_t)dtype,
            .ndim = 2,
            .shape = shape,
            .stride = stride,
            .is_conj = dtype == LKS_DTYPE_C64,
            .is_neg = dtype == LKS_DTYPE_F64 || dtype == LKS_DTYPE_U16};
        lks_value_append(tree, list, lks_value_tensor_new(tree, &tensor));
        lks_storage_release(view);
    }
    lks_tree_set_root(tree, list);
    return tree;
}

Test(torch_zip_write, every_dtype_survives_over_a_storage_of_its_own_and_over_bytes)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), 64, &storage));
    memset(lks_storage_data(storage), 7, 64);
    for (int typed = 0; typed < 2; typed++) {
        lks_tree_t *tree = tree_of_dtypes(storage, typed);
        assert_ok(lks_checkpoint_save(path, tree, NULL));
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        cr_assert_eq(lks_value_count(root()), LKS_DTYPE_QI8);
        for (size_t i = 0; i < lks_value_count(root()); i++) {
            const lks_value_tensor_t *found = lks_value_tensor(lks_value_at(root(), i));
            cr_assert(found, "%s became a call", lks_dtype_name((lks_dtype_t)i));
            cr_assert_eq(found->dtype, (lks_dtype_t)i);
            cr_assert_eq(found->is_conj, i == LKS_DTYPE_C64);
            cr_assert_eq(found->is_neg, i == LKS_DTYPE_F64 || i == LKS_DTYPE_U16);
        }
        close_opened();
        lks_tree_destroy(tree);
    }
    lks_storage_release(storage);
}

Test(torch_zip_write, parameters_and_attributes_survive)
{
    lks_tree_t *tree = tree_of_one();
    lks_value_tensor_t plain = *lks_value_tensor(lks_value_find(lks_tree_root(tree), "w"));
    for (int kind = 0; kind < 8; kind++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%d", kind);
        plain.is_parameter = kind & 1;
        plain.requires_grad = kind & 2;
        lks_value_t *value = lks_value_tensor_new(tree, &plain);
        if (kind & 4) {
            lks_value_t *attributes = lks_value_dict(tree);
            lks_value_set_str(tree, attributes, "self", value);
            lks_value_tensor_set_attributes(tree, value, attributes);
        }
        lks_value_set_str(tree, lks_tree_root(tree), name, value);
        lks_value_set_str(tree, lks_tree_root(tree), "tied", value);
    }
    assert_ok(lks_checkpoint_save(path, tree, NULL));
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    for (int kind = 0; kind < 8; kind++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%d", kind);
        const lks_value_t *value = lks_value_find(root(), name);
        cr_assert_eq(lks_value_tensor(value)->is_parameter, (kind & 1) != 0);
        cr_assert_eq(lks_value_tensor(value)->requires_grad, (kind & 2) != 0);
        cr_assert_eq(lks_value_tensor_attributes(value) != NULL, (kind & 4) != 0);
    }
    cr_assert_eq(lks_value_find(root(), "tied"), lks_value_find(root(), "t7"));
    lks_tree_destroy(tree);
}

/* --- many bytes --------------------------------------------------------------------------------- */

Test(torch_zip_write, few_bytes_are_loaded_at_once_to_be_written)
{
    enum { MEBI = 1 << 20 };
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *list = lks_value_list(tree);
    lks_tree_set_root(tree, list);
    for (int i = 0; i < 40; i++) {
        lks_tensor_t tensor;
        const int64_t numel = i == 20 ? 20 * MEBI : i % 2 ? 3 * MEBI : 10;
        assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_U8, 1, &numel, &tensor));
        memset(lks_tensor_data(&tensor), i, (size_t)numel);
        lks_value_append(tree, list, lks_value_tensor_from(tree, &tensor));
        lks_tensor_release(&tensor);
    }
    const char *once = test_temp_path("once.pt"), *pieces = test_temp_path("pieces/once.pt");
    cr_assert_eq(mkdir(test_temp_path("pieces"), 0700), 0);
    assert_ok(lks_checkpoint_save(once, tree, NULL));
    count_loaded(tree);
    assert_ok(lks_checkpoint_save(pieces, tree, NULL));
    cr_assert_eq(loaded, 0);
    cr_assert_eq(most_loaded, 20 * MEBI); /* the one that is larger than what may be loaded */
    size_t sizes[2];
    unsigned char *files[] = {test_read_file(once, &sizes[0]), test_read_file(pieces, &sizes[1])};
    cr_assert(sizes[0] == sizes[1] && memcmp(files[0], files[1], sizes[0]) == 0);
    free(files[0]);
    free(files[1]);
    lks_tree_destroy(tree);
}
