/* SPDX-License-Identifier: Apache-2.0 */
/* test_data_csv.c - CSV files as data sets: what is read, and the sentence for what is not. */
#include "support/support.h"

#include <lockstep/data.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <zlib.h>

static const char *write_csv(const void *text, size_t nbytes)
{
    const char *path = test_temp_path("table.csv");
    test_write_file(path, text, nbytes);
    return path;
}

static lks_dataset_t *open_text(const char *text, const lks_csv_options_t *options)
{
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_csv(write_csv(text, strlen(text)), options, &dataset));
    return dataset;
}

static void assert_table(const lks_dataset_t *dataset, int64_t count, int64_t features,
                         const float *data, const int64_t *labels)
{
    cr_assert_eq(lks_dataset_count(dataset), count);
    cr_assert_eq(lks_dataset_features(dataset), features);
    for (int64_t i = 0; i < count * features; i++) {
        cr_assert(lks_dataset_feature_data(dataset)[i] == data[i], "feature %lld is %g",
                  (long long)i, (double)lks_dataset_feature_data(dataset)[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        cr_assert_eq(lks_dataset_label_data(dataset)[i], labels[i]);
    }
}

/* Two rows, (1, 2) of class 0 and (3, 4) of class 1, however they are written. */
static void assert_two_rows(const char *text, const lks_csv_options_t *options)
{
    static const float features[] = {1, 2, 3, 4};
    static const int64_t labels[] = {0, 1};
    lks_dataset_t *dataset = open_text(text, options);
    assert_table(dataset, 2, 2, features, labels);
    cr_assert_eq(lks_dataset_classes(dataset), 2);
    lks_dataset_close(dataset);
}

Test(data_csv, iris)
{
    lks_dataset_t *iris = NULL;
    assert_ok(lks_dataset_open_csv(TEST_DATA_DIR "/iris.csv", NULL, &iris));
    cr_assert_eq(lks_dataset_count(iris), 150);
    cr_assert_eq(lks_dataset_features(iris), 4);
    cr_assert_eq(lks_dataset_classes(iris), 3);
    cr_assert_eq(lks_dataset_targets(iris), 0);
    cr_assert_null(lks_dataset_target_data(iris));
    cr_assert_str_eq(lks_dataset_class_name(iris, 0), "setosa");
    cr_assert_str_eq(lks_dataset_class_name(iris, 1), "versicolor");
    cr_assert_str_eq(lks_dataset_class_name(iris, 2), "virginica");
    cr_assert_null(lks_dataset_class_name(iris, 3));
    cr_assert_null(lks_dataset_class_name(iris, -1));
    static const float last[] = {5.9f, 3.0f, 5.1f, 1.8f};
    cr_assert_eq(memcmp(lks_dataset_feature_data(iris) + 149 * 4, last, sizeof last), 0);
    for (int64_t i = 0; i < 150; i++) {
        cr_assert_eq(lks_dataset_label_data(iris)[i], i / 50);
    }
    lks_dataset_close(iris);
}

Test(data_csv, ways_to_write_the_same_table)
{
    assert_two_rows("a,b,c\n1,2,x\n3,4,y\n", NULL);
    assert_two_rows("1,2,x\n3,4,y\n", NULL);
    assert_two_rows("1,2,x\n3,4,y", NULL);
    assert_two_rows("a,b,c\r\n1,2,x\r\n3,4,y\r\n", NULL);
    assert_two_rows("\xef\xbb\xbf"
                    "a,b,c\n1,2,x\n3,4,y\n",
                    NULL);
    assert_two_rows("\xef\xbb\xbf"
                    "1,2,x\n3,4,y\n",
                    NULL);
    assert_two_rows("a,b,c\n1,2,x\n3,4,y\n\n\r\n\n", NULL);
    assert_two_rows("\n\na,b,c\n\n1,2,x\n\n3,4,y\n", NULL);
    assert_two_rows("\"a\",\"b\",\"c\"\n\"1\",\"2\",\"x\"\n3,4,\"y\"", NULL);
    assert_two_rows("a,b,c\n 1 ,\t2,x\n3, 4,y\n", NULL);
    assert_two_rows(",,c\n1,2,x\n3,4,y\n", NULL);
    assert_two_rows("a,a,c\n1,2,x\n3,4,y\n", NULL); /* nobody asks for the column called a */
}

Test(data_csv, the_label_column_by_name_and_by_number)
{
    lks_csv_options_t options = lks_csv_options_default();
    cr_assert_null(options.label);
    cr_assert_not(options.regression);
    options.label = "c";
    assert_two_rows("c,a,b\nx,1,2\ny,3,4\n", &options);
    assert_two_rows("a,c,b\n1,x,2\n3,y,4\n", &options);
    options.label = "0";
    assert_two_rows("c,a,b\nx,1,2\ny,3,4\n", &options);
    assert_two_rows("x,1,2\ny,3,4\n", &options);
    options.label = "2";
    assert_two_rows("2,a,b\nx,1,2\ny,3,4\n", &options); /* a name goes before a number */
    assert_two_rows("1,2,x\n3,4,y\n", &options);        /* but a row of numbers names nothing */
}

Test(data_csv, a_header_is_a_row_without_a_number_among_its_features)
{
    lks_dataset_t *dataset = open_text("a,b,0\n1,2,0\n3,4,1\n", NULL);
    cr_assert_eq(lks_dataset_count(dataset), 2);
    lks_dataset_close(dataset);
    dataset = open_text("1,2,setosa\n", NULL);
    cr_assert_eq(lks_dataset_count(dataset), 1);
    lks_dataset_close(dataset);
}

Test(data_csv, quoting)
{
    lks_dataset_t *dataset = open_text("a,b\n"
                                       "1,\"x, \"\"y\"\"\nz\"\n"
                                       "2,\"\"\"\"\r\n"
                                       "3,it's 5\" long\n"
                                       "4,\"plain\"\n",
                                       NULL);
    cr_assert_eq(lks_dataset_count(dataset), 4);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 0), "\"");
    cr_assert_str_eq(lks_dataset_class_name(dataset, 1), "it's 5\" long");
    cr_assert_str_eq(lks_dataset_class_name(dataset, 2), "plain");
    cr_assert_str_eq(lks_dataset_class_name(dataset, 3), "x, \"y\"\nz");
    lks_dataset_close(dataset);
}

