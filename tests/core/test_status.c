/* SPDX-License-Identifier: Apache-2.0 */
/* test_status.c - codes, sentences, and whose they are. */
#include "core/thread.h"
#include "support/support.h"

#include <lockstep/version.h>
#include <stdio.h>

Test(status, every_code_has_a_name_of_its_own)
{
    for (int i = 0; i < LKS_STATUS_COUNT; i++) {
        const char *name = lks_status_name((lks_status_t)i);
        cr_assert(name && *name);
        for (int k = 0; k < i; k++) {
            cr_assert_str_neq(name, lks_status_name((lks_status_t)k));
        }
    }
    cr_assert_str_eq(lks_status_name(LKS_OK), "ok");
}

Test(status, numbers_that_are_no_code_are_unknown)
{
    cr_assert_str_eq(lks_status_name(LKS_STATUS_COUNT), "unknown status");
    cr_assert_str_eq(lks_status_name((lks_status_t)-1), "unknown status");
}

Test(status, starts_out_ok_and_empty)
{
    cr_assert_eq(lks_last_error()->status, LKS_OK);
    cr_assert_str_eq(lks_last_error()->message, "");
}

Test(status, fail_records_code_and_sentence)
{
    cr_assert_eq(lks_fail(LKS_ERR_IO, "file '%s', byte %d", "a", 3), LKS_ERR_IO);
    cr_assert_eq(lks_last_error()->status, LKS_ERR_IO);
    cr_assert_str_eq(lks_last_error()->message, "file 'a', byte 3");
}

Test(status, prefix_goes_in_front)
{
    (void)lks_fail(LKS_ERR_FORMAT, "byte 3");
    cr_assert_eq(lks_error_prefix(LKS_ERR_FORMAT, "reading '%s'", "a.pt"), LKS_ERR_FORMAT);
    (void)lks_error_prefix(LKS_ERR_FORMAT, "rank %d", 2);
    cr_assert_str_eq(lks_last_error()->message, "rank 2: reading 'a.pt': byte 3");
}

Test(status, arguments_may_be_the_last_sentence_itself)
{
    (void)lks_fail(LKS_ERR_IO, "inner");
    (void)lks_fail(LKS_ERR_DEVICE, "outer (%s)", lks_last_error()->message);
    cr_assert_str_eq(lks_last_error()->message, "outer (inner)");
    (void)lks_error_prefix(LKS_ERR_DEVICE, "<%s>", lks_last_error()->message);
    cr_assert_str_eq(lks_last_error()->message, "<outer (inner)>: outer (inner)");
}

Test(status, long_sentences_are_cut)
{
    char text[2 * LKS_ERROR_MESSAGE_MAX];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)lks_fail(LKS_ERR_IO, "%s", text);
    cr_assert_eq(strlen(lks_last_error()->message), LKS_ERROR_MESSAGE_MAX - 1);
    (void)lks_error_prefix(LKS_ERR_IO, "front");
    cr_assert_eq(strlen(lks_last_error()->message), LKS_ERROR_MESSAGE_MAX - 1);
    cr_assert_eq(strncmp(lks_last_error()->message, "front: xxx", 10), 0);
}

static void fail_elsewhere(void *context)
{
    lks_error_t *snapshot = context;
    snapshot[0] = *lks_last_error(); /* a new thread has had no error */
    (void)lks_fail(LKS_ERR_COMM, "theirs");
    snapshot[1] = *lks_last_error();
}

Test(status, last_error_is_the_threads_own)
{
    (void)lks_fail(LKS_ERR_IO, "mine");
    lks_error_t snapshot[2];
    lks_thread_t *thread;
    assert_ok(lks_thread_create("fails", fail_elsewhere, snapshot, &thread));
    lks_thread_join(thread);
    cr_assert_eq(snapshot[0].status, LKS_OK);
    cr_assert_str_eq(snapshot[0].message, "");
    cr_assert_str_eq(snapshot[1].message, "theirs");
    cr_assert_str_eq(lks_last_error()->message, "mine");
    cr_assert_eq(lks_error_raise(&snapshot[1]), LKS_ERR_COMM);
    cr_assert_str_eq(lks_last_error()->message, "theirs");
}

Test(status, raising_the_last_error_again_keeps_it)
{
    (void)lks_fail(LKS_ERR_IO, "mine");
    cr_assert_eq(lks_error_raise(lks_last_error()), LKS_ERR_IO);
    cr_assert_str_eq(lks_last_error()->message, "mine");
}

Test(status, a_sentence_is_one_line_without_controls)
{
    (void)lks_fail(LKS_ERR_FORMAT, "key '%s' is wrong", "a\nlockstep: b\x1b[31m\x7f");
    cr_assert_str_eq(lks_last_error()->message, "key 'a?lockstep: b?[31m?' is wrong");
    const lks_error_t error = {.status = LKS_ERR_IO, .message = "x\ry"};
    (void)lks_error_raise(&error);
    cr_assert_str_eq(lks_last_error()->message, "x?y");
}

static lks_status_t forward(lks_status_t inner, int *reached)
{
    LKS_TRY(inner);
    *reached = 1;
    return LKS_OK;
}

static lks_status_t unwind(lks_status_t inner, int *reached)
{
    lks_status_t status;
    LKS_GOTO(inner, out);
    *reached = 1;
out:
    return status;
}

Test(status, macros_forward_failures_and_let_success_pass)
{
    int reached = 0;
    cr_assert_eq(forward(LKS_ERR_IO, &reached), LKS_ERR_IO);
    cr_assert_eq(unwind(LKS_ERR_IO, &reached), LKS_ERR_IO);
    cr_assert_eq(reached, 0);
    cr_assert_eq(forward(LKS_OK, &reached), LKS_OK);
    cr_assert_eq(reached, 1);
    reached = 0;
    cr_assert_eq(unwind(LKS_OK, &reached), LKS_OK);
    cr_assert_eq(reached, 1);
}

Test(status, version_is_that_of_the_header)
{
    cr_assert_str_eq(lks_version(), LKS_VERSION_STRING);
}
