/* SPDX-License-Identifier: Apache-2.0 */
/* test_trace.c - spans, and the text of the file. */
#include "core/thread.h"
#include "core/trace.h"
#include "support/support.h"

static lks_trace_t *make_trace(size_t spans_per_row)
{
    lks_trace_t *trace;
    assert_ok(lks_trace_create(spans_per_row, &trace));
    lks_trace_set_origin(trace, 1000000);
    return trace;
}

static lks_trace_row_t *row_of(lks_trace_t *trace, int rank, lks_trace_stream_t stream)
{
    lks_trace_row_t *row;
    assert_ok(lks_trace_row(trace, rank, stream, &row));
    cr_assert(row);
    return row;
}

/* Lines of the trace's part that hold `text`. */
static size_t count_lines(const lks_trace_t *trace, const char *text)
{
    lks_strbuf_t part = {0};
    size_t count = 0;
    lks_trace_append(trace, &part);
    for (const char *at = lks_strbuf_text(&part); (at = strstr(at, text)); at++) {
        count++;
    }
    lks_strbuf_fini(&part);
    return count;
}

static void assert_part(const lks_trace_t *trace, const char *wanted)
{
    lks_strbuf_t part = {0};
    lks_trace_append(trace, &part);
    cr_assert(lks_strbuf_ok(&part));
    cr_assert_str_eq(lks_strbuf_text(&part), wanted);
    lks_strbuf_fini(&part);
}

Test(trace, two_ranks_make_this_part)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_row_t *comm = row_of(trace, 1, LKS_TRACE_COMM);
    lks_trace_row_t *compute = row_of(trace, 0, LKS_TRACE_COMPUTE);
    const lks_trace_arg_t args[] = {{"bucket", 2}, {"bytes", 4096}};
    lks_trace_span(compute, "before the first step", 999499, 1000000, NULL, 0);
    lks_trace_set_step(compute, 0);
    lks_trace_span(compute, "forward", 1002003, 1012345, NULL, 0);
    lks_trace_span(comm, "all_reduce", 2000000, 2000000, args, 2);
    lks_trace_set_step(comm, 7);
    lks_trace_span(comm, lks_trace_name(trace, "bucket %d all_reduce", 2), 3000000, 3500000, args,
                   1);
    assert_part(
        trace,
        "{\"ph\":\"M\",\"pid\":0,\"tid\":1,\"name\":\"process_name\",\"ts\":0.000,"
        "\"args\":{\"name\":\"rank 0\"}},\n"
        "{\"ph\":\"M\",\"pid\":0,\"tid\":1,\"name\":\"process_sort_index\",\"ts\":0.000,"
        "\"args\":{\"sort_index\":0}},\n"
        "{\"ph\":\"M\",\"pid\":0,\"tid\":1,\"name\":\"thread_name\",\"ts\":0.000,"
        "\"args\":{\"name\":\"compute\"}},\n"
        "{\"ph\":\"M\",\"pid\":0,\"tid\":1,\"name\":\"thread_sort_index\",\"ts\":0.000,"
        "\"args\":{\"sort_index\":0}},\n"
        "{\"ph\":\"X\",\"pid\":0,\"tid\":1,\"name\":\"before the first step\",\"ts\":-0.501,"
        "\"dur\":0.501},\n"
        "{\"ph\":\"X\",\"pid\":0,\"tid\":1,\"name\":\"forward\",\"ts\":2.003,\"dur\":10.342,"
        "\"args\":{\"step\":0}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"process_name\",\"ts\":0.000,"
        "\"args\":{\"name\":\"rank 1\"}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"process_sort_index\",\"ts\":0.000,"
        "\"args\":{\"sort_index\":1}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"thread_name\",\"ts\":0.000,"
        "\"args\":{\"name\":\"comm\"}},\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":2,\"name\":\"thread_sort_index\",\"ts\":0.000,"
        "\"args\":{\"sort_index\":1}},\n"
        "{\"ph\":\"X\",\"pid\":1,\"tid\":2,\"name\":\"all_reduce\",\"ts\":1000.000,\"dur\":0.000,"
        "\"args\":{\"bucket\":2,\"bytes\":4096}},\n"
        "{\"ph\":\"X\",\"pid\":1,\"tid\":2,\"name\":\"bucket 2 all_reduce\",\"ts\":2000.000,"
        "\"dur\":500.000,\"args\":{\"step\":7,\"bucket\":2}}");
    lks_trace_destroy(trace);
}

Test(trace, a_part_may_say_of_which_process_it_is)
{
    lks_trace_t *trace = make_trace(0);
    (void)row_of(trace, 2, LKS_TRACE_SAVE);
    (void)row_of(trace, 2, LKS_TRACE_COMM);
    cr_assert_eq(count_lines(trace, "process_labels"), 0);
    lks_trace_set_label(trace, "node \"b\", pid 7");
    cr_assert_eq(count_lines(trace, "process_labels"), 1);
    cr_assert_eq(count_lines(trace, "\"args\":{\"labels\":\"node \\\"b\\\", pid 7\"}"), 1);
    lks_trace_destroy(trace);
}

Test(trace, a_trace_without_rows_is_an_empty_part)
{
    lks_trace_t *trace = make_trace(0);
    assert_part(trace, "");
    lks_trace_destroy(trace);
}

Test(trace, without_a_trace_everything_does_nothing)
{
    lks_trace_row_t *row = (lks_trace_row_t *)&row;
    assert_ok(lks_trace_row(NULL, 0, LKS_TRACE_COMPUTE, &row));
    cr_assert_null(row);
    cr_assert_str_eq(lks_trace_name(NULL, "layer %d", 3), "");
    lks_trace_set_step(row, 1);
    cr_assert_eq(lks_trace_begin(row), 0);
    lks_trace_end(row, "forward", 0, NULL, 0);
    lks_trace_span(row, "forward", 0, 1, NULL, 0);
    lks_trace_destroy(NULL);
}

