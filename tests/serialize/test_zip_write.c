/* SPDX-License-Identifier: Apache-2.0 */
/* What the writer makes, libzip finds consistent and our reader reads. */
#include "serialize/crc32.h"
#include "serialize/source.h"
#include "serialize/zip_read.h"
#include "serialize/zip_write.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <zip.h>

static const char *path;
static lks_zip_writer_t writer;

static void begin(void)
{
    path = test_temp_path("a.zip");
    writer = (lks_zip_writer_t){0};
    assert_ok(lks_sink_create(path, &writer.sink));
}

static void end(void)
{
    assert_ok(lks_zip_writer_finish(&writer));
    assert_ok(lks_sink_commit(writer.sink, false));
    lks_zip_writer_fini(&writer);
}

TestSuite(zip_write, .init = begin);

static zip_t *open_strictly(void)
{
    int reason = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &reason);
    cr_assert(zip, "libzip: error %d", reason);
    return zip;
}

/* libzip checks the CRC while reading. */
static void assert_libzip_reads(zip_t *zip, const char *name, const void *data, size_t nbytes)
{
    zip_file_t *file = zip_fopen(zip, name, 0);
    cr_assert(file, "%s: %s", name, zip_strerror(zip));
    char *found = malloc(nbytes + 1);
    cr_assert_eq(zip_fread(file, found, nbytes + 1), (zip_int64_t)nbytes);
    cr_assert(memcmp(found, data, nbytes) == 0);
    cr_assert_eq(zip_fclose(file), 0);
    free(found);
}

Test(zip_write, libzip_finds_the_archive_consistent)
{
    static char large[700000]; /* more than the sink's buffer */
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (char)(i * 7 + i / 251);
    }
    static const size_t sizes[] = {0,     1,     63,    64,     65,     4096,   32768,
                                   32769, 65536, 65537, 131072, 262144, 262145, 700000};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char name[32];
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof name, "root/data/%zu", i);
        lks_zip_writer_add(&writer, name, large + i, sizes[i] - (i == COUNT - 1 ? i : 0), NULL);
    }
    end();
    zip_t *zip = open_strictly();
    cr_assert_eq(zip_get_num_entries(zip, 0), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof name, "root/data/%zu", i);
        assert_libzip_reads(zip, name, large + i, sizes[i] - (i == COUNT - 1 ? i : 0));
    }
    cr_assert_eq(zip_close(zip), 0);
}

/* A record whose payload comes from elsewhere, between two others, in an archive behind other bytes. */
Test(zip_write, an_archive_may_begin_anywhere_in_a_file)
{
    static char large[100000];
    memset(large, 'x', sizeof large);
    lks_sink_write(writer.sink, "12345", 5);
    writer.base = 5;
    lks_zip_writer_add(&writer, "r/a", large, sizeof large, NULL);
    assert_ok(lks_zip_writer_begin(&writer, "r/b", 3, lks_crc32(0, "abc", 3)));
    lks_sink_write(writer.sink, "a", 1);
    lks_sink_write(writer.sink, "bc", 2);
    lks_zip_writer_add(&writer, "r/c", "d", 1, NULL);
    end();
    lks_source_t *source;
    lks_zip_t zip;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_zip_open(source->data + 5, source->size - 5, &zip));
    cr_assert_eq(zip.count, 3);
    static const char *const wanted[] = {large, "abc", "d"};
    for (size_t i = 0; i < zip.count; i++) {
        const unsigned char *data;
        void *owned;
        assert_ok(lks_zip_read(&zip, &zip.entries[i], sizeof large, &data, &owned));
        cr_assert_eq(zip.entries[i].data % 64, 0);
        cr_assert_eq(memcmp(data, wanted[i], (size_t)zip.entries[i].size), 0);
    }
    lks_zip_close(&zip);
    lks_source_release(source);
}

