/* SPDX-License-Identifier: Apache-2.0 */
/* torch's archives made by hand: what is refused, and what is verified when. */
#include "core/thread.h"
#include "serialize/opened.h"
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"

#include <stdio.h>
#include <stdlib.h>

#define LITERAL(text) (text), sizeof(text) - 1

/* ('storage', torch.<class>, <one digit>, 'cpu', <one byte>) */
#define STORAGE(class, key, numel)                                                                 \
    "(X\7\0\0\0storagectorch\n" class "\nX\1\0\0\0" key "X\3\0\0\0cpuK" numel "tQ"
/* offset 0, one dimension, stride 1 */
#define TENSOR(storage, offset, size)                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" storage "K" offset "K" size "\x85K\1\x85\x89"           \
    "ccollections\nOrderedDict\n)RtR"

static const float numbers[4] = {1.5f, -2, 3e10f, 0};
static void setup(void)
{
    path = test_temp_path("a.pt");
}

TestSuite(torch_zip, .init = setup, .fini = close_opened);

/* With one record data/0 of 16 bytes. */
static lks_status_t open_pickle(const char *pickle, size_t nbytes)
{
    const test_record_t record = {
        .name = "archive/data/0", .data = numbers, .nbytes = sizeof numbers};
    return open_strbuf(test_torch_zip(pickle, nbytes, &record, 1));
}

#define refuses(pickle, message) assert_fails(open_pickle(LITERAL(pickle)), LKS_ERR_FORMAT, message)

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
        close_opened();
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

/* Also where nothing but the later mention is left in the tree. */
Test(torch_zip, later_mentions_take_the_class_of_the_first)
{
    assert_ok(open_pickle(LITERAL("\x80\2}(K\0" STORAGE("QInt32Storage", "0", "\4") "K\0" TENSOR(
        STORAGE("DoubleStorage", "0", "\2"), "\0", "\1") "u.")));
    const lks_value_t *call = lks_value_find_int(root(), 0);
    cr_assert_eq(lks_value_kind(call), LKS_VALUE_OBJECT);
    const lks_value_t *storage = lks_value_at(lks_value_object_arguments(call), 0);
    cr_assert_str_eq(lks_value_class_name(storage), "torch.QInt32Storage");
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
    assert_fails(open_strbuf(test_zip(loose, 2)), LKS_ERR_FORMAT, "its records are in no folder");
    const test_record_t bare[] = {NAMED("a/version", "3\n")};
    assert_fails(open_strbuf(test_zip(bare, 1)), LKS_ERR_FORMAT, "without a record 'data.pkl'");
    const test_record_t two[] = {NAMED("a/data.pkl", "N."), NAMED("b/version", "3\n")};
    assert_fails(open_strbuf(test_zip(two, 2)), LKS_ERR_FORMAT,
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
        assert_fails(open_strbuf(test_zip(records, 2)), cases[i].status, cases[i].message);
    }
    const test_record_t mobile[] = {NAMED("a/data.pkl", "N."), NAMED("a/.data/version", "10\n")};
    assert_ok(open_strbuf(test_zip(mobile, 2)));
}

Test(torch_zip, a_byte_order_nobody_knows_is_refused)
{
    const test_record_t middle = NAMED("archive/byteorder", "middle");
    assert_fails(open_strbuf(test_torch_zip(LITERAL("N."), &middle, 1)), LKS_ERR_FORMAT,
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
    return open_strbuf(test_torch_zip(LITERAL(TWO_TENSORS), records, 2));
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
    assert_ok(open_strbuf(test_torch_zip(
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
    assert_ok(open_bytes(file, nbytes));
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
    assert_fails(open_strbuf(test_zip(records, 2)), LKS_ERR_CORRUPT, "record 'a/data.pkl'");
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
        close_opened();
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
        close_opened();
    }
}
