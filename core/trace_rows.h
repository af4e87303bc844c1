/* SPDX-License-Identifier: Apache-2.0 */
/* trace_rows.h - what a trace holds: rows are a list in the order of the file, a row's spans lie in a chain of chunks.
 * For those who record them (trace.c) and those who write them down (trace_json.c). */
#ifndef LOCKSTEP_CORE_TRACE_ROWS_H
#define LOCKSTEP_CORE_TRACE_ROWS_H

#include "core/arena.h"
#include "core/trace.h"

#include <pthread.h>

#define LKS_TRACE_NO_STEP INT64_MIN

typedef struct lks_trace_span {
    const char *name;
    int64_t start, end, step;
    lks_trace_arg_t args[LKS_TRACE_ARGS_MAX]; /* a NULL name ends them */
} lks_trace_span_t;

typedef struct lks_trace_chunk {
    struct lks_trace_chunk *next;
    size_t count, capacity;
    lks_trace_span_t spans[];
} lks_trace_chunk_t;

struct lks_trace_row {
    lks_trace_row_t *next;
    int rank;
    lks_trace_stream_t stream;
    int64_t step;
    size_t room; /* spans that further chunks may have */
    lks_trace_chunk_t *first, *last;
    uint64_t dropped;
    int64_t dropped_at; /* start of the first that was */
};

struct lks_trace {
    size_t spans_per_row;
    int64_t origin;
    char label[128];       /* "": none */
    pthread_mutex_t lock;  /* of what follows */
    lks_trace_row_t *rows; /* by rank, then by stream */
    lks_arena_t names;
};

#endif
