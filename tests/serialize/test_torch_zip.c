/* SPDX-License-Identifier: Apache-2.0 */
/* torch's archives made by hand: what is refused, what is verified when, and what the writer lays out. */
#include "core/thread.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define LITERAL(text) (text), sizeof(text) - 1

/* ('storage', torch.<class>, <one digit>, 'cpu', <one byte>) */
#define STORAGE(class, key, numel)                                                                 \
    "(X\7\0\0\0storagectorch\n" class "\nX\1\0\0\0" key "X\3\0\0\0cpuK" numel "tQ"
/* offset 0, one dimension, stride 1 */
#define TENSOR(storage, offset, size)                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset "K" size "\x85K\1\x85\x89"           \
    "ccollections\nOrderedDict\n)RtR"

static const float numbers[4] = {1.5f, -2, 3e10f, 0};
static lks_checkpoint_t *checkpoint;
static const char *path;

static void setup(void)
{
    path = test_temp_path("a.pt");
}

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
}

TestSuite(torch_zip, .init = setup, .fini = teardown);

static lks_status_t open_archive(lks_strbuf_t archive)
{
    teardown();
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    return lks_checkpoint_open(path, NULL, &checkpoint);
}

/* With one record data/0 of 16 bytes. */
static lks_status_t open_pickle(const char *pickle, size_t nbytes)
{
    const test_record_t record = {
        .name = "archive/data/0", .data = numbers, .nbytes = sizeof numbers};
    return open_archive(test_torch_zip(pickle, nbytes, &record, 1));
}

#define refuses(pickle, message) assert_fails(open_pickle(LITERAL(pickle)), LKS_ERR_FORMAT, message)

static const lks_value_t *root(void)
{
    return lks_tree_root(lks_checkpoint_tree(checkpoint));
}

Test(torch_zip, a_tensor_is_a_view_of_the_file)
{
    assert_ok(
        open_pickle(LITERAL("\x80\2" TENSOR(STORAGE("FloatStorage", "0", "\4"), "\1", "\3") ".")));
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, root(), "w", &tensor));
    cr_assert_eq(tensor.dtype, LKS_DTYPE_F32);
    cr_assert(tensor.ndim == 1 && tensor.shape[0] == 3 && tensor.stride[0] == 1 &&
              tensor.offset == 1);
    cr_assert(memcmp(lks_tensor_data(&tensor), numbers + 1, 12) == 0);
    cr_assert_str_eq(lks_tree_storage(lks_checkpoint_tree(checkpoint), 0)->location, "cpu");
}

Test(torch_zip, storages_that_are_not_there_are_refused)
{
    refuses(TENSOR(STORAGE("FloatStorage", "0", "\5"), "\0", "\1") ".",
            "data.pkl at byte 84: a torch.FloatStorage of 5 elements does not fit record data/0 of "
            "16 bytes");
    refuses(TENSOR(STORAGE("FloatStorage", "7", "\4"), "\0", "\1") ".", "no record 'data/7'");
    refuses(TENSOR(STORAGE("FloatStorage", "0", "\4"), "\2", "\3") ".",
            "a tensor spans 3 elements from offset 2, its storage holds 4");
    refuses("(X\7\0\0\0storagectorch\nDoubleStorage\nX\1\0\0\0"
            "0X\3\0\0\0cpu\x8a\x08\0\0\0\0\0\0\0\x7ftQ.",
            "a torch.DoubleStorage of 9151314442816847872 elements does not fit");
}

Test(torch_zip, persistent_ids_of_another_shape_are_refused)
{
    refuses("K\1Q.", "a persistent id is not");
    refuses(")Q.", "a persistent id is not");
    refuses("(X\7\0\0\0storageX\1\0\0\0aX\1\0\0\0"
            "0X\3\0\0\0cpuK\4tQ.",
            "a persistent id is not");
    refuses("(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            "0X\3\0\0\0cpuJ\xff\xff\xff\xfftQ.",
            "a persistent id is not");
    refuses(STORAGE("FloatTensor", "0", "\4") ".", "'torch.FloatTensor' is no storage class");
    refuses("P0\n.", "a persistent id is not");
}

#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("FloatStorage", "0", "\4")
#define HOOKS "ccollections\nOrderedDict\n)R"

