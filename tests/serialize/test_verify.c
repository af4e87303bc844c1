/* SPDX-License-Identifier: Apache-2.0 */
/* Every checksum of a file is verified, bad records are told in the file's order and by a tensor's name. */
#include "serialize/sized_tensors.h"
#include "serialize/source.h"
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"

#include <lockstep/state_dict.h>
#include <pthread.h>

static const size_t sizes[] = {100, 20000000, 0, 9000000, 7, 70000};
enum { COUNT = sizeof sizes / sizeof *sizes };

static const char *path;
static lks_checkpoint_t *checkpoint;
static lks_verify_report_t report;

static void setup(void)
{
    path = test_temp_path("a.pt");
}

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
    checkpoint = NULL;
}

TestSuite(verify, .init = setup, .fini = teardown);

static void reopen(void)
{
    teardown();
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
}

/* Where a record of the file is. */
static lks_zip_entry_t find(const char *name)
{
    lks_source_t *source;
    lks_zip_t zip;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_zip_open(source->data, source->size, &zip));
    const lks_zip_entry_t *entry = lks_zip_find(&zip, name, strlen(name));
    cr_assert(entry, "no record %s", name);
    lks_zip_entry_t found = *entry;
    lks_zip_close(&zip);
    lks_source_release(source);
    return found;
}

static size_t payload(const char *name)
{
    return (size_t)find(name).data;
}

Test(verify, a_good_file_is_good_on_any_number_of_threads)
{
    test_save_tensors(path, sizes, COUNT);
    for (size_t threads = 0; threads < 6; threads++) {
        reopen();
        const lks_verify_options_t options = {.threads = threads};
        assert_ok(lks_checkpoint_verify(checkpoint, &options, &report));
        cr_assert_eq(report.records, COUNT + 4); /* data.pkl, byteorder, version, the fingerprint */
        cr_assert_eq(report.bad, 0);
        cr_assert_gt(report.nbytes, 29070107u);
        cr_assert_lt(report.nbytes, 29072107u);
    }
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, NULL));
}

static char told[8][LKS_ERROR_MESSAGE_MAX];
static size_t told_count;

static void on_bad(void *context, const lks_error_t *error)
{
    cr_assert(context == told && error->status == LKS_ERR_CORRUPT);
    (void)snprintf(told[told_count++], sizeof *told, "%s", error->message);
}

Test(verify, bad_records_are_told_in_the_order_of_the_file)
{
    test_save_tensors(path, sizes, COUNT);
    test_damage(path, payload("a/data/1") + 15000000);
    test_damage(path, payload("a/data/5") + 69999);
    test_damage(path, payload("a/.data/serialization_id") + 3);
    test_damage(path, payload("a/data/4"));
    for (size_t threads = 1; threads < 5; threads++) {
        reopen();
        told_count = 0;
        const lks_verify_options_t options = {
            .threads = threads, .on_bad = on_bad, .context = told};
        assert_fails(lks_checkpoint_verify(checkpoint, &options, &report), LKS_ERR_CORRUPT,
                     "a.pt': tensor 't.1' (record data/1) is corrupt: CRC-32 is ");
        cr_assert(report.bad == 4 && told_count == 4);
        cr_assert(strstr(told[0], "'t.1' (record data/1)") && strstr(told[0], "/a.pt'"));
        cr_assert(strstr(told[1], "'t.4' (record data/4)"));
        cr_assert(strstr(told[2], "'t.5' (record data/5)"));
        cr_assert(strstr(told[3], "record .data/serialization_id is corrupt"));
    }
    /* What was found is kept. */
    told_count = 0;
    assert_fails(lks_checkpoint_verify(checkpoint, NULL, &report), LKS_ERR_CORRUPT, "data/1");
    cr_assert_eq(report.bad, 4);
    lks_tensor_t tensor;
    assert_fails(lks_checkpoint_tensor(checkpoint, test_tensor_at(checkpoint, 4), "x", &tensor),
                 LKS_ERR_CORRUPT, "tensor 'x' (record data/4)");
    assert_ok(lks_checkpoint_tensor(checkpoint, test_tensor_at(checkpoint, 3), "y", &tensor));
}

