/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_open.c - data sets by name. */
#include "support/support.h"

#include <lockstep/data.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two images of one pixel; the name of a file does not say whether it is compressed. */
static const unsigned char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6};
static const unsigned char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 1, 0};

static const char *write_file(const char *name, const void *data, size_t nbytes)
{
    const char *path = test_temp_path(name);
    test_write_file(path, data, nbytes);
    return path;
}

Test(data_open, a_folder_with_the_four_files)
{
    (void)write_file("train-images-idx3-ubyte.gz", images, sizeof images);
    (void)write_file("train-labels-idx1-ubyte", labels, sizeof labels);
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open(test_temp_dir(), LKS_SPLIT_TRAIN, NULL, &dataset));
    cr_assert_eq(lks_dataset_count(dataset), 2);
    lks_dataset_close(dataset);
    dataset = NULL;
    assert_fails(lks_dataset_open(test_temp_dir(), LKS_SPLIT_TEST, NULL, &dataset),
                 LKS_ERR_NOT_FOUND,
                 "has neither t10k-images-idx3-ubyte.gz nor t10k-images-idx3-ubyte");
    cr_assert(strstr(lks_last_error()->message, test_temp_dir()));
    cr_assert_null(dataset);
}

Test(data_open, a_known_name_is_looked_up_under_the_data_directory)
{
    const char *dir = test_temp_path("mnist");
    cr_assert_eq(mkdir(dir, 0777), 0);
    const char *image_path = write_file("mnist/t10k-images-idx3-ubyte", images, sizeof images);
    const char *label_path = write_file("mnist/t10k-labels-idx1-ubyte", labels, sizeof labels);
    cr_assert_eq(setenv("LOCKSTEP_DATA_DIR", test_temp_dir(), 1), 0);
    lks_dataset_t *dataset = NULL;
    lks_status_t found = lks_dataset_open("mnist", LKS_SPLIT_TEST, NULL, &dataset);
    (void)unlink(image_path);
    (void)unlink(label_path);
    (void)rmdir(dir);
    assert_ok(found);
    cr_assert_eq(lks_dataset_count(dataset), 2);
    lks_dataset_close(dataset);

    assert_fails(lks_dataset_open("fashion-mnist", LKS_SPLIT_TRAIN, NULL, &dataset),
                 LKS_ERR_NOT_FOUND, "apt install dataset-fashion-mnist");
    cr_assert(strstr(lks_last_error()->message, test_temp_dir()));
}

Test(data_open, a_csv_file_has_one_split)
{
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open(TEST_DATA_DIR "/iris.csv", LKS_SPLIT_TRAIN, NULL, &dataset));
    cr_assert_eq(lks_dataset_count(dataset), 150);
    lks_dataset_close(dataset);
    const lks_csv_options_t options = {.label = "0", .regression = true};
    assert_fails(lks_dataset_open(TEST_DATA_DIR "/iris.csv", LKS_SPLIT_TRAIN, &options, &dataset),
                 LKS_ERR_FORMAT, "column 5: species 'setosa' is not a number");
    assert_ok(lks_dataset_open(TEST_DATA_DIR "/iris.csv", LKS_SPLIT_TEST, NULL, &dataset));
    cr_assert_eq(lks_dataset_count(dataset), 150); /* one table has one split */
    lks_dataset_close(dataset);
}

Test(data_open, an_unknown_name)
{
    lks_dataset_t *dataset = NULL;
    assert_fails(lks_dataset_open("fashion", LKS_SPLIT_TRAIN, NULL, &dataset), LKS_ERR_NOT_FOUND,
                 "no data set 'fashion'");
    assert_fails(lks_dataset_open(TEST_DATA_DIR "/iris.csv/x", LKS_SPLIT_TRAIN, NULL, &dataset),
                 LKS_ERR_IO, "Not a directory");
    assert_fails(lks_dataset_open("mnist", (lks_split_t)2, NULL, &dataset), LKS_ERR_INVALID_ARG,
                 "no split 2");
}

Test(data_open, fashion_mnist)
{
    (void)unsetenv("LOCKSTEP_DATA_DIR");
    if (access("/usr/share/datasets/fashion-mnist", F_OK) != 0) {
        cr_skip_test("Debian's dataset-fashion-mnist is not installed");
    }
    static const struct {
        lks_split_t split;
        int64_t count, pixels; /* sum of all bytes */
        int64_t first[4];
    } cases[] = {
        {LKS_SPLIT_TRAIN, 60000, 3431114169, {9, 0, 0, 3}},
        {LKS_SPLIT_TEST, 10000, 573469082, {9, 2, 1, 1}},
    };
    for (size_t i = 0; i < 2; i++) {
        lks_dataset_t *dataset = NULL;
        assert_ok(lks_dataset_open("fashion-mnist", cases[i].split, NULL, &dataset));
        cr_assert_eq(lks_dataset_count(dataset), cases[i].count);
        cr_assert_eq(lks_dataset_features(dataset), 784);
        cr_assert_eq(lks_dataset_classes(dataset), 10);
        cr_assert_eq(memcmp(lks_dataset_label_data(dataset), cases[i].first, 32), 0);
        int64_t sizes[10] = {0}, pixels = 0;
        for (int64_t k = 0; k < cases[i].count; k++) {
            sizes[lks_dataset_label_data(dataset)[k]]++;
        }
        for (int64_t k = 0; k < cases[i].count * 784; k++) {
            pixels += (int64_t)(lks_dataset_feature_data(dataset)[k] * 255.0f + 0.5f);
        }
        for (int c = 0; c < 10; c++) {
            cr_assert_eq(sizes[c], cases[i].count / 10);
        }
        cr_assert_eq(pixels, cases[i].pixels, "pixels add up to %lld", (long long)pixels);
        lks_dataset_close(dataset);
    }
}