Test(torch_zip, tensors_that_make_no_sense_are_refused)
{
    refuses(REBUILD "tR.", "_rebuild_tensor_v2 wants 6 to 7 arguments, found 1");
    refuses(REBUILD "NK\1\x85K\1\x85\x89" HOOKS "tR.", "the offset of a tensor is no int");
    refuses(REBUILD "K\0NK\1\x85\x89" HOOKS "tR.", "the shape of a tensor is not a tuple of ints");
    refuses(REBUILD "K\0N\x85K\1\x85\x89" HOOKS "tR.",
            "the shape of a tensor is not a tuple of ints");
    refuses(REBUILD "K\0K\1\x85)\x89" HOOKS "tR.", "1 dimensions and 0 strides");
    refuses(REBUILD "J\xff\xff\xff\xffK\1\x85K\1\x85\x89" HOOKS "tR.", "offset -1");
    refuses(REBUILD "K\0J\xff\xff\xff\xff\x85K\1\x85\x89" HOOKS "tR.", "negative size -1");
    refuses(REBUILD "K\0K\2\x85J\xff\xff\xff\xff\x85\x89" HOOKS "tR.", "negative stride -1");
    refuses(REBUILD "K\0K\3\x85\x8a\x08\0\0\0\0\0\0\0\x7f\x85\x89" HOOKS "tR.", "beyond 2^63");
    refuses(REBUILD "K\0\x8a\x08\0\0\0\0\0\0\0\x7f\x8a\x08\0\0\0\0\0\0\0\x7f\x86)\x89" HOOKS "tR.",
            "2 dimensions and 0 strides");
}

Test(torch_zip, what_is_no_plain_tensor_stays_a_call_and_loses_nothing)
{
    static const char *const cases[] = {
        "\x80\2" REBUILD "K\0K\1\x85K\1\x85\x89" HOOKS "}X\4\0\0\0what\x88stR.",
        "\x80\2"
        "ctorch._utils\n_rebuild_tensor_v2\n(N"
        "K\0K\1\x85K\1\x85\x89" HOOKS "tR.",
        "\x80\2" TENSOR(STORAGE("QInt8Storage", "0", "\4"), "\0", "\1") ".",
        "\x80\2" TENSOR(STORAGE("Float8Storage", "0", "\4"), "\0", "\1") ".",
        "\x80\2"
        "ctorch._utils\n_rebuild_parameter\n(N\x88" HOOKS "tR.",
    };
    static const size_t sizes[] = {
        sizeof "\x80\2" REBUILD "K\0K\1\x85K\1\x85\x89" HOOKS "}X\4\0\0\0what\x88stR.",
        sizeof "\x80\2"
               "ctorch._utils\n_rebuild_tensor_v2\n(N"
               "K\0K\1\x85K\1\x85\x89" HOOKS "tR.",
        sizeof "\x80\2" TENSOR(STORAGE("QInt8Storage", "0", "\4"), "\0", "\1") ".",
        sizeof "\x80\2" TENSOR(STORAGE("Float8Storage", "0", "\4"), "\0", "\1") ".",
        sizeof "\x80\2"
               "ctorch._utils\n_rebuild_parameter\n(N\x88" HOOKS "tR.",
    };
    const char *copy = test_temp_path("copy.pt");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_ok(open_pickle(cases[i], sizes[i] - 1));
        cr_assert_eq(lks_value_kind(root()), LKS_VALUE_OBJECT);
        lks_strbuf_t before = test_tree_text(lks_checkpoint_tree(checkpoint));
        assert_ok(lks_checkpoint_save(copy, lks_checkpoint_tree(checkpoint), NULL));
        teardown();
        assert_ok(lks_checkpoint_open(copy, NULL, &checkpoint));
        lks_strbuf_t after = test_tree_text(lks_checkpoint_tree(checkpoint));
        cr_assert_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after));
        lks_strbuf_fini(&before);
        lks_strbuf_fini(&after);
    }
}

Test(torch_zip, the_first_class_of_a_key_decides)
{
    assert_ok(
        open_pickle(LITERAL("\x80\2" TENSOR(STORAGE("FloatStorage", "0", "\4"), "\0", "\1")
                                TENSOR(STORAGE("LongStorage", "0", "\2"), "\0", "\1") "\x86.")));
    cr_assert_eq(lks_tree_storage_count(lks_checkpoint_tree(checkpoint)), 1);
    cr_assert_eq(lks_value_tensor(lks_value_at(root(), 1))->dtype, LKS_DTYPE_F32);
}