Test(verify, one_wrong_byte_anywhere_in_a_tensor_is_found)
{
    test_save_tensors(path, sizes, COUNT);
    size_t start = payload("a/data/1");
    uint32_t random = 7;
    for (int i = 0; i < 40; i++) {
        random = random * 1664525u + 1013904223u;
        size_t at = start + (size_t)random % 20000000;
        test_damage(path, at);
        reopen();
        assert_fails(lks_checkpoint_verify(checkpoint, NULL, &report), LKS_ERR_CORRUPT, "'t.1'");
        cr_assert_eq(report.bad, 1);
        test_damage(path, at);
    }
    reopen();
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
}

/* A pickle of None, and records that it does not name. */
static void open_records(const test_record_t *records, size_t count)
{
    lks_strbuf_t archive = test_torch_zip("N.", 2, records, count);
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    reopen();
}

Test(verify, records_that_no_tensor_lies_in_are_verified)
{
    test_record_t records[] = {
        {.name = "archive/data/0", .data = "abcdefgh", .nbytes = 8},
        {.name = "archive/code/a.py", .data = "aaaaaaaaaaaa", .nbytes = 12, .deflate = true},
    };
    open_records(records, 2);
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert_eq(report.records, 4);
    records[0].wrong_crc = 1;
    records[1].wrong_crc = 1;
    open_records(records, 2);
    assert_fails(lks_checkpoint_verify(checkpoint, NULL, &report), LKS_ERR_CORRUPT,
                 "record data/0 is corrupt: CRC-32 is");
    cr_assert_eq(report.bad, 2);
}

/* One tensor of four floats, in a record that has to be unpacked. */
static void open_deflated(const float numbers[4])
{
    static const char pickle[] =
        "ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
        "X\1\0\0\0000X\3\0\0\0cpuK\4tQK\0K\4\x85K\1\x85\x89"
        "ccollections\nOrderedDict\n)RtR.";
    const test_record_t records[] = {{.name = "archive/data/0",
                                      .data = numbers,
                                      .nbytes = 4 * sizeof *numbers,
                                      .deflate = true}};
    lks_strbuf_t archive = test_torch_zip(pickle, sizeof pickle - 1, records, 1);
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    reopen();
}

static const float *numbers_at(void)
{
    return lks_storage_data(lks_tree_storage(lks_checkpoint_tree(checkpoint), 0)->storage);
}

Test(verify, unpacks_without_keeping)
{
    const float numbers[] = {1, 2, 3, 4};
    open_deflated(numbers);
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert_eq(report.records, 3);
    cr_assert_eq(numbers_at()[3], 0, "nobody asked for the elements");
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_tree_root(lks_checkpoint_tree(checkpoint)), "x",
                                    &tensor));
    cr_assert_eq(numbers_at()[3], 4);
}

Test(verify, needs_no_memory_for_what_no_tensor_lies_in)
{
    static char zeros[3 << 20];
    const test_record_t records[] = {
        {.name = "archive/extra/x", .data = zeros, .nbytes = sizeof zeros, .deflate = true}};
    lks_strbuf_t archive = test_torch_zip("N.", 2, records, 1);
    test_write_file(path, archive.data, archive.length);
    lks_strbuf_fini(&archive);
    teardown();
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.memory = 1 << 20;
    assert_ok(lks_checkpoint_open(path, &limits, &checkpoint));
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert_eq(report.records, 3);
}

static _Atomic bool stop;

static void *unload_again_and_again(void *unused)
{
    while (!stop) {
        lks_checkpoint_unload(checkpoint, 0);
    }
    return unused;
}

Test(verify, giving_memory_back_meanwhile_is_no_corruption)
{
    const float numbers[] = {1, 2, 3, 4};
    open_deflated(numbers);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, unload_again_and_again, NULL), 0);
    lks_status_t status = LKS_OK;
    for (int i = 0; i < 100000 && status == LKS_OK; i++) {
        const void *data;
        size_t nbytes;
        status = lks_checkpoint_storage(checkpoint, 0, "x", &data, &nbytes);
    }
    stop = true;
    cr_assert_eq(pthread_join(thread, NULL), 0);
    assert_ok(status);
}