Test(data_csv, names_are_numbered_in_byte_order)
{
    static const float features[] = {1, 2, 3, 4, 5, 6};
    static const int64_t labels[] = {4, 2, 0, 3, 1, 2};
    lks_dataset_t *dataset = open_text("1,\xc3\xa9t\xc3\xa9\n2,b\n3,10\n4,ba\n5,B\n6,b\n", NULL);
    assert_table(dataset, 6, 1, features, labels);
    cr_assert_eq(lks_dataset_classes(dataset), 5);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 0), "10");
    cr_assert_str_eq(lks_dataset_class_name(dataset, 4), "\xc3\xa9t\xc3\xa9");
    lks_dataset_close(dataset);
}

Test(data_csv, integer_labels_are_their_values)
{
    static const float features[] = {1, 2, 3, 4};
    static const int64_t labels[] = {2, 0, 1, 2};
    lks_dataset_t *dataset = open_text("1,2\n2,0\n3, 01\n4,+2\n", NULL);
    assert_table(dataset, 4, 1, features, labels);
    cr_assert_eq(lks_dataset_classes(dataset), 3);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 1), "1");
    lks_dataset_close(dataset);

    /* 10 comes behind 9, not behind 1 */
    char text[128];
    int n = 0;
    for (int i = 10; i >= 0; i--) {
        n += snprintf(text + n, sizeof text - (size_t)n, "1,%d\n", i);
    }
    dataset = open_text(text, NULL);
    cr_assert_eq(lks_dataset_label_data(dataset)[0], 10);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 10), "10");
    lks_dataset_close(dataset);
}

Test(data_csv, one_class_is_a_data_set)
{
    lks_dataset_t *dataset = open_text("1,x\n2,x\n", NULL);
    cr_assert_eq(lks_dataset_classes(dataset), 1);
    lks_dataset_close(dataset);
}

