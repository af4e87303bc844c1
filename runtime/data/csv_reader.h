/* SPDX-License-Identifier: Apache-2.0 */
/* csv_reader.h - cuts CSV text into rows of cells (RFC 4180), in one pass over a fixed buffer.
 * A row ends with LF, CRLF or the end of the file. A cell that starts with " lasts until the next single ";
 * "" inside is one ", and commas and line ends inside belong to it. A " later in a cell is an ordinary
 * character. Empty lines are no rows. A byte-order mark is skipped. Blanks belong to their cell. */
#ifndef LOCKSTEP_RUNTIME_DATA_CSV_READER_H
#define LOCKSTEP_RUNTIME_DATA_CSV_READER_H

#include "core/strbuf.h"
#include "runtime/data/input.h"

#include <stdbool.h>
#include <stdint.h>

/** More text than this in one row is an error: most likely a quote that is never closed. */
#define LKS_CSV_ROW_MAX ((size_t)64 << 20)

/** One row, its memory used again by the next. Zeroed is empty. */
typedef struct lks_csv_row {
    lks_strbuf_t text; /* the cells, a zero behind each; none within */
    size_t *starts;    /* (count + 1) into text */
    size_t count, capacity;
    int64_t line; /* where it starts, from 1 */
} lks_csv_row_t;

void lks_csv_row_fini(lks_csv_row_t *row);

static inline const char *lks_csv_cell(const lks_csv_row_t *row, size_t column)
{
    return row->text.data + row->starts[column];
}

static inline size_t lks_csv_cell_length(const lks_csv_row_t *row, size_t column)
{
    return row->starts[column + 1] - row->starts[column] - 1;
}

typedef struct lks_csv_reader {
    lks_input_t input;
    unsigned char *buffer; /* at..end is not read yet */
    const unsigned char *at, *end;
    int64_t line; /* of *at */
} lks_csv_reader_t;

/** `path` must outlive the reader. Errors: as lks_input_open and lks_input_read. */
LKS_NODISCARD lks_status_t lks_csv_reader_open(const char *path, lks_csv_reader_t *out);
void lks_csv_reader_close(lks_csv_reader_t *reader);

/** The next row into *row; *more false at the end of the file.
 *  Errors: as lks_input_read; FORMAT (a zero byte, text behind a closing quote, a quote never closed, a
 *  carriage return alone, a row too long); each names file, line and column. */
LKS_NODISCARD lks_status_t lks_csv_reader_next(lks_csv_reader_t *reader, lks_csv_row_t *row,
                                               bool *more);

#endif