Test(trace, a_row_is_made_once)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_row_t *row = row_of(trace, 3, LKS_TRACE_SAVE);
    cr_assert(row_of(trace, 0, LKS_TRACE_SAVE) != row);
    cr_assert(row_of(trace, 3, LKS_TRACE_LOADER) != row);
    cr_assert_eq(row_of(trace, 3, LKS_TRACE_SAVE), row);
    cr_assert_eq(count_lines(trace, "thread_name"), 3);
    cr_assert_eq(count_lines(trace, "process_name"), 2);
    lks_trace_destroy(trace);
}

Test(trace, begin_and_end_measure)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_row_t *row = row_of(trace, 0, LKS_TRACE_COMPUTE);
    int64_t before = lks_trace_now();
    int64_t start = lks_trace_begin(row);
    cr_assert(start >= before && start <= lks_trace_now());
    lks_trace_set_origin(trace, start);
    lks_trace_end(row, "forward", start, NULL, 0);
    cr_assert_eq(count_lines(trace, "\"forward\",\"ts\":0.000,\"dur\":"), 1);
    lks_trace_destroy(trace);
}

Test(trace, a_span_that_ends_before_it_starts_takes_no_time)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_span(row_of(trace, 0, LKS_TRACE_COMPUTE), "late", 5000000, 4000000, NULL, 0);
    cr_assert_eq(count_lines(trace, "\"ts\":4000.000,\"dur\":0.000"), 1);
    lks_trace_destroy(trace);
}

Test(trace, a_row_grows_over_many_chunks)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_row_t *row = row_of(trace, 0, LKS_TRACE_COMPUTE);
    for (int64_t i = 0; i < 5000; i++) {
        lks_trace_set_step(row, i);
        lks_trace_span(row, "forward", 1000000 + i, 1000001 + i, NULL, 0);
    }
    cr_assert_eq(count_lines(trace, "\"forward\""), 5000);
    cr_assert_eq(count_lines(trace, "\"step\":4999"), 1);
    cr_assert_eq(lks_trace_dropped(trace), 0);
    lks_trace_destroy(trace);
}

Test(trace, the_newest_spans_beyond_the_limit_are_dropped_and_counted)
{
    lks_trace_t *trace = make_trace(1500);
    lks_trace_row_t *full = row_of(trace, 0, LKS_TRACE_COMPUTE);
    lks_trace_row_t *other = row_of(trace, 0, LKS_TRACE_COMM);
    for (int64_t i = 0; i < 2000; i++) {
        lks_trace_span(full, "forward", 1000000 + i * 1000, 1000001 + i * 1000, NULL, 0);
    }
    lks_trace_span(other, "all_reduce", 1000000, 1000001, NULL, 0);
    cr_assert_eq(lks_trace_dropped(trace), 500);
    cr_assert_eq(count_lines(trace, "\"forward\""), 1500);
    cr_assert_eq(count_lines(trace, "\"ts\":1499.000"), 1);
    cr_assert_eq(count_lines(trace, "{\"ph\":\"i\",\"pid\":0,\"tid\":1,\"name\":\"dropped\","
                                    "\"ts\":1500.000,\"s\":\"t\",\"args\":{\"spans\":500}}"),
                 1);
    cr_assert_eq(count_lines(trace, "dropped"), 1);
    lks_trace_destroy(trace);
}

Test(trace, names_and_arguments_are_made_safe)
{
    lks_trace_t *trace = make_trace(0);
    lks_trace_row_t *row = row_of(trace, 0, LKS_TRACE_COMPUTE);
    const lks_trace_arg_t many[] = {{"a", INT64_MIN}, {"b", INT64_MAX}, {"c", 0}, {"d", 1}};
    lks_trace_span(row, "\"a\\b\"\n\xc3\xa9", 1000000, 1000000, many, 4);
    cr_assert_eq(count_lines(trace, "\"name\":\"\\\"a\\\\b\\\"\\u000a\xc3\xa9\""), 1);
    cr_assert_eq(count_lines(trace, "\"args\":{\"a\":-9223372036854775808,"
                                    "\"b\":9223372036854775807,\"c\":0}"),
                 1);
    lks_trace_destroy(trace);
}

enum { THREADS = 4, SPANS = 3000 };

typedef struct writer {
    lks_trace_t *trace;
    int rank;
    lks_status_t status;
} writer_t;

static void write_spans(void *context)
{
    writer_t *writer = context;
    lks_trace_row_t *row = NULL;
    writer->status = lks_trace_row(writer->trace, writer->rank, LKS_TRACE_COMPUTE, &row);
    const char *name = lks_trace_name(writer->trace, "of rank %d", writer->rank);
    for (int i = 0; i < SPANS; i++) {
        int64_t start = lks_trace_begin(row);
        lks_trace_end(row, name, start, NULL, 0);
    }
}

Test(trace, threads_write_their_rows_at_once)
{
    lks_trace_t *trace = make_trace(0);
    writer_t writers[THREADS];
    lks_thread_t *threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (writer_t){.trace = trace, .rank = THREADS - 1 - i};
        assert_ok(lks_thread_create("writer", write_spans, &writers[i], &threads[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        lks_thread_join(threads[i]);
        cr_assert_eq(writers[i].status, LKS_OK);
    }
    cr_assert_eq(count_lines(trace, "\"of rank 0\""), SPANS);
    cr_assert_eq(count_lines(trace, "\"of rank 3\""), SPANS);
    lks_trace_destroy(trace);
}
