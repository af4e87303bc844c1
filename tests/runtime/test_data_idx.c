/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_idx.c - images and labels in IDX format, good ones and bad ones. */
#include "support/support.h"

#include <lockstep/data.h>
#include <stdlib.h>
#include <zlib.h>

/* Two images of 2 x 3 pixels. */
static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0,  2,  0,   0,  0, 2,   0, 0,
                                       0, 3, 0, 1, 2, 3, 51, 85, 102, 17, 5, 255, 9, 8};
static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 3};

static const char *write_plain(const char *name, const void *data, size_t nbytes)
{
    const char *path = test_temp_path(name);
    test_write_file(path, data, nbytes);
    return path;
}

static const char *write_gzip(const char *name, const void *data, size_t nbytes)
{
    const char *path = test_temp_path(name);
    gzFile file = gzopen(path, "wb");
    cr_assert(file);
    cr_assert_eq(gzwrite(file, data, (unsigned)nbytes), (int)nbytes);
    cr_assert_eq(gzclose(file), Z_OK);
    return path;
}

static void assert_two_images(const char *image_path, const char *label_path)
{
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_idx(image_path, label_path, &dataset));
    cr_assert_eq(lks_dataset_count(dataset), 2);
    cr_assert_eq(lks_dataset_features(dataset), 6);
    cr_assert_eq(lks_dataset_classes(dataset), 8);
    cr_assert_eq(lks_dataset_targets(dataset), 0);
    cr_assert_eq(lks_dataset_label_data(dataset)[0], 7);
    cr_assert_eq(lks_dataset_label_data(dataset)[1], 3);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 7), "7");
    cr_assert_null(lks_dataset_class_name(dataset, 8));
    for (size_t i = 0; i < 12; i++) {
        cr_assert(lks_dataset_feature_data(dataset)[i] == (float)images[16 + i] / 255.0f);
    }
    lks_dataset_close(dataset);
}

Test(data_idx, plain_and_gzipped_files_read_alike)
{
    assert_two_images(write_plain("images", images, sizeof images),
                      write_plain("labels", labels, sizeof labels));
    assert_two_images(write_gzip("images.gz", images, sizeof images),
                      write_gzip("labels.gz", labels, sizeof labels));
    assert_two_images(test_temp_path("images"), test_temp_path("labels.gz"));
}

static void assert_bad(const char *image_path, const char *label_path, lks_status_t status,
                       const char *culprit, const char *sentence)
{
    lks_dataset_t *dataset = NULL;
    assert_fails(lks_dataset_open_idx(image_path, label_path, &dataset), status, sentence);
    cr_assert(strstr(lks_last_error()->message, culprit), "'%s' is not in '%s'", culprit,
              lks_last_error()->message);
    cr_assert_null(dataset);
}

Test(data_idx, bad_images_get_a_sentence)
{
    static const struct {
        unsigned char head[16];
        size_t nbytes; /* of head, then of pixels behind it */
        const char *sentence;
    } cases[] = {
        {{0}, 0, "the header wants 16 bytes, the file has 0"},
        {{0, 0}, 2, "the header wants 16 bytes, the file has 2"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2}, 12, "the header wants 16 bytes, the file has 12"},
        {{0, 0, 8, 1, 0, 0, 0, 2},
         16,
         "the magic number is 0x00000801, IDX images have 0x00000803"},
        {{0, 0, 13, 3}, 16, "the magic number is 0x00000d03"},
        {{3, 8, 0, 0}, 16, "the magic number is 0x03080000"},
        {{0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 3}, 16, "0 samples of 6 bytes"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3}, 16, "2 samples of 0 bytes"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3},
         27,
         "2 samples of 6 bytes, but the file ends in number 2"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3},
         16,
         "2 samples of 6 bytes, but the file ends in number 1"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3}, 29, "more bytes behind the 2 samples"},
        {{0, 0, 8, 3, 0, 0, 0, 200, 0, 0, 0, 2, 0, 0, 0, 3},
         28,
         "200 samples of 6 bytes, more than a file of this size can hold"},
        {{0, 0, 8, 3, 0, 0, 0, 2, 255, 255, 255, 255, 255, 255, 255, 255}, 28, "overflows"},
        {{0, 0, 8, 3, 255, 255, 255, 255, 127, 255, 255, 255, 255, 255, 255, 255},
         28,
         "more than a file of this size can hold"},
    };
    unsigned char bytes[64] = {0};
    const char *label_path = write_plain("labels", labels, sizeof labels);
    const char *path = test_temp_path("bad");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bytes, cases[i].head, sizeof cases[i].head);
        test_write_file(path, bytes, cases[i].nbytes);
        assert_bad(path, label_path, LKS_ERR_FORMAT, path, cases[i].sentence);
    }
}