Test(data_csv, regression_reads_a_target)
{
    const lks_csv_options_t options = {.label = "y", .regression = true};
    lks_dataset_t *dataset = open_text("a,y,b\n1,0.5,2\n3,-1e3,4\n", &options);
    cr_assert_eq(lks_dataset_targets(dataset), 1);
    cr_assert_eq(lks_dataset_classes(dataset), 0);
    cr_assert_null(lks_dataset_label_data(dataset));
    cr_assert_null(lks_dataset_class_name(dataset, 0));
    cr_assert(lks_dataset_target_data(dataset)[0] == 0.5f);
    cr_assert(lks_dataset_target_data(dataset)[1] == -1000.0f);
    cr_assert(lks_dataset_feature_data(dataset)[3] == 4.0f);
    lks_dataset_close(dataset);
}

#define COUNTED(text) text, sizeof(text) - 1

Test(data_csv, bad_input_gets_a_sentence_with_line_and_column)
{
    static const struct {
        const char *text;
        size_t nbytes;
        const char *sentence;
    } cases[] = {
        {COUNTED(""), "the file is empty"},
        {COUNTED("\n\n\r\n"), "the file is empty"},
        {COUNTED("\xef\xbb\xbf"), "the file is empty"},
        {COUNTED("a,b,c\n"), "there are no rows under the header"},
        {COUNTED("a\n1\n2\n"), "line 1 has one column"},
        {COUNTED("a;b;c\n1;2;3\n"), "line 1 has one column"},
        {COUNTED("a,b,c\n1,2,x\n3,4\n"), "line 3 has 2 columns, line 1 has 3"},
        {COUNTED("a,b,c\n1,2,x\n\n3,4,y,5\n"), "line 4 has 4 columns, line 1 has 3"},
        {COUNTED("1,2,x\n3,4,y,\n"), "line 2 has 4 columns, line 1 has 3"},
        {COUNTED("a,b,c\n1,2,x\n \n"), "line 3 has 1 columns, line 1 has 3"},
        {COUNTED("a,b,c\n1,2,x\n3,four,y\n"), "line 3, column 2: b 'four' is not a number"},
        {COUNTED("1,2,x\n3,four,y\n"), "line 2, column 2: the cell 'four' is not a number"},
        {COUNTED("a,7,c\n1,2,x\n"), "line 1, column 1: the cell 'a' is not a number"},
        {COUNTED("a,b,c\n1,,x\n"), "line 2, column 2: b '' is empty"},
        {COUNTED("a,b,c\n1,\" \",x\n"), "line 2, column 2: b ' ' is empty"},
        {COUNTED("a,b,c\nnan,2,x\n"), "line 2, column 1: a 'nan' is not finite"},
        {COUNTED("a,b,c\n1,-INF,x\n"), "line 2, column 2: b '-INF' is not finite"},
        {COUNTED("nan,nan,x\n"), "line 1, column 1: the cell 'nan' is not finite"},
        {COUNTED("a,b,c\n1,1e400,x\n"), "line 2, column 2: b '1e400' is beyond the range"},
        {COUNTED("a,b,c\n1,2,\n"), "line 2, column 3: the label is empty"},
        {COUNTED("a,b,c\n1,2,  \n"), "line 2, column 3: the label is empty"},
        {COUNTED("a,b,c\n1,2,\xe9t\xe9\n"), "line 2, column 3: the label '?t?' is not UTF-8"},
        {COUNTED("a,b\n1,\"x\n2,y\n"), "line 2, column 2: the quote is never closed"},
        {COUNTED("a,b\n1,\"x\"y\n"), "line 2, column 2: text behind the closing quote"},
        {COUNTED("a,b\n1,\"x\" \n"), "line 2, column 2: text behind the closing quote"},
        {COUNTED("a,b\r1,x\r2,y\r"), "line 1, column 2: a carriage return without a line feed"},
        {COUNTED("a,b\n\r1,x"), "line 2, column 1: a carriage return without a line feed"},
        {COUNTED("a,b\n1,x\0y\n"), "line 2, column 2: a zero byte"},
        {COUNTED("\xff\xfe"
                 "a\0,\0b\0"),
         "line 1, column 1: a zero byte"},
        {COUNTED("a,b\n\"1\0\",x\n"), "line 2, column 1: a zero byte"},
        {COUNTED("\x7f"
                 "ELF\2\1\1\0\0"),
         "line 1, column 1: a zero byte"},
        {COUNTED("1,-1\n2,0\n3,1\n"), "line 1, column 2: label -1 is negative"},
        {COUNTED("1,0\n2,1\n3,3\n4,3\n"), "line 3, column 2: label 3 where no row has label 2"},
        {COUNTED("a,b\n1,2\n2,1\n"), "line 3, column 2: label 1 where no row has label 0"},
        {COUNTED("1,0\n2,99999999999999999999\n"),
         "line 2, column 2: label 99999999999999999999 where no row has label 1"},
        {COUNTED("a,\"b\nb\"\n1,x\nz,x\n"), "line 4, column 1: a 'z' is not a number"},
    };
    const char *path = test_temp_path("bad.csv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_file(path, cases[i].text, cases[i].nbytes);
        lks_dataset_t *dataset = NULL;
        assert_fails(lks_dataset_open_csv(path, NULL, &dataset), LKS_ERR_FORMAT, cases[i].sentence);
        cr_assert(strstr(lks_last_error()->message, path));
        cr_assert_null(dataset);
    }
}

