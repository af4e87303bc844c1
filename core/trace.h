/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h - timed spans of a job, as the trace that Perfetto (ui.perfetto.dev) and chrome://tracing show.
 * Life:    lks_trace_create -> lks_trace_row, once for each (rank, stream) -> spans -> lks_trace_append in every process
 *          -> a file of all parts where it is written -> lks_trace_destroy.
 * Threads: a row is written by one thread at a time, without locks; lks_trace_row and lks_trace_name may be called by
 *          any thread; the rest when nobody records.
 * Cost:    without a trace there are no rows, and a NULL row costs a branch.
 * Memory:  a row grows to its limit. What comes later is dropped and counted, and the file says how many. */
#ifndef LOCKSTEP_CORE_TRACE_H
#define LOCKSTEP_CORE_TRACE_H

#include "core/strbuf.h"

#include <lockstep/status.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lks_trace lks_trace_t;
typedef struct lks_trace_row lks_trace_row_t;

/** What runs beside each other in a rank: each a row of its own. */
typedef enum {
    LKS_TRACE_COMPUTE,
    LKS_TRACE_COMM,
    LKS_TRACE_LOADER,
    LKS_TRACE_SAVE,
    LKS_TRACE_STREAM_COUNT
} lks_trace_stream_t;

/** What a span says beside its name: {"bytes", n}. The name is a static text. */
typedef struct lks_trace_arg {
    const char *name;
    int64_t value;
} lks_trace_arg_t;

#define LKS_TRACE_ARGS_MAX 3

/** A trace without rows. `spans_per_row` 0: 2^18, which is 20 MiB. Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_trace_create(size_t spans_per_row, lks_trace_t **out);
void lks_trace_destroy(lks_trace_t *trace);

/** The row of a stream of a rank, made when it is first asked for; it lives as long as the trace. NULL if `trace` is.
 *  Errors: NO_MEMORY. */
LKS_NODISCARD lks_status_t lks_trace_row(lks_trace_t *trace, int rank, lks_trace_stream_t stream,
                                         lks_trace_row_t **out);

/** A name for spans, "layer 3 Linear forward", which lives as long as the trace: to be made once, before the steps.
 *  "" if `trace` is NULL, "?" if memory ran out. */
const char *lks_trace_name(lks_trace_t *trace, const char *format, ...) LKS_PRINTF(2, 3);

/** Nanoseconds of CLOCK_MONOTONIC. */
int64_t lks_trace_now(void);

/** What the file calls time 0; at first the moment of lks_trace_create. Parts have one time axis if it is the same moment
 *  in each, whatever the clocks of their machines say. */
int64_t lks_trace_origin(const lks_trace_t *trace);
void lks_trace_set_origin(lks_trace_t *trace, int64_t ns);

/** A text beside the names of its ranks, which is copied: of which process they are. */
void lks_trace_set_label(lks_trace_t *trace, const char *text);

/** lks_trace_span of a row that is not NULL. */
void lks_trace_record(lks_trace_row_t *row, const char *name, int64_t start, int64_t end,
                      const lks_trace_arg_t *args, size_t count);

/** lks_trace_set_step of a row that is not NULL. */
void lks_trace_record_step(lks_trace_row_t *row, int64_t step);

/** Every span that the row gets from now on has the argument "step". */
static inline void lks_trace_set_step(lks_trace_row_t *row, int64_t step)
{
    if (row) {
        lks_trace_record_step(row, step);
    }
}

/** A span of given times. Spans of one row must nest or not overlap. `name` is static or of lks_trace_name; of `args`
 *  (may be NULL) at most LKS_TRACE_ARGS_MAX are kept. */
static inline void lks_trace_span(lks_trace_row_t *row, const char *name, int64_t start,
                                  int64_t end, const lks_trace_arg_t *args, size_t count)
{
    if (row) {
        lks_trace_record(row, name, start, end, args, count);
    }
}

/** The start of a span that lks_trace_end ends. */
static inline int64_t lks_trace_begin(const lks_trace_row_t *row)
{
    return row ? lks_trace_now() : 0;
}

/** A span from `start` to now. */
static inline void lks_trace_end(lks_trace_row_t *row, const char *name, int64_t start,
                                 const lks_trace_arg_t *args, size_t count)
{
    if (row) {
        lks_trace_record(row, name, start, lks_trace_now(), args, count);
    }
}

/** Spans that were dropped. */
uint64_t lks_trace_dropped(const lks_trace_t *trace);

/** Appends the events of this process's rows, one JSON object a line with commas between them: a part, which may travel
 *  to another process. Memory that runs out sticks to the buffer. */
void lks_trace_append(const lks_trace_t *trace, lks_strbuf_t *part);

/** The file, in the JSON object format: begin, the parts that are not empty with the text between them, end. */
#define LKS_TRACE_FILE_BEGIN "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
#define LKS_TRACE_FILE_BETWEEN ",\n"
#define LKS_TRACE_FILE_END "\n]}\n"

#endif
