/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/zip_maker.h"
#include "serialize/zip_read.h"
#include "support/support.h"

#include <stdlib.h>

static lks_strbuf_t archive;
static lks_zip_t zip;

static void teardown(void)
{
    lks_zip_close(&zip);
    lks_strbuf_fini(&archive);
}

TestSuite(zip_read, .fini = teardown);

static lks_status_t open_zip(void)
{
    return lks_zip_open(archive.data, archive.length, &zip);
}

/* An archive of one good record "a" and this one. */
static lks_status_t open_with(test_record_t record)
{
    const test_record_t records[] = {{.name = "a", .data = "hello", .nbytes = 5}, record};
    lks_strbuf_fini(&archive);
    archive = test_zip(records, 2);
    return open_zip();
}

static void assert_holds(const char *name, const void *data, size_t nbytes)
{
    const lks_zip_entry_t *entry = lks_zip_find(&zip, name, strlen(name));
    const unsigned char *found = NULL;
    void *owned = NULL;
    cr_assert(entry, "no record %s", name);
    assert_ok(lks_zip_read(&zip, entry, SIZE_MAX, &found, &owned));
    cr_assert(entry->size == nbytes && memcmp(found, data, nbytes) == 0);
    free(owned);
}

Test(zip_read, stored_and_deflated_records_are_read)
{
    char zeros[5000] = {0};
    const test_record_t records[] = {
        {.name = "r/plain", .data = "hello", .nbytes = 5},
        {.name = "r/empty", .data = "", .nbytes = 0},
        {.name = "r/later", .data = "world", .nbytes = 5, .descriptor = true},
        {.name = "r/folder/", .data = "", .nbytes = 0},
        {.name = "r/deflated", .data = zeros, .nbytes = sizeof zeros, .deflate = true},
        {.name = "r/deflated empty", .data = "", .nbytes = 0, .deflate = true},
    };
    archive = test_zip(records, 6);
    assert_ok(open_zip());
    cr_assert_eq(zip.count, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_holds(records[i].name, records[i].data, records[i].nbytes);
    }
    cr_assert_null(lks_zip_find(&zip, "r/plai", 6));
    cr_assert_null(lks_zip_find(&zip, "r/PLAIN", 7));
}

Test(zip_read, zip64_fields_are_read)
{
    assert_ok(open_with((test_record_t){.name = "b", .data = "xyz", .nbytes = 3, .zip64 = true}));
    assert_holds("b", "xyz", 3);
    lks_zip_close(&zip);
    assert_fails(open_with((test_record_t){
                     .name = "b", .data = "xyz", .nbytes = 3, .zip64 = true, .wrong_extra = 1}),
                 LKS_ERR_FORMAT, "record 'b' has no zip64 sizes");
}

/* An archive laid out as torch's: its payloads are found without reading their local headers. */
Test(zip_read, aligned_payloads_are_found_from_the_directory)
{
    size_t nbytes;
    unsigned char *file = test_read_file(TEST_DATA_DIR "/corpus/t26_iris_sd.pth", &nbytes);
    assert_ok(lks_zip_open(file, nbytes, &zip));
    cr_assert_eq(zip.count, 8);
    for (size_t i = 0; i < zip.count; i++) {
        cr_assert_eq(zip.entries[i].data % 64, 0);
        assert_ok(lks_zip_check(&zip, &zip.entries[i]));
    }
    file[zip.entries[3].header + 28]++; /* a longer extra field moves the payload */
    assert_fails(lks_zip_check(&zip, &zip.entries[3]), LKS_ERR_FORMAT, "does not lie where");
    memset(file + zip.entries[3].header, 0, 4);
    assert_fails(lks_zip_check(&zip, &zip.entries[3]), LKS_ERR_FORMAT, "is not inside");
    free(file);
}