Test(zip_write, payloads_lie_at_multiples_of_64)
{
    char name[160] = "r/";
    for (size_t i = 0; i < 130; i++) {
        name[2 + i] = 'x';
        name[3 + i] = '\0';
        lks_zip_writer_add(&writer, name, name, i, NULL);
    }
    end();
    lks_source_t *source;
    lks_zip_t zip;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_zip_open(source->data, source->size, &zip));
    cr_assert_eq(zip.count, 130);
    for (size_t i = 0; i < zip.count; i++) {
        cr_assert_eq(zip.entries[i].data % 64, 0);
        cr_assert_eq(zip.entries[i].size, i);
    }
    lks_zip_close(&zip);
    lks_source_release(source);
}

Test(zip_write, more_than_65535_records_take_zip64)
{
    static size_t numbers[66000];
    char name[32];
    for (size_t i = 0; i < 66000; i++) {
        numbers[i] = i;
        (void)snprintf(name, sizeof name, "r/%zu", i);
        lks_zip_writer_add(&writer, name, &numbers[i], sizeof i, NULL);
    }
    end();
    size_t last = 65999;
    zip_t *zip = open_strictly();
    cr_assert_eq(zip_get_num_entries(zip, 0), 66000);
    assert_libzip_reads(zip, "r/65999", &last, sizeof last);
    cr_assert_eq(zip_close(zip), 0);
    lks_source_t *source;
    lks_zip_t read;
    assert_ok(lks_source_open(path, &source));
    assert_ok(lks_zip_open(source->data, source->size, &read));
    cr_assert_eq(read.count, 66000);
    cr_assert(lks_zip_find(&read, "r/65999", 7));
    lks_zip_close(&read);
    lks_source_release(source);
}

Test(zip_write, an_archive_fits_its_bound)
{
    char name[64], data[100] = {0};
    uint64_t bound = lks_zip_end_bound();
    for (size_t i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "root/%.*s", (int)i,
                       "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        lks_zip_writer_add(&writer, name, data, i, NULL);
        bound += lks_zip_record_bound(strlen(name), i);
    }
    assert_ok(lks_zip_writer_flush(&writer));
    cr_assert_leq(lks_sink_position(writer.sink) + writer.directory.length, bound);
    end();
}

/* Small records, large ones and some of several blocks; all of it with that many threads. */
static unsigned char *write_mixed(const unsigned char *data, size_t threads, size_t *nbytes)
{
    static const size_t sizes[] = {5, 32769, 20000000, 0, 31, 9000000, 100000, 8388608, 8388609, 7};
    lks_sink_set_threads(writer.sink, threads);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "root/data/%zu", i);
        lks_zip_writer_add(&writer, name, data + i, sizes[i], NULL);
        if (i == 6) {
            assert_ok(lks_zip_writer_flush(&writer));
            assert_ok(lks_zip_writer_flush(&writer));
        }
    }
    end();
    return test_read_file(path, nbytes);
}

Test(zip_write, same_records_same_bytes_whatever_the_number_of_threads)
{
    size_t nbytes, total = 20000100;
    unsigned char *data = malloc(total);
    for (size_t i = 0; i < total; i++) {
        data[i] = (unsigned char)(i * 31 + i / 997);
    }
    unsigned char *one = write_mixed(data, 1, &nbytes);
    zip_t *zip = open_strictly();
    assert_libzip_reads(zip, "root/data/2", data + 2, 20000000);
    assert_libzip_reads(zip, "root/data/8", data + 8, 8388609);
    cr_assert_eq(zip_close(zip), 0);
    for (size_t threads = 0; threads < 6; threads++) {
        begin();
        size_t found_nbytes;
        unsigned char *found = write_mixed(data, threads, &found_nbytes);
        cr_assert(found_nbytes == nbytes && memcmp(found, one, nbytes) == 0, "%zu threads",
                  threads);
        free(found);
    }
    free(one);
    free(data);
}
