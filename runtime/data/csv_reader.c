/* SPDX-License-Identifier: Apache-2.0 */
/* csv_reader.c - next -> read_cell -> read_quoted or read_plain, on top of peek, which refills the buffer. */
#include "runtime/data/csv_reader.h"
#include "core/checked.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE ((size_t)64 << 10)
#define END (-1)

lks_status_t lks_csv_reader_open(const char *path, lks_csv_reader_t *out)
{
    lks_csv_reader_t reader = {.line = 1};
    LKS_TRY(lks_input_open(path, &reader.input));
    reader.buffer = malloc(BUFFER_SIZE);
    if (!reader.buffer) {
        lks_input_close(&reader.input);
        return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", path);
    }
    size_t got;
    lks_status_t status = lks_input_read(&reader.input, reader.buffer, BUFFER_SIZE, &got);
    if (status != LKS_OK) {
        lks_csv_reader_close(&reader);
        return status;
    }
    reader.at = reader.buffer;
    reader.end = reader.buffer + got;
    if (got >= 3 && memcmp(reader.buffer, "\xef\xbb\xbf", 3) == 0) {
        reader.at += 3; /* the byte-order mark */
    }
    *out = reader;
    return LKS_OK;
}

void lks_csv_reader_close(lks_csv_reader_t *reader)
{
    lks_input_close(&reader->input);
    free(reader->buffer);
    *reader = (lks_csv_reader_t){0};
}

void lks_csv_row_fini(lks_csv_row_t *row)
{
    lks_strbuf_fini(&row->text);
    free(row->starts);
    *row = (lks_csv_row_t){0};
}

static lks_status_t refill(lks_csv_reader_t *reader)
{
    size_t got;
    LKS_TRY(lks_input_read(&reader->input, reader->buffer, BUFFER_SIZE, &got));
    reader->at = reader->buffer;
    reader->end = reader->buffer + got;
    return LKS_OK;
}

/* The next byte, not taken; END at the end of the file. */
static lks_status_t peek(lks_csv_reader_t *reader, int *out)
{
    if (reader->at == reader->end) {
        LKS_TRY(refill(reader));
    }
    *out = reader->at < reader->end ? *reader->at : END;
    return LKS_OK;
}

static lks_status_t fail_at(const lks_csv_reader_t *reader, const lks_csv_row_t *row,
                            const char *what)
{
    return lks_fail(LKS_ERR_FORMAT, "reading '%s': line %lld, column %zu: %s", reader->input.path,
                    (long long)row->line, row->count + 1, what);
}

static lks_status_t append(const lks_csv_reader_t *reader, lks_csv_row_t *row, const void *data,
                           size_t nbytes)
{
    if (nbytes > LKS_CSV_ROW_MAX - row->text.length) {
        return fail_at(reader, row, "the row is longer than 64 MiB; is a quote not closed?");
    }
    lks_strbuf_append(&row->text, data, nbytes);
    if (!lks_strbuf_ok(&row->text)) {
        return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", reader->input.path);
    }
    return LKS_OK;
}

/* Records that a cell starts (or the last one ended) where the text now ends. */
static lks_status_t mark(const lks_csv_reader_t *reader, lks_csv_row_t *row, size_t cell)
{
    if (cell == row->capacity) {
        size_t capacity =
            cell ? cell * 2 : 16; /* a cell has a byte of text, so this is bounded too */
        size_t *starts = realloc(row->starts, capacity * sizeof *starts);
        if (!starts) {
            return lks_fail(LKS_ERR_NO_MEMORY, "reading '%s': out of memory", reader->input.path);
        }
        row->starts = starts;
        row->capacity = capacity;
    }
    row->starts[cell] = row->text.length;
    return LKS_OK;
}

/* Up to the next comma or line end, which stays. */
static lks_status_t read_plain(lks_csv_reader_t *reader, lks_csv_row_t *row)
{
    for (;;) {
        int c;
        LKS_TRY(peek(reader, &c));
        const unsigned char *start = reader->at, *p = start;
        while (p < reader->end && *p != ',' && *p != '\n' && *p != '\r' && *p != '\0') {
            p++;
        }
        LKS_TRY(append(reader, row, start, (size_t)(p - start)));
        reader->at = p;
        if (c == END || p < reader->end) {
            return LKS_OK;
        }
    }
}