/* Else what is written could not be read again, or not as the same. */
Test(torch_zip, the_first_size_of_a_key_decides)
{
    assert_ok(open_pickle(LITERAL("\x80\2" STORAGE("FloatStorage", "0", "\2") STORAGE(
        "FloatStorage", "0", "\4") STORAGE("FloatStorage", "0", "\1") "\x87.")));
    for (size_t i = 0; i < 3; i++) {
        int64_t numel;
        assert_ok(lks_value_get_int(
            lks_value_at(lks_value_object_arguments(lks_value_at(root(), i)), 1), &numel));
        cr_assert_eq(numel, 2);
    }
}

/* --- the archive around the pickle -------------------------------------------------------------- */

#define NAMED(record, bytes)                                                                       \
    {                                                                                              \
        .name = record, .data = bytes, .nbytes = sizeof(bytes) - 1                                 \
    }

Test(torch_zip, archives_that_torch_did_not_write_are_refused)
{
    const test_record_t loose[] = {NAMED("data.pkl", "N."), NAMED("version", "3\n")};
    assert_fails(open_archive(test_zip(loose, 2)), LKS_ERR_FORMAT, "its records are in no folder");
    const test_record_t bare[] = {NAMED("a/version", "3\n")};
    assert_fails(open_archive(test_zip(bare, 1)), LKS_ERR_FORMAT, "without a record 'data.pkl'");
    const test_record_t two[] = {NAMED("a/data.pkl", "N."), NAMED("b/version", "3\n")};
    assert_fails(open_archive(test_zip(two, 2)), LKS_ERR_FORMAT,
                 "record 'b/version' is outside of the folder 'a/'");
}

Test(torch_zip, the_version_must_be_known)
{
    const struct {
        const char *version;
        lks_status_t status;
        const char *message;
    } cases[] = {{"11\n", LKS_ERR_UNSUPPORTED, "version 11, the newest known is 10"},
                 {"0", LKS_ERR_FORMAT, "is no number"},
                 {"three", LKS_ERR_FORMAT, "is no number"},
                 {"3x", LKS_ERR_FORMAT, "is no number"},
                 {"", LKS_ERR_FORMAT, "no record 'version'"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const test_record_t records[] = {
            NAMED("a/data.pkl", "N."),
            {.name = "a/version", .data = cases[i].version, .nbytes = strlen(cases[i].version)}};
        assert_fails(open_archive(test_zip(records, 2)), cases[i].status, cases[i].message);
    }
    const test_record_t mobile[] = {NAMED("a/data.pkl", "N."), NAMED("a/.data/version", "10\n")};
    assert_ok(open_archive(test_zip(mobile, 2)));
}

Test(torch_zip, a_byte_order_nobody_knows_is_refused)
{
    const test_record_t middle = NAMED("archive/byteorder", "middle");
    assert_fails(open_archive(test_torch_zip(LITERAL("N."), &middle, 1)), LKS_ERR_FORMAT,
                 "neither 'little' nor 'big'");
}

Test(torch_zip, bytes_behind_the_pickle_are_refused)
{
    assert_fails(open_pickle(LITERAL("N.N.")), LKS_ERR_FORMAT,
                 "2 bytes follow the end of the pickle");
}

/* --- checksums ---------------------------------------------------------------------------------- */

#define TWO_TENSORS                                                                                \
    "\x80\2" TENSOR(STORAGE("FloatStorage", "0", "\4"), "\0", "\4")                                \
        TENSOR(STORAGE("FloatStorage", "1", "\4"), "\0", "\4") "\x86."

static lks_status_t open_two(const test_record_t *template)
{
    test_record_t records[] = {*template, *template};
    records[0].name = "archive/data/0";
    records[1].name = "archive/data/1";
    records[1].wrong_crc = 1;
    for (int i = 0; i < 2; i++) {
        records[i].data = numbers;
        records[i].nbytes = sizeof numbers;
    }
    return open_archive(test_torch_zip(LITERAL(TWO_TENSORS), records, 2));
}

static void assert_second_is_corrupt(const char *why)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), 0), "fc.0.weight", &tensor));
    cr_assert(memcmp(lks_tensor_data(&tensor), numbers, sizeof numbers) == 0);
    for (int again = 0; again < 2; again++) {
        assert_fails(
            lks_checkpoint_tensor(checkpoint, lks_value_at(root(), 1), "fc.0.bias", &tensor),
            LKS_ERR_CORRUPT, why);
        cr_assert(strstr(lks_last_error()->message,
                         "a.pt': tensor 'fc.0.bias' (record data/1) is corrupt"));
    }
    assert_fails(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), 1), NULL, &tensor),
                 LKS_ERR_CORRUPT, "a.pt': record data/1 is corrupt");
}

