/* SPDX-License-Identifier: Apache-2.0 */
/* csv.c - a CSV file as a data set: which row is a header, which column the label, what each cell means.
 * Reading hint: read_table drives; add_row is one row. csv_reader.c cuts text into cells, cell.c reads numbers,
 * class_labels.c numbers the classes. */
#include "runtime/data/cell.h"
#include "runtime/data/class_labels.h"
#include "runtime/data/csv_reader.h"
#include "runtime/data/dataset.h"

#include <string.h>

typedef struct csv_table {
    const char *path;
    lks_csv_options_t options;
    lks_csv_reader_t reader;
    lks_csv_row_t first, row; /* the first row is kept: it may hold the names of the columns */
    bool has_header;
    size_t columns, label_column;
    lks_class_labels_t labels;
    lks_dataset_t table;
} csv_table_t;

lks_csv_options_t lks_csv_options_default(void)
{
    return (lks_csv_options_t){0};
}

/* --- the label column --- */

static bool is_number_cell(const lks_csv_row_t *row, size_t column)
{
    float number;
    lks_cell_kind_t kind =
        lks_cell_float(lks_csv_cell(row, column), lks_csv_cell_length(row, column), &number);
    return kind != LKS_CELL_TEXT && kind != LKS_CELL_EMPTY;
}

static bool is_header(const lks_csv_row_t *row, size_t label_column)
{
    for (size_t i = 0; i < row->count; i++) {
        if (i != label_column && is_number_cell(row, i)) {
            return false;
        }
    }
    return true;
}

/* Columns of the first row called `name`; *column is the first of them. */
static size_t find_name(const csv_table_t *csv, const char *name, size_t *column)
{
    size_t found = 0;
    for (size_t i = csv->columns; i-- > 0;) {
        if (strcmp(lks_csv_cell(&csv->first, i), name) == 0) {
            *column = i;
            found++;
        }
    }
    return found;
}

static lks_status_t choose_numbered(csv_table_t *csv, const char *label, int64_t number)
{
    if (number < 0 || (uint64_t)number >= csv->columns) {
        return lks_fail(LKS_ERR_NOT_FOUND,
                        "reading '%s': no label column %s: there are %zu columns, 0 to %zu",
                        csv->path, label, csv->columns, csv->columns - 1);
    }
    csv->label_column = (size_t)number;
    csv->has_header = is_header(&csv->first, csv->label_column);
    return LKS_OK;
}

/* A name goes before a number: a column may be called "2". */
static lks_status_t choose_label_column(csv_table_t *csv)
{
    const char *label = csv->options.label;
    if (csv->options.unlabelled) {
        csv->label_column = csv->columns; /* none */
        csv->has_header = is_header(&csv->first, csv->label_column);
        return LKS_OK;
    }
    if (!label) {
        csv->label_column = csv->columns - 1;
        csv->has_header = is_header(&csv->first, csv->label_column);
        return LKS_OK;
    }
    size_t column = 0, found = find_name(csv, label, &column);
    int64_t number;
    bool is_number = lks_cell_integer(label, strlen(label), &number);
    if (found > 0 && (!is_number || is_header(&csv->first, column))) {
        if (found > 1) {
            return lks_fail(LKS_ERR_FORMAT,
                            "reading '%s': line %lld: %zu columns are called '%s', one can be "
                            "the label; name it by number",
                            csv->path, (long long)csv->first.line, found, label);
        }
        csv->label_column = column;
        csv->has_header = true;
        return LKS_OK;
    }
    if (is_number) {
        return choose_numbered(csv, label, number);
    }
    return lks_fail(LKS_ERR_NOT_FOUND, "reading '%s': line %lld names no column '%s'", csv->path,
                    (long long)csv->first.line, label);
}

/* --- cells --- */

static const char *cell_problem(lks_cell_kind_t kind)
{
    switch (kind) {
    case LKS_CELL_NOT_FINITE: return "is not finite";
    case LKS_CELL_TOO_LARGE: return "is beyond the range of float32";
    case LKS_CELL_EMPTY: return "is empty; a number is wanted";
    case LKS_CELL_TEXT:
    case LKS_CELL_NUMBER: break;
    }
    return "is not a number";
}

static lks_status_t fail_cell(const csv_table_t *csv, const lks_csv_row_t *row, size_t column,
                              lks_cell_kind_t kind)
{
    char value[LKS_CELL_EXCERPT], name[LKS_CELL_EXCERPT] = "the cell";
    if (csv->has_header) {
        (void)lks_cell_excerpt(lks_csv_cell(&csv->first, column),
                               lks_csv_cell_length(&csv->first, column), name);
    }
    (void)lks_cell_excerpt(lks_csv_cell(row, column), lks_csv_cell_length(row, column), value);
    return lks_fail(LKS_ERR_FORMAT, "reading '%s': line %lld, column %zu: %s '%s' %s", csv->path,
                    (long long)row->line, column + 1, name, value, cell_problem(kind));
}