/* Appends up to the next quote or zero byte, which stays; counts lines. */
static lks_status_t read_quoted_piece(lks_csv_reader_t *reader, lks_csv_row_t *row)
{
    const unsigned char *start = reader->at, *p = start;
    while (p < reader->end && *p != '"' && *p != '\0') {
        reader->line += *p == '\n';
        p++;
    }
    LKS_TRY(append(reader, row, start, (size_t)(p - start)));
    reader->at = p;
    return LKS_OK;
}

/* From behind the opening quote to behind the closing one. */
static lks_status_t read_quoted(lks_csv_reader_t *reader, lks_csv_row_t *row)
{
    for (;;) {
        LKS_TRY(read_quoted_piece(reader, row));
        int c;
        LKS_TRY(peek(reader, &c));
        if (c == END) {
            return fail_at(reader, row, "the quote is never closed");
        }
        if (c == '\0') {
            return LKS_OK; /* refused by finish_cell */
        }
        if (c != '"') {
            continue;
        }
        reader->at++;
        LKS_TRY(peek(reader, &c));
        if (c != '"') {
            return LKS_OK;
        }
        LKS_TRY(append(reader, row, "\"", 1));
        reader->at++;
    }
}

/* Where *c is a carriage return: takes it, and wants a line feed behind it. */
static lks_status_t take_return(lks_csv_reader_t *reader, const lks_csv_row_t *row, int *c)
{
    if (*c != '\r') {
        return LKS_OK;
    }
    reader->at++;
    LKS_TRY(peek(reader, c));
    if (*c != '\n') {
        return fail_at(reader, row, "a carriage return without a line feed");
    }
    return LKS_OK;
}

/* Takes what ends a cell: *last tells whether the row ends too. */
static lks_status_t finish_cell(lks_csv_reader_t *reader, lks_csv_row_t *row, bool *last)
{
    int c;
    LKS_TRY(peek(reader, &c));
    LKS_TRY(take_return(reader, row, &c));
    switch (c) {
    case ',': reader->at++; break;
    case '\n':
        reader->at++;
        reader->line++;
        break;
    case END: break;
    case '\0': return fail_at(reader, row, "a zero byte; the file is binary or UTF-16, not CSV");
    default: return fail_at(reader, row, "text behind the closing quote");
    }
    *last = c != ',';
    LKS_TRY(append(reader, row, "", 1)); /* the cell's zero */
    row->count++;
    return mark(reader, row, row->count);
}

static lks_status_t read_cell(lks_csv_reader_t *reader, lks_csv_row_t *row, bool *last)
{
    int c;
    LKS_TRY(peek(reader, &c));
    if (c == '"') {
        reader->at++;
        LKS_TRY(read_quoted(reader, row));
    } else {
        LKS_TRY(read_plain(reader, row));
    }
    return finish_cell(reader, row, last);
}

/* Takes empty lines; *c is the byte behind them. */
static lks_status_t skip_empty_lines(lks_csv_reader_t *reader, lks_csv_row_t *row, int *c)
{
    LKS_TRY(peek(reader, c));
    while (*c == '\n' || *c == '\r') {
        row->line = reader->line;
        LKS_TRY(take_return(reader, row, c));
        reader->at++;
        reader->line++;
        LKS_TRY(peek(reader, c));
    }
    return LKS_OK;
}

lks_status_t lks_csv_reader_next(lks_csv_reader_t *reader, lks_csv_row_t *row, bool *more)
{
    lks_strbuf_clear(&row->text);
    row->count = 0;
    int c;
    LKS_TRY(skip_empty_lines(reader, row, &c));
    if (c == END) {
        *more = false;
        return LKS_OK;
    }
    row->line = reader->line;
    LKS_TRY(mark(reader, row, 0));
    for (bool last = false; !last;) {
        LKS_TRY(read_cell(reader, row, &last));
    }
    *more = true;
    return LKS_OK;
}
