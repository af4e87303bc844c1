/* SPDX-License-Identifier: Apache-2.0 */
/* What is written byte for byte, what cannot be, and how much is loaded for it. */
#include "serialize/loaded.h"
#include "serialize/safetensors.h"
#include "serialize/safetensors_saved.h"

#include <unistd.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

TestSuite(safetensors_write, .init = saved_setup, .fini = saved_teardown);

/* --- beside the safetensors library ------------------------------------------------------------- */

Test(safetensors_write, files_of_the_library_are_written_again_byte_for_byte)
{
    static const char *const names[] = {"t26_dtypes",
                                        "t26_empty",
                                        "t26_iris",
                                        "t26_hf_model-00001-of-00003",
                                        "t26_hf_model-00002-of-00003",
                                        "t26_hf_model-00003-of-00003"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[256];
        (void)snprintf(from, sizeof from, CORPUS "%s.safetensors", names[i]);
        lks_checkpoint_t *checkpoint;
        assert_ok(lks_checkpoint_open(from, NULL, &checkpoint));
        assert_ok(lks_checkpoint_save(path, lks_checkpoint_tree(checkpoint), NULL));
        lks_checkpoint_close(checkpoint);
        size_t size, copy_size;
        unsigned char *file = test_read_file(from, &size), *copy = test_read_file(path, &copy_size);
        cr_assert(size == copy_size && memcmp(file, copy, size) == 0, "%s", names[i]);
        free(file);
        free(copy);
    }
}

Test(safetensors_write, dtypes_come_in_descending_rank_and_then_names)
{
    add("b", tensor(LKS_DTYPE_F32, SHAPE(2)));
    add("a", tensor(LKS_DTYPE_BOOL, SHAPE(1)));
    add("aa", tensor(LKS_DTYPE_F32, SHAPE(0)));
    add("a.b", tensor(LKS_DTYPE_F32, 0, NULL));
    add("B", tensor(LKS_DTYPE_I64, SHAPE(1)));
    add("z", tensor(LKS_DTYPE_F4_E2M1FN_X2, SHAPE(2, 3)));
    assert_ok(save());
    assert_header("{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"B\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                  "\"a.b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[8,12]},"
                  "\"aa\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[12,12]},"
                  "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]},"
                  "\"z\":{\"dtype\":\"F4\",\"shape\":[2,6],\"data_offsets\":[20,26]},"
                  "\"a\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[26,27]}}",
                  27);
}

Test(safetensors_write, names_are_escaped_as_the_library_does)
{
    lks_value_t *key = lks_value_str_n(tree, "\"\\/\b\f\n\r\t\0\x1f\x7f\xc3\xa9", 13);
    lks_value_set(tree, dict, key, tensor(LKS_DTYPE_U8, SHAPE(1)));
    assert_ok(save());
    assert_header("{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\xc3\xa9\":"
                  "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                  1);
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    size_t nbytes;
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    const char *name = lks_value_text(lks_value_key_at(root, 0), &nbytes);
    cr_assert(nbytes == 13 && memcmp(name, lks_value_text(key, NULL), 13) == 0);
    lks_checkpoint_close(checkpoint);
}

Test(safetensors_write, every_dtype_survives)
{
    int count = 0;
    for (int dtype = 0; dtype < LKS_DTYPE_COUNT; dtype++) {
        if (lks_safetensors_dtype_of((lks_dtype_t)dtype)) {
            add(lks_dtype_name((lks_dtype_t)dtype), tensor((lks_dtype_t)dtype, SHAPE(3, 5)));
            count++;
        }
    }
    cr_assert_eq(count, 22);
    assert_ok(save());
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    cr_assert_eq(lks_value_count(root), (size_t)count);
    for (size_t i = 0; i < (size_t)count; i++) {
        lks_tensor_t found;
        assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root, i), NULL, &found));
        cr_assert_str_eq(lks_dtype_name(found.dtype),
                         lks_value_text(lks_value_key_at(root, i), NULL));
        cr_assert(found.ndim == 2 && found.shape[0] == 3 && found.shape[1] == 5);
        const unsigned char *data = lks_tensor_data(&found);
        for (size_t k = 0; k < lks_tensor_nbytes(&found); k++) {
            cr_assert_eq(data[k], k);
        }
    }
    lks_checkpoint_close(checkpoint);
}

Test(safetensors_write, views_are_packed)
{
    const int64_t shape[] = {2, 3}, stride[] = {1, 4};
    lks_value_tensor_t view = {.storage = lks_value_tensor(tensor(LKS_DTYPE_U8, SHAPE(1)))->storage,
                               .dtype = LKS_DTYPE_U8,
                               .ndim = 2,
                               .offset = 10,
                               .shape = shape,
                               .stride = stride};
    add("t", lks_value_tensor_new(tree, &view));
    assert_ok(save());
    size_t size;
    unsigned char *file = test_read_file(path, &size);
    static const unsigned char wanted[] = {10, 14, 18, 11, 15, 19};
    cr_assert(memcmp(file + size - 6, wanted, 6) == 0);
    free(file);
}