Test(torch_zip, a_corrupt_tensor_is_named_when_it_is_wanted)
{
    assert_ok(open_two(&(test_record_t){.descriptor = true}));
    assert_second_is_corrupt("CRC-32 is 7ba25fd3, the archive says 7ba25fd4");
}

Test(torch_zip, a_corrupt_deflated_tensor_is_named_as_well)
{
    assert_ok(open_two(&(test_record_t){.deflate = true}));
    assert_second_is_corrupt("CRC-32 is");
    const test_record_t record = {.name = "archive/data/0",
                                  .data = numbers,
                                  .nbytes = sizeof numbers,
                                  .deflate = true,
                                  .descriptor = true,
                                  .wrong_size = 1};
    lks_tensor_t tensor;
    assert_ok(open_archive(test_torch_zip(
        LITERAL("\x80\2" TENSOR(STORAGE("FloatStorage", "0", "\4"), "\0", "\4") "."), &record, 1)));
    assert_fails(lks_checkpoint_tensor(checkpoint, root(), "w", &tensor), LKS_ERR_CORRUPT,
                 "tensor 'w' (record data/0) is corrupt: its deflated bytes");
}

/* In torch's archives local headers are compared when their tensors are wanted. */
Test(torch_zip, a_damaged_local_header_is_found_with_its_tensor)
{
    size_t nbytes;
    lks_tensor_t tensor;
    unsigned char *file = test_read_file(TEST_DATA_DIR "/corpus/t113_iris_sd.pth", &nbytes);
    lks_zip_t zip;
    assert_ok(lks_zip_open(file, nbytes, &zip));
    const lks_zip_entry_t *entry = lks_zip_find(&zip, "t113_iris_sd/data/1", 19);
    cr_assert(entry);
    file[entry->header + 30] ^= 1; /* its name */
    test_write_file(path, file, nbytes);
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *weight = lks_value_find(root(), "fc.0.weight");
    const lks_value_t *bias = lks_value_find(root(), "fc.0.bias");
    assert_ok(lks_checkpoint_tensor(checkpoint, weight, "fc.0.weight", &tensor));
    assert_fails(lks_checkpoint_tensor(checkpoint, bias, "fc.0.bias", &tensor), LKS_ERR_CORRUPT,
                 "tensor 'fc.0.bias' (record data/1) is corrupt: the two headers");
    lks_zip_close(&zip);
    free(file);
}

Test(torch_zip, tensors_are_aligned_wherever_their_records_lie)
{
    assert_ok(lks_checkpoint_open(TEST_DATA_DIR "/corpus/x_repack_stored.pth", NULL, &checkpoint));
    for (size_t i = 0; i < lks_value_count(root()); i++) {
        lks_tensor_t tensor;
        assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root(), i), NULL, &tensor));
        cr_assert_eq((uintptr_t)lks_tensor_data(&tensor) % lks_dtype_size(tensor.dtype), 0);
    }
}

Test(torch_zip, a_corrupt_source_is_not_copied)
{
    const char *copy = test_temp_path("copy.pt");
    assert_ok(open_two(&(test_record_t){0}));
    assert_fails(lks_checkpoint_save(copy, lks_checkpoint_tree(checkpoint), NULL), LKS_ERR_CORRUPT,
                 "record data/1 is corrupt");
    lks_checkpoint_t *none;
    assert_fails(lks_checkpoint_open(copy, NULL, &none), LKS_ERR_IO, "No such file");
}

Test(torch_zip, a_corrupt_pickle_is_found_when_opening)
{
    const test_record_t records[] = {
        {.name = "a/data.pkl", .data = "N.", .nbytes = 2, .wrong_crc = 1},
        NAMED("a/version", "3\n")};
    assert_fails(open_archive(test_zip(records, 2)), LKS_ERR_CORRUPT, "record 'a/data.pkl'");
}

