/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - see trace.h. */
#include "core/thread.h"
#include "core/trace_rows.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPANS_PER_ROW_DEFAULT ((size_t)1 << 18)
#define SPANS_PER_CHUNK ((size_t)1 << 10)

int64_t lks_trace_now(void)
{
    return (int64_t)lks_now_ns();
}

lks_status_t lks_trace_create(size_t spans_per_row, lks_trace_t **out)
{
    lks_trace_t *trace = malloc(sizeof *trace);
    if (!trace) {
        return lks_fail(LKS_ERR_NO_MEMORY, "trace: out of memory");
    }
    *trace = (lks_trace_t){
        .spans_per_row = spans_per_row ? spans_per_row : SPANS_PER_ROW_DEFAULT,
        .origin = lks_trace_now(),
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    lks_arena_init(&trace->names, 4096, 0);
    *out = trace;
    return LKS_OK;
}

static void free_row(lks_trace_row_t *row)
{
    while (row->first) {
        lks_trace_chunk_t *next = row->first->next;
        free(row->first);
        row->first = next;
    }
    free(row);
}

void lks_trace_destroy(lks_trace_t *trace)
{
    if (!trace) {
        return;
    }
    while (trace->rows) {
        lks_trace_row_t *next = trace->rows->next;
        free_row(trace->rows);
        trace->rows = next;
    }
    lks_arena_fini(&trace->names);
    (void)pthread_mutex_destroy(&trace->lock);
    free(trace);
}

/* --- rows and names ----------------------------------------------------------------------------- */

static bool is_before(const lks_trace_row_t *row, int rank, lks_trace_stream_t stream)
{
    return row->rank < rank || (row->rank == rank && row->stream < stream);
}

/* The row, or a new one in its place; NULL if memory ran out. */
static lks_trace_row_t *find_row(lks_trace_t *trace, int rank, lks_trace_stream_t stream)
{
    lks_trace_row_t **at = &trace->rows;
    while (*at && is_before(*at, rank, stream)) {
        at = &(*at)->next;
    }
    if (*at && (*at)->rank == rank && (*at)->stream == stream) {
        return *at;
    }
    lks_trace_row_t *row = malloc(sizeof *row);
    if (row) {
        *row = (lks_trace_row_t){
            .next = *at,
            .rank = rank,
            .stream = stream,
            .step = LKS_TRACE_NO_STEP,
            .room = trace->spans_per_row,
        };
        *at = row;
    }
    return row;
}

lks_status_t lks_trace_row(lks_trace_t *trace, int rank, lks_trace_stream_t stream,
                           lks_trace_row_t **out)
{
    lks_trace_row_t *row = NULL;
    if (trace) {
        (void)pthread_mutex_lock(&trace->lock);
        row = find_row(trace, rank, stream);
        (void)pthread_mutex_unlock(&trace->lock);
        if (!row) {
            return lks_fail(LKS_ERR_NO_MEMORY, "trace: out of memory");
        }
    }
    *out = row;
    return LKS_OK;
}

const char *lks_trace_name(lks_trace_t *trace, const char *format, ...)
{
    char text[256];
    if (!trace) {
        return "";
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)pthread_mutex_lock(&trace->lock);
    const char *name = lks_arena_copy_text(&trace->names, text, strlen(text));
    (void)pthread_mutex_unlock(&trace->lock);
    return name ? name : "?";
}

int64_t lks_trace_origin(const lks_trace_t *trace)
{
    return trace->origin;
}

void lks_trace_set_label(lks_trace_t *trace, const char *text)
{
    (void)snprintf(trace->label, sizeof trace->label, "%s", text);
}

void lks_trace_set_origin(lks_trace_t *trace, int64_t ns)
{
    trace->origin = ns;
}

/* --- spans -------------------------------------------------------------------------------------- */

/* Room for another span; NULL if there is none. */
static lks_trace_span_t *next_span(lks_trace_row_t *row)
{
    lks_trace_chunk_t *chunk = row->last;
    if (chunk && chunk->count < chunk->capacity) {
        return &chunk->spans[chunk->count++];
    }
    size_t capacity = row->room < SPANS_PER_CHUNK ? row->room : SPANS_PER_CHUNK;
    chunk = capacity > 0 ? malloc(sizeof *chunk + capacity * sizeof *chunk->spans) : NULL;
    if (!chunk) {
        row->room = 0; /* all that is dropped comes after all that is kept */
        return NULL;
    }
    *chunk = (lks_trace_chunk_t){.count = 1, .capacity = capacity};
    *(row->last ? &row->last->next : &row->first) = chunk;
    row->last = chunk;
    row->room -= capacity;
    return chunk->spans;
}

void lks_trace_record(lks_trace_row_t *row, const char *name, int64_t start, int64_t end,
                      const lks_trace_arg_t *args, size_t count)
{
    lks_trace_span_t *span = next_span(row);
    if (!span) {
        row->dropped_at = row->dropped++ == 0 ? start : row->dropped_at;
        return;
    }
    *span = (lks_trace_span_t){.name = name, .start = start, .end = end, .step = row->step};
    for (size_t i = 0; i < count && i < LKS_TRACE_ARGS_MAX; i++) {
        span->args[i] = args[i];
    }
}

void lks_trace_record_step(lks_trace_row_t *row, int64_t step)
{
    row->step = step;
}

uint64_t lks_trace_dropped(const lks_trace_t *trace)
{
    uint64_t dropped = 0;
    for (const lks_trace_row_t *row = trace->rows; row; row = row->next) {
        dropped += row->dropped;
    }
    return dropped;
}