/* Large tensors are written by several threads, ahead of the small ones and of those that are packed. */
Test(safetensors_write, large_tensors_come_to_lie_where_the_header_says)
{
    static const int64_t numels[] = {3000000, 5, 70000, 262144, 9000000, 1, 262143, 4000000};
    enum { COUNT = sizeof numels / sizeof *numels, TOTAL = 18000000 };
    unsigned char *memory = malloc(TOTAL);
    lks_storage_t *storage;
    cr_assert(memory);
    for (size_t i = 0; i < TOTAL; i++) {
        memory[i] = (unsigned char)(i * 2654435761u >> 11);
    }
    assert_ok(lks_storage_wrap(lks_device_host(), memory, TOTAL, NULL, NULL, &storage));
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_U8, "cpu");
    lks_storage_release(storage);
    int64_t places[COUNT], at = 0;
    for (int i = 0; i < COUNT; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%d", i);
        places[i] = at;
        const int64_t shape[] = {2, numels[i] / 2}, stride[] = {1, 2}, one = 1;
        const lks_value_tensor_t view = {.storage = index,
                                         .dtype = LKS_DTYPE_U8,
                                         .ndim = i == 3 ? 2 : 1, /* large, but transposed */
                                         .offset = at,
                                         .shape = i == 3 ? shape : &numels[i],
                                         .stride = i == 3 ? stride : &one};
        add(name, lks_value_tensor_new(tree, &view));
        at += numels[i];
    }
    cr_assert_leq(at, TOTAL);
    assert_ok(save());
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    for (size_t i = 0; i < COUNT; i++) {
        lks_tensor_t found;
        assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root, i), NULL, &found));
        const unsigned char *data = lks_tensor_data(&found), *from = memory + places[i];
        cr_assert_eq(lks_tensor_numel(&found), numels[i]);
        for (size_t k = 0; k < (size_t)numels[i]; k++) {
            size_t half = (size_t)numels[i] / 2;
            cr_assert_eq(data[k], from[i == 3 ? k % half * 2 + k / half : k], "t%zu[%zu]", i, k);
        }
    }
    lks_checkpoint_close(checkpoint);
    free(memory);
}

/* --- metadata ----------------------------------------------------------------------------------- */

Test(safetensors_write, metadata_is_the_roots_attribute)
{
    lks_value_t *metadata = lks_value_dict(tree);
    set_metadata(metadata);
    assert_ok(save());
    assert_header("{}", 0);
    lks_value_set_str(tree, metadata, "z", lks_value_str(tree, "\n"));
    lks_value_set_str(tree, metadata, "a", lks_value_str(tree, ""));
    assert_ok(save());
    assert_header("{\"__metadata__\":{\"z\":\"\\n\",\"a\":\"\"}}", 0);
}

