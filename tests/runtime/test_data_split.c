/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_split.c - training and validation parts. */
#include "runtime/data/dataset.h"
#include "support/support.h"

#include <math.h>

#define COUNT_MAX 200

typedef struct parts {
    int64_t train[COUNT_MAX], validation[COUNT_MAX];
    int64_t train_count, validation_count;
} parts_t;

static parts_t split(const lks_dataset_t *dataset, double fraction, uint64_t seed)
{
    parts_t parts;
    assert_ok(lks_dataset_split(dataset, fraction, seed, parts.train, &parts.train_count,
                                parts.validation, &parts.validation_count));
    return parts;
}

/* Both ascending, and every sample in exactly one. */
static void assert_partition(const parts_t *parts, int64_t count)
{
    int64_t t = 0, v = 0;
    for (int64_t i = 0; i < count; i++) {
        if (t < parts->train_count && parts->train[t] == i) {
            t++;
        } else {
            cr_assert(v < parts->validation_count && parts->validation[v] == i, "sample %lld",
                      (long long)i);
            v++;
        }
    }
    cr_assert(t == parts->train_count && v == parts->validation_count);
}

static int64_t of_class(const lks_dataset_t *dataset, const int64_t *samples, int64_t count,
                        int64_t label)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++) {
        n += dataset->label_data[samples[i]] == label;
    }
    return n;
}

/* A data set without features on the test's own stack. */
static lks_dataset_t borrow_labels(int64_t *labels, int64_t count, int64_t classes)
{
    return (lks_dataset_t){.count = count, .classes = classes, .label_data = labels};
}

Test(data_split, iris_is_split_class_by_class)
{
    lks_dataset_t *iris = NULL;
    assert_ok(lks_dataset_open_csv(TEST_DATA_DIR "/iris.csv", NULL, &iris));
    for (uint64_t seed = 0; seed < 10; seed++) {
        parts_t parts = split(iris, 0.2, seed);
        assert_partition(&parts, 150);
        cr_assert_eq(parts.validation_count, 30);
        for (int64_t c = 0; c < 3; c++) {
            cr_assert_eq(of_class(iris, parts.validation, 30, c), 10);
        }
    }
    lks_dataset_close(iris);
}

Test(data_split, every_class_gives_its_rounded_share_and_keeps_one)
{
    int64_t labels[COUNT_MAX], count = 0;
    static const int64_t sizes[] = {1, 2, 3, 7, 40, 0, 100};
    for (int64_t c = 0; c < 7; c++) {
        for (int64_t i = 0; i < sizes[c]; i++) {
            labels[count++] = c;
        }
    }
    const lks_dataset_t dataset = borrow_labels(labels, count, 7);
    static const double fractions[] = {0, 0.01, 0.1, 0.25, 0.5, 0.9, 0.999};
    for (size_t f = 0; f < sizeof fractions / sizeof *fractions; f++) {
        parts_t parts = split(&dataset, fractions[f], 3);
        assert_partition(&parts, count);
        for (int64_t c = 0; c < 7; c++) {
            int64_t wanted = llround(fractions[f] * (double)sizes[c]);
            wanted = wanted == 0 && fractions[f] > 0 ? 1 : wanted;
            wanted = wanted < sizes[c] ? wanted : sizes[c] ? sizes[c] - 1 : 0;
            int64_t given = of_class(&dataset, parts.validation, parts.validation_count, c);
            cr_assert_eq(given, wanted, "class %lld, %g", (long long)c, fractions[f]);
        }
    }
}

Test(data_split, regression_is_split_as_one_class)
{
    const lks_dataset_t dataset = {.count = 103, .targets = 1};
    parts_t parts = split(&dataset, 0.25, 0);
    assert_partition(&parts, 103);
    cr_assert_eq(parts.validation_count, 26);
}

Test(data_split, the_seed_decides)
{
    const lks_dataset_t dataset = {.count = 100, .targets = 1};
    parts_t a = split(&dataset, 0.5, 1), b = split(&dataset, 0.5, 1), c = split(&dataset, 0.5, 2);
    cr_assert_eq(memcmp(a.validation, b.validation, 50 * sizeof(int64_t)), 0);
    cr_assert_neq(memcmp(a.validation, c.validation, 50 * sizeof(int64_t)), 0);
}

Test(data_split, every_sample_has_its_turn)
{
    const lks_dataset_t dataset = {.count = 20, .targets = 1};
    int64_t turns[20] = {0};
    for (uint64_t seed = 0; seed < 1000; seed++) {
        parts_t parts = split(&dataset, 0.2, seed);
        for (int64_t i = 0; i < parts.validation_count; i++) {
            turns[parts.validation[i]]++;
        }
    }
    for (int i = 0; i < 20; i++) { /* 200 expected, standard deviation 12.6 */
        cr_assert(turns[i] > 140 && turns[i] < 260, "sample %d: %lld", i, (long long)turns[i]);
    }
}

Test(data_split, one_sample_is_for_training)
{
    const lks_dataset_t dataset = {.count = 1, .targets = 1};
    parts_t parts = split(&dataset, 0.9, 0);
    cr_assert(parts.train_count == 1 && parts.validation_count == 0);
}

Test(data_split, a_fraction_outside_is_refused)
{
    const lks_dataset_t dataset = {.count = 4, .targets = 1};
    static const double bad[] = {-0.1, 1, 1.5, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t train[4] = {7, 7, 7, 7}, validation[4], train_count = -1, validation_count = -1;
        assert_fails(lks_dataset_split(&dataset, bad[i], 0, train, &train_count, validation,
                                       &validation_count),
                     LKS_ERR_INVALID_ARG, "is not in [0, 1)");
        cr_assert(train[0] == 7 && train_count == -1 && validation_count == -1);
    }
}
