/* SPDX-License-Identifier: Apache-2.0 */
/* trace_json.c - a trace in the "Trace Event Format" of Chrome: complete events (ph X) and metadata (ph M), with pid for
 * the rank and tid for the stream. */
#include "core/trace_rows.h"

#include <stdbool.h>

static const char *const stream_names[] = {
    [LKS_TRACE_COMPUTE] = "compute",
    [LKS_TRACE_COMM] = "comm",
    [LKS_TRACE_LOADER] = "loader",
    [LKS_TRACE_SAVE] = "save",
};

static void append_string(lks_strbuf_t *buf, const char *text)
{
    lks_strbuf_append_str(buf, "\"");
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20) {
            lks_strbuf_appendf(buf, "\\u%04x", (unsigned)*c);
        } else {
            lks_strbuf_append(buf, "\\", *c == '"' || *c == '\\');
            lks_strbuf_append(buf, c, 1);
        }
    }
    lks_strbuf_append_str(buf, "\"");
}

/* Nanoseconds as the microseconds of the format, without rounding. */
static void append_time(lks_strbuf_t *buf, const char *key, int64_t ns)
{
    unsigned long long size = ns < 0 ? 0 - (unsigned long long)ns : (unsigned long long)ns;
    lks_strbuf_appendf(buf, ",\"%s\":%s%llu.%03llu", key, ns < 0 ? "-" : "", size / 1000,
                       size % 1000);
}

/* {"ph":...,"pid":...,"tid":...,"name":...,"ts":... of an event. tid 0 is the idle task to some viewers. */
static void begin_event(lks_strbuf_t *buf, const lks_trace_row_t *row, char phase, const char *name,
                        int64_t ns)
{
    lks_strbuf_append_str(buf, buf->length > 0 ? LKS_TRACE_FILE_BETWEEN : "");
    lks_strbuf_appendf(buf, "{\"ph\":\"%c\",\"pid\":%d,\"tid\":%d,\"name\":", phase, row->rank,
                       (int)row->stream + 1);
    append_string(buf, name);
    append_time(buf, "ts", ns);
}

static void append_arg(lks_strbuf_t *buf, bool first, const char *name, int64_t value)
{
    lks_strbuf_append_str(buf, first ? ",\"args\":{" : ",");
    append_string(buf, name);
    lks_strbuf_appendf(buf, ":%lld", (long long)value);
}

static void append_span(lks_strbuf_t *buf, const lks_trace_row_t *row, const lks_trace_span_t *span,
                        int64_t origin)
{
    bool first = true;
    begin_event(buf, row, 'X', span->name, span->start - origin);
    append_time(buf, "dur", span->end > span->start ? span->end - span->start : 0);
    if (span->step != LKS_TRACE_NO_STEP) {
        append_arg(buf, first, "step", span->step);
        first = false;
    }
    for (size_t i = 0; i < LKS_TRACE_ARGS_MAX && span->args[i].name; i++) {
        append_arg(buf, first, span->args[i].name, span->args[i].value);
        first = false;
    }
    lks_strbuf_append_str(buf, first ? "}" : "}}");
}

static void append_rank_names(lks_strbuf_t *buf, const lks_trace_row_t *row, const char *label)
{
    begin_event(buf, row, 'M', "process_name", 0);
    lks_strbuf_appendf(buf, ",\"args\":{\"name\":\"rank %d\"}}", row->rank);
    begin_event(buf, row, 'M', "process_sort_index", 0);
    lks_strbuf_appendf(buf, ",\"args\":{\"sort_index\":%d}}", row->rank);
    if (*label) {
        begin_event(buf, row, 'M', "process_labels", 0);
        lks_strbuf_append_str(buf, ",\"args\":{\"labels\":");
        append_string(buf, label);
        lks_strbuf_append_str(buf, "}}");
    }
}

static void append_row_names(lks_strbuf_t *buf, const lks_trace_row_t *row)
{
    begin_event(buf, row, 'M', "thread_name", 0);
    lks_strbuf_appendf(buf, ",\"args\":{\"name\":\"%s\"}}", stream_names[row->stream]);
    begin_event(buf, row, 'M', "thread_sort_index", 0);
    lks_strbuf_appendf(buf, ",\"args\":{\"sort_index\":%d}}", (int)row->stream);
}

/* An instant of the row's thread, where its record ends. */
static void append_dropped(lks_strbuf_t *buf, const lks_trace_row_t *row, int64_t origin)
{
    if (row->dropped > 0) {
        begin_event(buf, row, 'i', "dropped", row->dropped_at - origin);
        lks_strbuf_appendf(buf, ",\"s\":\"t\",\"args\":{\"spans\":%llu}}",
                           (unsigned long long)row->dropped);
    }
}

void lks_trace_append(const lks_trace_t *trace, lks_strbuf_t *part)
{
    int rank = -1;
    for (const lks_trace_row_t *row = trace->rows; row; row = row->next) {
        if (row->rank != rank) {
            append_rank_names(part, row, trace->label);
        }
        rank = row->rank;
        append_row_names(part, row);
        for (const lks_trace_chunk_t *chunk = row->first; chunk; chunk = chunk->next) {
            for (size_t i = 0; i < chunk->count; i++) {
                append_span(part, row, &chunk->spans[i], trace->origin);
            }
        }
        append_dropped(part, row, trace->origin);
    }
}