Test(data_idx, a_compressed_header_is_not_believed_either)
{
    static const unsigned char huge[] = {0, 0, 8, 3, 0, 255, 255, 255, 0, 0, 1, 0, 0, 0, 1, 0};
    assert_bad(write_gzip("huge.gz", huge, sizeof huge),
               write_plain("labels", labels, sizeof labels), LKS_ERR_FORMAT, "huge.gz",
               "more than a file of this size can hold");
}

Test(data_idx, bad_labels_get_a_sentence)
{
    const char *image_path = write_plain("images", images, sizeof images);
    static const unsigned char one[] = {0, 0, 8, 1, 0, 0, 0, 1, 7};
    static const unsigned char more[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 3, 0};
    assert_bad(image_path, image_path, LKS_ERR_FORMAT, "images",
               "the magic number is 0x00000803, IDX labels have 0x00000801");
    assert_bad(image_path, write_plain("one", one, sizeof one), LKS_ERR_FORMAT, "one",
               "has 1 labels");
    assert_bad(image_path, write_plain("more", more, sizeof more), LKS_ERR_FORMAT, "more",
               "more bytes behind the 2 samples");
}

Test(data_idx, missing_files_and_folders)
{
    const char *image_path = write_plain("images", images, sizeof images);
    assert_bad("/nowhere/i", "/nowhere/l", LKS_ERR_IO, "/nowhere/i", "No such file");
    assert_bad(image_path, "/nowhere/l", LKS_ERR_IO, "/nowhere/l", "No such file");
    assert_bad("/", image_path, LKS_ERR_IO, "reading '/'", "Is a directory");
}

/* A gzip file of pixels, large and random enough to span several buffers. */
static unsigned char *large_gzip(size_t *nbytes)
{
    const size_t total = 16 + 400 * 28 * 28;
    unsigned char *data = calloc(total, 1);
    cr_assert(data);
    const unsigned char head[] = {0, 0, 8, 3, 0, 0, 1, 144, 0, 0, 0, 28, 0, 0, 0, 28};
    memcpy(data, head, sizeof head);
    uint32_t state = 1;
    for (size_t i = 16; i < total; i++) {
        state = state * 1664525u + 1013904223u;
        data[i] = (unsigned char)(state >> 24);
    }
    const char *path = write_gzip("large.gz", data, total);
    free(data);
    return test_read_file(path, nbytes);
}

Test(data_idx, a_damaged_gzip_stream_is_told_from_one_cut_off)
{
    unsigned char many[8 + 400] = {0, 0, 8, 1, 0, 0, 1, 144};
    const char *label_path = write_plain("labels", many, sizeof many);
    size_t nbytes;
    unsigned char *file = large_gzip(&nbytes);
    const char *path = test_temp_path("bad.gz");

    test_write_file(path, file, nbytes);
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_idx(path, label_path, &dataset));
    lks_dataset_close(dataset);

    test_write_file(path, file, nbytes / 2);
    assert_bad(path, label_path, LKS_ERR_FORMAT, path, "the gzip stream is cut off");
    test_write_file(path, file, nbytes - 3); /* within checksum and size */
    assert_bad(path, label_path, LKS_ERR_FORMAT, path, "the gzip stream is cut off");
    file[nbytes - 6] ^= 1; /* the checksum */
    test_write_file(path, file, nbytes);
    assert_bad(path, label_path, LKS_ERR_CORRUPT, path, "damaged (incorrect data check)");
    file[nbytes - 6] ^= 1;
    file[nbytes / 2] ^= 0x10; /* the data */
    test_write_file(path, file, nbytes);
    assert_bad(path, label_path, LKS_ERR_CORRUPT, path, "the gzip stream is damaged");
    free(file);
}