Test(torch_zip, deflated_tensors_stay_within_the_memory_limit)
{
    static const char zeros[20000];
    const test_record_t record = {
        .name = "archive/data/0", .data = zeros, .nbytes = sizeof zeros, .deflate = true};
    lks_strbuf_t archive = test_torch_zip(
        LITERAL("\x80\2" TENSOR(STORAGE("FloatStorage", "0", "\4"), "\0", "\4") "."), &record, 1);
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.memory = 19999;
    assert_fails(lks_checkpoint_open(path, &limits, &checkpoint), LKS_ERR_FORMAT, "memory limit");
}

static void verify_all(void *context)
{
    lks_checkpoint_t *shared = context;
    size_t count = lks_tree_storage_count(lks_checkpoint_tree(shared));
    for (size_t i = 0; i < count; i++) {
        const void *data;
        size_t nbytes;
        cr_expect(lks_checkpoint_storage(shared, i, NULL, &data, &nbytes) == LKS_OK);
    }
}

Test(torch_zip, what_was_unloaded_is_loaded_again)
{
    static const char *const files[] = {"x_repack_deflated.pth", "x_big_endian.pth",
                                        "t113_iris_sd.pth"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[256];
        const void *data;
        size_t nbytes;
        (void)snprintf(file, sizeof file, TEST_DATA_DIR "/corpus/%s", files[i]);
        assert_ok(lks_checkpoint_open(file, NULL, &checkpoint));
        assert_ok(lks_checkpoint_storage(checkpoint, 0, NULL, &data, &nbytes));
        unsigned char *before = malloc(nbytes);
        cr_assert(before && nbytes > 0);
        memcpy(before, data, nbytes);
        lks_checkpoint_unload(checkpoint, 0);
        cr_assert(i == 2 || memcmp(data, before, nbytes) != 0, "%s: the memory is kept", files[i]);
        assert_ok(lks_checkpoint_storage(checkpoint, 0, NULL, &data, &nbytes));
        cr_assert(memcmp(data, before, nbytes) == 0);
        free(before);
        teardown();
    }
}

/* Stored records are checked by whoever comes; deflated and big-endian ones are filled by one. */
Test(torch_zip, many_threads_may_verify_at_once)
{
    static const char *const files[] = {"t113_iris_sd.pth", "x_repack_deflated.pth",
                                        "x_big_endian.pth"};
    for (int f = 0; f < 3; f++) {
        char file[256];
        (void)snprintf(file, sizeof file, TEST_DATA_DIR "/corpus/%s", files[f]);
        assert_ok(lks_checkpoint_open(file, NULL, &checkpoint));
        lks_thread_t *threads[4];
        for (int i = 0; i < 4; i++) {
            assert_ok(lks_thread_create("verify", verify_all, checkpoint, &threads[i]));
        }
        for (int i = 0; i < 4; i++) {
            lks_thread_join(threads[i]);
        }
        teardown();
    }
}

/* --- writing ------------------------------------------------------------------------------------ */

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

Test(torch_zip, records_are_written_as_torch_does)
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

Test(torch_zip, names_that_make_no_folder_become_archive)
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

Test(torch_zip, a_quantized_tensor_without_its_scale_is_not_written)
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

Test(torch_zip, every_dtype_survives_over_a_storage_of_its_own_and_over_bytes)
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
        teardown();
        lks_tree_destroy(tree);
    }
    lks_storage_release(storage);
}

Test(torch_zip, parameters_and_attributes_survive)
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

/* --- writing ------------------------------------------------------------------------------------ */

static size_t loaded, most_loaded;

static lks_status_t load_large(void *context, size_t index, const char *name)
{
    (void)name;
    loaded += lks_storage_nbytes(lks_tree_storage(context, index)->storage);
    most_loaded = loaded > most_loaded ? loaded : most_loaded;
    return LKS_OK;
}

static void unload_large(void *context, size_t index)
{
    loaded -= lks_storage_nbytes(lks_tree_storage(context, index)->storage);
}

Test(torch_zip, few_bytes_are_loaded_at_once_to_be_written)
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
    tree->load = load_large;
    tree->unload = unload_large;
    tree->load_context = tree;
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