Test(data_csv, a_target_that_is_no_number)
{
    const lks_csv_options_t options = {.regression = true};
    const char text[] = "a,y\n1,2\n3,nan\n";
    lks_dataset_t *dataset = NULL;
    assert_fails(lks_dataset_open_csv(write_csv(text, sizeof text - 1), &options, &dataset),
                 LKS_ERR_FORMAT, "line 3, column 2: y 'nan' is not finite");
}

Test(data_csv, a_label_column_that_is_not_there)
{
    static const struct {
        const char *text, *label, *sentence;
        lks_status_t status;
    } cases[] = {
        {"a,b,c\n1,2,x\n", "d", "line 1 names no column 'd'", LKS_ERR_NOT_FOUND},
        {"1,2,x\n", "species", "line 1 names no column 'species'", LKS_ERR_NOT_FOUND},
        {"a,b,c\n1,2,x\n", "", "names no column ''", LKS_ERR_NOT_FOUND},
        {"a,b,c\n1,2,x\n", "3", "no label column 3: there are 3 columns, 0 to 2",
         LKS_ERR_NOT_FOUND},
        {"a,b,c\n1,2,x\n", "-1", "no label column -1", LKS_ERR_NOT_FOUND},
        {"a,b,c\n1,2,x\n", "99999999999999999999", "no label column 99", LKS_ERR_NOT_FOUND},
        {"c,b,c\n1,2,x\n", "c", "line 1: 2 columns are called 'c'", LKS_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lks_csv_options_t options = {.label = cases[i].label};
        lks_dataset_t *dataset = NULL;
        const char *path = write_csv(cases[i].text, strlen(cases[i].text));
        assert_fails(lks_dataset_open_csv(path, &options, &dataset), cases[i].status,
                     cases[i].sentence);
    }
}

Test(data_csv, files_that_cannot_be_read)
{
    lks_dataset_t *dataset = NULL;
    assert_fails(lks_dataset_open_csv("/nowhere/a.csv", NULL, &dataset), LKS_ERR_IO,
                 "opening '/nowhere/a.csv': No such file or directory");
    assert_fails(lks_dataset_open_csv("/", NULL, &dataset), LKS_ERR_IO,
                 "reading '/': Is a directory");
}

static void write_gzip(const char *path, const char *text, size_t nbytes, int times)
{
    gzFile file = gzopen(path, "wb1");
    cr_assert(file);
    for (int i = 0; i < times; i++) {
        cr_assert_eq(gzwrite(file, text, (unsigned)nbytes), (int)nbytes);
    }
    cr_assert_eq(gzclose(file), Z_OK);
}

Test(data_csv, a_gzip_file_is_read_as_what_is_in_it)
{
    static const float features[] = {1, 2};
    static const int64_t labels[] = {0, 1};
    const char *path = test_temp_path("table.csv.gz");
    write_gzip(path, "1,x\n2,y\n", 8, 1);
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_csv(path, NULL, &dataset));
    assert_table(dataset, 2, 1, features, labels);
    lks_dataset_close(dataset);
}

