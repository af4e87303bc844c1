/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_dataset.c - statistics and standardization. */
#include "runtime/data/dataset.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

static lks_dataset_t *open_iris(void)
{
    lks_dataset_t *iris = NULL;
    assert_ok(lks_dataset_open_csv(TEST_DATA_DIR "/iris.csv", NULL, &iris));
    return iris;
}

/* (count, features) of zeros, class 0. */
static lks_dataset_t *make_table(int64_t count, int64_t features)
{
    lks_dataset_t table = {.features = features}, *dataset = NULL;
    assert_ok(lks_dataset_reserve(&table, "test", count));
    memset(table.feature_data, 0, (size_t)(count * features) * sizeof(float));
    memset(table.label_data, 0, (size_t)count * sizeof(int64_t));
    table.count = count;
    assert_ok(lks_dataset_set_classes(&table, "test", 1, NULL));
    assert_ok(lks_dataset_publish(&table, "test", &dataset));
    return dataset;
}

static void assert_near(float found, double wanted, double tolerance)
{
    cr_assert(fabs((double)found - wanted) <= tolerance, "%.9g, wanted %.9g", (double)found,
              wanted);
}

Test(data_dataset, statistics_of_iris_are_those_of_a_standard_scaler)
{
    static const double means[] = {5.843333333333334, 3.0573333333333337, 3.758,
                                   1.1993333333333334};
    static const double deviations[] = {0.8253012917851409, 0.4344109677354946, 1.7594040657753032,
                                        0.7596926279021594};
    lks_dataset_t *iris = open_iris();
    float mean[4], std[4];
    lks_dataset_statistics(iris, NULL, 0, mean, std);
    for (int j = 0; j < 4; j++) {
        assert_near(mean[j], means[j], 3e-7);
        assert_near(std[j], deviations[j], 3e-7);
    }
    lks_dataset_close(iris);
}

Test(data_dataset, statistics_of_a_subset_look_at_no_other_sample)
{
    lks_dataset_t *iris = open_iris();
    static const int64_t indices[] = {149, 0, 50};
    const double mean_wanted = ((double)5.9f + (double)5.1f + (double)7.0f) / 3;
    float mean[4], std[4];
    lks_dataset_statistics(iris, indices, 3, mean, std);
    cr_assert(mean[0] == (float)mean_wanted);
    assert_near(std[0], sqrt((pow(5.9 - 6, 2) + pow(5.1 - 6, 2) + pow(7.0 - 6, 2)) / 3), 1e-6);
    lks_dataset_close(iris);
}

Test(data_dataset, a_feature_that_never_changes_has_deviation_one)
{
    lks_dataset_t *dataset = make_table(1000, 2);
    for (int64_t i = 0; i < 1000; i++) {
        dataset->feature_data[2 * i] = 0.1f;
        dataset->feature_data[2 * i + 1] = 16777216.0f + (i % 2 ? 2.0f : 0.0f);
    }
    float mean[2], std[2];
    lks_dataset_statistics(dataset, NULL, 0, mean, std);
    cr_assert(mean[0] == 0.1f && std[0] == 1.0f);
    cr_assert(std[1] == 1.0f); /* a deviation of 1 beside a mean of 2^24 is not lost */
    lks_dataset_standardize(dataset, mean, std);
    cr_assert(dataset->feature_data[0] == 0.0f);
    lks_dataset_close(dataset);
}

Test(data_dataset, wide_tables_are_worked_off_in_blocks)
{
    const int64_t features = 64 + 64 + 3;
    lks_dataset_t *dataset = make_table(3, features);
    for (int64_t i = 0; i < 3 * features; i++) {
        dataset->feature_data[i] = (float)(i % features) * (float)(i / features);
    }
    float *mean = calloc((size_t)features, sizeof *mean),
          *std = calloc((size_t)features, sizeof *std);
    cr_assert(mean && std);
    lks_dataset_statistics(dataset, NULL, 0, mean, std);
    for (int64_t j = 0; j < features; j++) { /* 0, j, 2j */
        cr_assert(mean[j] == (float)j);
        assert_near(std[j], j ? (double)j * sqrt(2.0 / 3) : 1, 1e-5);
    }
    free(mean);
    free(std);
    lks_dataset_close(dataset);
}

Test(data_dataset, standardizing_gives_mean_zero_and_deviation_one)
{
    lks_dataset_t *iris = open_iris();
    float mean[4], std[4], first = lks_dataset_feature_data(iris)[0];
    lks_dataset_statistics(iris, NULL, 0, mean, std);
    lks_dataset_standardize(iris, mean, std);
    cr_assert(lks_dataset_feature_data(iris)[0] == (first - mean[0]) / std[0]);
    lks_dataset_statistics(iris, NULL, 0, mean, std);
    for (int j = 0; j < 4; j++) {
        assert_near(mean[j], 0, 1e-6);
        assert_near(std[j], 1, 1e-6);
    }
    lks_dataset_close(iris);
}

Test(data_dataset, closing_nothing_does_nothing)
{
    lks_dataset_close(NULL);
}