Test(zip_read, extra_fields_that_lie_about_their_length_end)
{
    size_t nbytes;
    unsigned char *file = test_read_file(TEST_DATA_DIR "/corpus/t26_iris_sd.pth", &nbytes);
    size_t extra = 30 + strlen("t26_iris_sd/data.pkl");
    cr_assert(memcmp(file + extra, "FB", 2) == 0);
    file[extra] = 'x';
    file[extra + 3] = 0xff;
    assert_ok(lks_zip_open(file, nbytes, &zip));
    free(file);
    lks_zip_close(&zip);
    const test_record_t record = {.name = "b", .data = "x", .nbytes = 1, .zip64 = true};
    archive = test_zip(&record, 1);
    archive.data[30 + 1 + 2] = 99; /* the length of the field in front of the zip64 sizes */
    assert_fails(open_zip(), LKS_ERR_FORMAT, "no zip64 sizes");
}

Test(zip_read, an_archive_may_have_a_comment)
{
    assert_ok(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1}));
    lks_zip_close(&zip);
    archive.data[archive.length - 2] = 7;
    lks_strbuf_append(&archive, "comment", 7);
    assert_ok(open_zip());
    assert_holds("b", "x", 1);
}

Test(zip_read, an_empty_archive_has_no_records)
{
    archive = test_zip(NULL, 0);
    assert_ok(open_zip());
    cr_assert_eq(zip.count, 0);
    cr_assert_null(lks_zip_find(&zip, "a", 1));
}

Test(zip_read, names_that_lead_elsewhere_are_refused)
{
    static const char *const names[] = {"/etc/passwd", "..", "a/../b", "../x", "a/.."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_fails(open_with((test_record_t){.name = names[i], .data = "x", .nbytes = 1}),
                     LKS_ERR_FORMAT, "not allowed");
    }
    assert_ok(open_with((test_record_t){.name = "a..b/...", .data = "x", .nbytes = 1}));
}

Test(zip_read, duplicate_names_are_refused)
{
    assert_fails(open_with((test_record_t){.name = "a", .data = "x", .nbytes = 1}), LKS_ERR_FORMAT,
                 "two records 'a'");
}

Test(zip_read, headers_that_disagree_are_refused)
{
    assert_fails(
        open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .local_name = "c"}),
        LKS_ERR_FORMAT, "the two headers of record 'b' contradict");
    assert_ok(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1}));
    lks_zip_close(&zip);
    size_t crc_of_a = 14;
    archive.data[crc_of_a] ^= 1;
    assert_fails(open_zip(), LKS_ERR_FORMAT, "the two headers of record 'a' contradict");
}

Test(zip_read, sizes_beyond_the_archive_are_refused)
{
    assert_fails(open_with((test_record_t){
                     .name = "b", .data = "x", .nbytes = 1, .wrong_size = 9, .wrong_stored = 9}),
                 LKS_ERR_FORMAT, "record 'b' is not inside the archive");
    assert_fails(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .wrong_size = 1}),
                 LKS_ERR_FORMAT, "two sizes");
    assert_fails(open_with((test_record_t){
                     .name = "b", .data = "x", .nbytes = 1, .wrong_offset = 0x10000000}),
                 LKS_ERR_FORMAT, "record 'b' is not inside the archive");
}

Test(zip_read, a_record_inside_another_is_refused)
{
    /* The payload of "outer" is an archive of its own, whose one record the directory lists as well. */
    const test_record_t inner = {.name = "b", .data = "x", .nbytes = 1};
    lks_strbuf_t nested = test_zip(&inner, 1);
    const test_record_t records[] = {
        {.name = "a", .data = nested.data, .nbytes = nested.length},
        {.name = "b", .data = "x", .nbytes = 1, .wrong_offset = 0u - (uint32_t)nested.length}};
    archive = test_zip(records, 2);
    lks_strbuf_fini(&nested);
    assert_fails(open_zip(), LKS_ERR_FORMAT, "records 'a' and 'b' overlap");
}

Test(zip_read, records_in_any_order_are_compared)
{
    const test_record_t records[] = {
        {.name = "aa", .data = "x", .nbytes = 1, .wrong_offset = 33},
        {.name = "bb", .data = "x", .nbytes = 1, .wrong_offset = (uint32_t)-33}};
    archive = test_zip(records, 2);
    memcpy(archive.data + 30, "bb", 2);
    memcpy(archive.data + 63, "aa", 2);
    assert_ok(open_zip());
    assert_holds("aa", "x", 1);
}