Test(safetensors_write, an_attribute_of_another_kind_is_no_metadata)
{
    lks_value_t *metadata = lks_value_dict(tree);
    lks_value_set_str(tree, metadata, "epoch", lks_value_int(tree, 3));
    set_metadata(metadata);
    assert_ok(save());
    assert_header("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
    set_metadata(lks_value_str(tree, "a"));
    assert_ok(save());
    assert_header("{\"__metadata__\":{\"format\":\"pt\"}}", 0);
}

/* --- what cannot be held ------------------------------------------------------------------------ */

#define NO_TENSORS "{\"__metadata__\":{\"format\":\"pt\"}}"

/* The one value of the dict is refused for that reason, and can be dropped. */
static void check_refused(lks_value_t *key, lks_value_t *value, const char *name, const char *why)
{
    char sentence[256];
    dict = lks_value_dict(tree);
    lks_tree_set_root(tree, dict);
    lks_value_set(tree, dict, key, value);
    (void)snprintf(sentence, sizeof sentence, "a.safetensors': value '%s': %s", name, why);
    (void)remove(path);
    assert_fails(save(), LKS_ERR_UNSUPPORTED, sentence);
    cr_assert(access(path, F_OK) != 0, "a file was left");
    assert_ok(save_dropping());
    cr_assert(strncmp(told, name, strlen(name)) == 0 && strstr(told, why), "%s", told);
    assert_header(NO_TENSORS, 0);
}

Test(safetensors_write, values_that_are_no_tensors_are_named)
{
    lks_value_t *nested = lks_value_dict(tree), *list = lks_value_list(tree);
    lks_value_set_str(tree, nested, "w", tensor(LKS_DTYPE_F32, SHAPE(1)));
    check_refused(lks_value_str(tree, "epoch"), lks_value_int(tree, 3), "epoch",
                  "safetensors holds tensors only, and it is an int");
    check_refused(lks_value_str(tree, "model"), nested, "model",
                  "safetensors holds tensors only, and it is a dict (keep the state dict alone, or "
                  "flatten it first)");
    check_refused(lks_value_str(tree, "l"), list, "l", "safetensors holds tensors only");
    check_refused(lks_value_int(tree, -7), tensor(LKS_DTYPE_F32, SHAPE(1)), "-7",
                  "safetensors holds tensors under str keys only");
    check_refused(lks_value_bool(tree, true), tensor(LKS_DTYPE_F32, SHAPE(1)), "bool",
                  "safetensors holds tensors under str keys only");
    check_refused(lks_value_str(tree, "__metadata__"), tensor(LKS_DTYPE_F32, SHAPE(1)),
                  "__metadata__", "safetensors keeps this name for its metadata");
}

Test(safetensors_write, keys_that_are_no_utf8_are_refused)
{
    lks_value_set_str(tree, dict, "a\xed\xa0\x80", tensor(LKS_DTYPE_F32, SHAPE(1)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "value 'a\\xed\\xa0\\x80': its key is no UTF-8");
    dict = lks_value_dict(tree);
    lks_tree_set_root(tree, dict);
    lks_value_set_str(tree, dict, "\xff", tensor(LKS_DTYPE_F32, SHAPE(1)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "value '\\xff': its key is no UTF-8");
}

Test(safetensors_write, tensors_that_the_format_has_not_are_named)
{
    static const lks_dtype_t none[] = {LKS_DTYPE_C128, LKS_DTYPE_C32, LKS_DTYPE_QI8,
                                       LKS_DTYPE_QU4X2};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        char why[64];
        (void)snprintf(why, sizeof why, "safetensors has no tensors of %s",
                       lks_dtype_name(none[i]));
        check_refused(lks_value_str(tree, "t"), tensor(none[i], SHAPE(1)), "t", why);
    }
    lks_value_tensor_t view = *lks_value_tensor(tensor(LKS_DTYPE_C64, SHAPE(1)));
    view.is_conj = true;
    check_refused(lks_value_str(tree, "t"), lks_value_tensor_new(tree, &view), "t",
                  "safetensors has no conjugated or negated views");
    check_refused(lks_value_str(tree, "t"), tensor(LKS_DTYPE_F4_E2M1FN_X2, 0, NULL), "t",
                  "safetensors has no scalars of a dtype that groups elements");
}

Test(safetensors_write, a_root_that_is_no_dict_is_refused)
{
    lks_tree_set_root(tree, tensor(LKS_DTYPE_F32, SHAPE(1)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED,
                 "safetensors holds a dict of tensors, and the root is of kind tensor");
    assert_fails(save_dropping(), LKS_ERR_UNSUPPORTED, "the root is of kind tensor");
}

/* --- streaming ---------------------------------------------------------------------------------- */

static int loads[2], unloads[2];

static lks_status_t count_load(void *context, size_t index, const char *name)
{
    (void)context;
    cr_assert(name);
    loads[index]++;
    return LKS_OK;
}

static void count_unload(void *context, size_t index)
{
    (void)context;
    unloads[index]++;
}

Test(safetensors_write, a_storage_is_given_back_behind_its_last_tensor)
{
    lks_value_t *two = tensor(LKS_DTYPE_F32, SHAPE(4));
    add("a", two);
    add("b", tensor(LKS_DTYPE_F32, SHAPE(4)));
    add("c", view_of(two, 4, SHAPE(4)));
    tree->load = count_load;
    tree->unload = count_unload;
    assert_ok(save());
    cr_assert(loads[0] == 2 && loads[1] == 1 && unloads[0] == 1 && unloads[1] == 1);
}

Test(safetensors_write, few_bytes_are_loaded_at_once)
{
    enum { MEBI = 1 << 20 };
    for (int i = 0; i < 40; i++) {
        lks_storage_t *storage;
        char name[8];
        const int64_t numel = i == 20 ? 20 * MEBI : i % 2 ? 3 * MEBI : 10;
        assert_ok(lks_storage_create(lks_device_host(), (size_t)numel, &storage));
        memset(lks_storage_data(storage), i, (size_t)numel);
        size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_U8, "cpu");
        lks_storage_release(storage);
        (void)snprintf(name, sizeof name, "t%d", i);
        add(name, test_tensor(tree, index, 0, LKS_DTYPE_U8, 1, &numel));
    }
    count_loaded(tree);
    assert_ok(save());
    cr_assert_eq(loaded, 0);
    cr_assert_eq(most_loaded, 20 * MEBI); /* the one that is larger than what may be loaded */
}

Test(safetensors_write, a_corrupt_source_leaves_no_file)
{
    size_t nbytes;
    unsigned char *file = test_read_file(CORPUS "t113_iris_sd.pth", &nbytes);
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open_memory(file, nbytes, "b.pt", NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    const lks_value_tensor_t *found = lks_value_tensor(lks_value_find(root, "fc.2.bias"));
    const void *data = lks_storage_data(
        lks_tree_storage(lks_checkpoint_tree(checkpoint), found->storage)->storage);
    file[(const unsigned char *)data - file] ^= 1;
    assert_fails(lks_checkpoint_save(path, lks_checkpoint_tree(checkpoint), NULL), LKS_ERR_CORRUPT,
                 "tensor 'fc.2.bias'");
    cr_assert(access(path, F_OK) != 0);
    lks_checkpoint_close(checkpoint);
    free(file);
}