static lks_status_t read_number(const csv_table_t *csv, const lks_csv_row_t *row, size_t column,
                                float *out)
{
    lks_cell_kind_t kind =
        lks_cell_float(lks_csv_cell(row, column), lks_csv_cell_length(row, column), out);
    return kind == LKS_CELL_NUMBER ? LKS_OK : fail_cell(csv, row, column, kind);
}

/* --- rows --- */

static lks_status_t read_label(csv_table_t *csv, const lks_csv_row_t *row)
{
    lks_dataset_t *table = &csv->table;
    size_t column = csv->label_column;
    if (csv->options.unlabelled) {
        table->label_data[table->count] = 0;
        return LKS_OK;
    }
    if (csv->options.regression) {
        return read_number(csv, row, column, &table->target_data[table->count]);
    }
    return lks_class_labels_add(&csv->labels, lks_csv_cell(row, column),
                                lks_csv_cell_length(row, column), row->line,
                                &table->label_data[table->count]);
}

static lks_status_t add_row(csv_table_t *csv, const lks_csv_row_t *row)
{
    if (row->count != csv->columns) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': line %lld has %zu columns, line %lld has %zu", csv->path,
                        (long long)row->line, row->count, (long long)csv->first.line, csv->columns);
    }
    lks_dataset_t *table = &csv->table;
    LKS_TRY(lks_dataset_reserve(table, csv->path, table->count + 1));
    float *features = table->feature_data + table->count * table->features;
    for (size_t i = 0; i < csv->columns; i++) {
        if (i != csv->label_column) {
            LKS_TRY(read_number(csv, row, i, features++));
        }
    }
    LKS_TRY(read_label(csv, row));
    table->count++;
    return LKS_OK;
}

/* Reads the first row and what follows from it. */
static lks_status_t read_first_row(csv_table_t *csv)
{
    bool more;
    LKS_TRY(lks_csv_reader_next(&csv->reader, &csv->first, &more));
    if (!more) {
        return lks_fail(LKS_ERR_FORMAT, "reading '%s': the file is empty", csv->path);
    }
    csv->columns = csv->first.count;
    bool unlabelled = csv->options.unlabelled;
    if (csv->columns < 2 && !unlabelled) {
        return lks_fail(LKS_ERR_FORMAT,
                        "reading '%s': line %lld has one column; features and a label are wanted, "
                        "separated by commas",
                        csv->path, (long long)csv->first.line);
    }
    LKS_TRY(choose_label_column(csv));
    csv->table.is_table = true;
    csv->table.features = (int64_t)csv->columns - !unlabelled;
    csv->table.targets = csv->options.regression && !unlabelled;
    lks_class_labels_init(&csv->labels, csv->path, csv->label_column + 1);
    return csv->has_header ? LKS_OK : add_row(csv, &csv->first);
}

static lks_status_t read_table(csv_table_t *csv)
{
    LKS_TRY(read_first_row(csv));
    for (;;) {
        bool more;
        LKS_TRY(lks_csv_reader_next(&csv->reader, &csv->row, &more));
        if (!more) {
            break;
        }
        LKS_TRY(add_row(csv, &csv->row));
    }
    if (csv->table.count == 0) {
        return lks_fail(LKS_ERR_FORMAT, "reading '%s': there are no rows under the header",
                        csv->path);
    }
    if (csv->options.regression || csv->options.unlabelled) {
        return LKS_OK;
    }
    return lks_class_labels_finish(&csv->labels, csv->options.classes, csv->options.class_count,
                                   &csv->table);
}

lks_status_t lks_dataset_open_csv(const char *path, const lks_csv_options_t *options,
                                  lks_dataset_t **out)
{
    csv_table_t csv = {.path = path, .options = options ? *options : lks_csv_options_default()};
    LKS_TRY(lks_csv_reader_open(path, &csv.reader));
    lks_status_t status = read_table(&csv);
    if (status == LKS_OK) {
        status = lks_dataset_publish(&csv.table, path, out);
    }
    lks_dataset_fini(&csv.table);
    lks_class_labels_fini(&csv.labels);
    lks_csv_row_fini(&csv.row);
    lks_csv_row_fini(&csv.first);
    lks_csv_reader_close(&csv.reader);
    return status;
}