Test(zip_read, what_is_not_supported_says_so)
{
    assert_fails(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .flags = 1}),
                 LKS_ERR_UNSUPPORTED, "record 'b' is encrypted");
    assert_fails(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .method = 12}),
                 LKS_ERR_UNSUPPORTED, "compressed by method 12");
    assert_fails(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .disk = 1}),
                 LKS_ERR_UNSUPPORTED, "another disk");
}

static lks_status_t read_b(size_t limit)
{
    const unsigned char *data;
    void *owned = NULL;
    lks_status_t status = lks_zip_read(&zip, lks_zip_find(&zip, "b", 1), limit, &data, &owned);
    free(owned);
    return status;
}

Test(zip_read, a_wrong_checksum_is_corrupt)
{
    assert_ok(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1, .wrong_crc = 1}));
    assert_fails(read_b(100), LKS_ERR_CORRUPT, "CRC-32 is 8cdc1683, the archive says 8cdc1684");
    lks_zip_close(&zip);
    assert_ok(open_with((test_record_t){
        .name = "b", .data = "xxxx", .nbytes = 4, .wrong_crc = 1, .deflate = true}));
    assert_fails(read_b(100), LKS_ERR_CORRUPT, "record 'b' is unusable: CRC-32 is");
}

Test(zip_read, deflated_bytes_that_lie_are_corrupt)
{
    char zeros[5000] = {0};
    test_record_t record = {
        .name = "b", .data = zeros, .nbytes = sizeof zeros, .deflate = true, .descriptor = true};
    record.wrong_size = 1;
    assert_ok(open_with(record));
    assert_fails(read_b(SIZE_MAX), LKS_ERR_CORRUPT, "deflated bytes");
    lks_zip_close(&zip);
    record.wrong_size = (uint32_t)-1;
    assert_ok(open_with(record));
    assert_fails(read_b(SIZE_MAX), LKS_ERR_CORRUPT, "deflated bytes do not give the 4999");
    lks_zip_close(&zip);
    record.wrong_size = 0;
    assert_ok(open_with(record));
    archive.data[36 + 31] = (char)0xff; /* an impossible block type */
    assert_fails(read_b(SIZE_MAX), LKS_ERR_CORRUPT, "cannot be inflated");
}

Test(zip_read, a_zip_bomb_stops_at_the_limit)
{
    char zeros[5000] = {0};
    assert_ok(open_with(
        (test_record_t){.name = "b", .data = zeros, .nbytes = sizeof zeros, .deflate = true}));
    assert_fails(read_b(4999), LKS_ERR_FORMAT, "inflates to 5000 bytes, over the limit of 4999");
    assert_ok(read_b(5000));
}

Test(zip_read, end_records_that_lie_are_refused)
{
    assert_ok(open_with((test_record_t){.name = "b", .data = "x", .nbytes = 1}));
    lks_zip_close(&zip);
    unsigned char *end = (unsigned char *)archive.data + archive.length - 22;
    static const struct {
        int at;
        unsigned char xor ;
        lks_status_t status;
        const char *message;
    } cases[] = {
        {0, 1, LKS_ERR_FORMAT, "no end record"},
        {4, 1, LKS_ERR_UNSUPPORTED, "several disks"},
        {8, 1, LKS_ERR_UNSUPPORTED, "several disks"},
        {12, 1, LKS_ERR_FORMAT, "directory"},
        {15, 1, LKS_ERR_FORMAT, "does not end before"},
        {16, 1, LKS_ERR_FORMAT, "directory"},
        {19, 0x80, LKS_ERR_FORMAT, "does not end before"},
        {20, 1, LKS_ERR_FORMAT, "no end record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        end[cases[i].at] ^= cases[i].xor ;
        assert_fails(open_zip(), cases[i].status, cases[i].message);
        end[cases[i].at] ^= cases[i].xor ;
    }
    end[8] = end[10] = 0xff;
    assert_fails(open_zip(), LKS_ERR_FORMAT, "255 records do not fit");
    end[8] = end[10] = 1;
    assert_fails(open_zip(), LKS_ERR_FORMAT, "bytes too many");
}