Test(verify, headers_that_contradict_each_other_are_found_with_their_record)
{
    test_save_tensors(path, sizes, COUNT);
    test_damage(path, find("a/data/4").header + 30); /* its name there */
    reopen();
    assert_fails(lks_checkpoint_verify(checkpoint, NULL, &report), LKS_ERR_CORRUPT,
                 "tensor 't.4' (record data/4) is corrupt: the two headers");
    cr_assert_eq(report.bad, 1);
}

Test(verify, real_files_are_good)
{
    static const char *const files[] = {"t113_iris_sd.pth", "t113_cnn_sd.pth",
                                        "t113_many_tensors_sd.pth", "t113_tutorial_ckpt.tar"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[512];
        (void)snprintf(file, sizeof file, "%s/corpus/%s", TEST_DATA_DIR, files[i]);
        teardown();
        assert_ok(lks_checkpoint_open(file, NULL, &checkpoint));
        assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
        cr_assert_geq(report.records, lks_tree_storage_count(lks_checkpoint_tree(checkpoint)) + 2);
    }
}

Test(verify, storages_that_were_added_since_are_nobodys_records)
{
    test_save_tensors(path, sizes, COUNT);
    test_damage(path, find("a/.data/serialization_id").data);
    reopen();
    lks_tree_t *tree = lks_checkpoint_edit(checkpoint);
    lks_value_t *list = lks_value_find(lks_tree_root(tree), "t");
    for (int i = 0; i < 8; i++) { /* more than the file has other records */
        const int64_t shape[] = {40000};
        lks_tensor_t tensor;
        assert_ok(lks_tensor_create(lks_device_host(), LKS_DTYPE_U8, 1, shape, &tensor));
        memset(lks_tensor_data(&tensor), i, 40000);
        lks_value_append(tree, list, lks_value_tensor_from(tree, &tensor));
        lks_tensor_release(&tensor);
    }
    assert_fails(lks_checkpoint_verify(checkpoint, NULL, &report), LKS_ERR_CORRUPT,
                 "record .data/serialization_id is corrupt");
    cr_assert(report.records == COUNT + 4 && report.bad == 1);
    const char *copy = test_temp_path("b.pt");
    assert_ok(lks_checkpoint_save(copy, tree, NULL));
    teardown();
    assert_ok(lks_checkpoint_open(copy, NULL, &checkpoint));
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert_eq(report.records, COUNT + 8 + 4);
}

static void check_records(const char *file, size_t wanted)
{
    char full[512];
    (void)snprintf(full, sizeof full, "%s/corpus/%s", TEST_DATA_DIR, file);
    teardown();
    assert_ok(lks_checkpoint_open(full, NULL, &checkpoint));
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert_eq(report.records, wanted, "%s: %zu", file, report.records);
    cr_assert_eq(report.nbytes > 0, wanted > 0);
}

Test(verify, formats_without_checksums_have_no_records)
{
    check_records("t113_iris_sd_legacy.pth", 0);
    check_records("x_tar_sd.pt", 0);
    check_records("t26_iris.safetensors", 0);
    check_records("t26_hf_model.safetensors.index.json", 0);
}

Test(verify, shards_and_distributed_archives_have_the_checksums_of_their_tensors)
{
    check_records("t113_hf_pytorch_model.bin.index.json", 62);
    check_records("t113_dcp_single", 6);
}

/* Three misaligned floats behind one byte. */
Test(verify, misaligned_safetensors_have_none_either)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[1,13]}}";
    unsigned char file[8 + sizeof header - 1 + 13] = {sizeof header - 1};
    memcpy(file + 8, header, sizeof header - 1);
    test_write_file(path, file, sizeof file);
    reopen();
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, &report));
    cr_assert(report.records == 0 && report.nbytes == 0 && report.bad == 0);
}