Test(data_csv, a_row_without_end_is_refused)
{
    const char *path = test_temp_path("endless.csv.gz");
    static char text[1 << 20];
    memset(text, 'x', sizeof text);
    write_gzip(path, text, sizeof text, 65);
    lks_dataset_t *dataset = NULL;
    assert_fails(lks_dataset_open_csv(path, NULL, &dataset), LKS_ERR_FORMAT,
                 "line 1, column 1: the row is longer than 64 MiB");
}

Test(data_csv, a_row_may_be_much_longer_than_the_buffer)
{
    const size_t columns = 100000;
    char *text = malloc(columns * 8 + 16);
    cr_assert(text);
    size_t n = 0;
    for (size_t i = 0; i < columns; i++) {
        n += (size_t)sprintf(text + n, i % 3 ? "%zu," : "\"%zu\",", i % 1000);
    }
    n += (size_t)sprintf(text + n, "x\r\n");
    const char *path = write_csv(text, n);
    free(text);
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_csv(path, NULL, &dataset));
    cr_assert_eq(lks_dataset_features(dataset), (int64_t)columns);
    for (size_t i = 0; i < columns; i++) {
        cr_assert(lks_dataset_feature_data(dataset)[i] == (float)(i % 1000));
    }
    lks_dataset_close(dataset);
}

Test(data_csv, many_rows_and_many_classes)
{
    const int rows = 50000;
    char *text = malloc((size_t)rows * 24);
    cr_assert(text);
    size_t n = 0;
    for (int i = 0; i < rows; i++) {
        n += (size_t)sprintf(text + n, "%d,name %05d\n", i, rows - 1 - i);
    }
    const char *path = write_csv(text, n);
    free(text);
    lks_dataset_t *dataset = NULL;
    assert_ok(lks_dataset_open_csv(path, NULL, &dataset));
    cr_assert_eq(lks_dataset_classes(dataset), rows);
    for (int i = 0; i < rows; i++) {
        cr_assert_eq(lks_dataset_label_data(dataset)[i], rows - 1 - i);
    }
    lks_dataset_close(dataset);
}

Test(data_csv, labels_are_numbered_as_a_model_learned_them)
{
    static const char *const names[] = {"setosa", "versicolor", "virginica"};
    lks_csv_options_t options = {.classes = names, .class_count = 3};
    lks_dataset_t *dataset = open_text("x,y\n1,virginica\n2,setosa\n3,virginica\n", &options);
    static const float features[] = {1, 2, 3};
    static const int64_t labels[] = {2, 0, 2};
    assert_table(dataset, 3, 1, features, labels);
    cr_assert_eq(lks_dataset_classes(dataset), 3);
    cr_assert_str_eq(lks_dataset_class_name(dataset, 1), "versicolor");
    lks_dataset_close(dataset);

    static const char *const digits[] = {"0", "1", "2"};
    options.classes = digits;
    dataset = open_text("x,y\n1,2\n2,01\n3,2\n", &options);
    static const int64_t numbers[] = {2, 1, 2};
    assert_table(dataset, 3, 1, features, numbers);
    lks_dataset_close(dataset);

    const char *text = "x,y\n1,2\n2,tulip\n";
    lks_dataset_t *none = NULL;
    assert_fails(lks_dataset_open_csv(write_csv(text, strlen(text)), &options, &none),
                 LKS_ERR_FORMAT,
                 "line 3, column 2: label 'tulip' is none of the model's 3 classes");
    cr_assert_null(none);
}

Test(data_csv, without_labels_every_column_is_a_feature)
{
    const lks_csv_options_t options = {.unlabelled = true};
    lks_dataset_t *dataset = open_text("a,b\n1,2\n3,4\n", &options);
    cr_assert_eq(lks_dataset_count(dataset), 2);
    cr_assert_eq(lks_dataset_features(dataset), 2);
    cr_assert_eq(lks_dataset_classes(dataset), 0);
    cr_assert_eq(lks_dataset_targets(dataset), 0);
    cr_assert(lks_dataset_feature_data(dataset)[3] == 4.0f);
    lks_dataset_close(dataset);
    dataset = open_text("5\n6\n", &options); /* one column will do */
    cr_assert_eq(lks_dataset_count(dataset), 2);
    lks_dataset_close(dataset);
}
