/* SPDX-License-Identifier: Apache-2.0 */
/* support.h - what several test suites share. */
#ifndef LOCKSTEP_TESTS_SUPPORT_H
#define LOCKSTEP_TESTS_SUPPORT_H

#include <criterion/criterion.h>
#include <lockstep/status.h>
#include <string.h>

/** The call succeeds; if not, its sentence is shown. */
#define assert_ok(expr)                                                                            \
    do {                                                                                           \
        lks_status_t assert_ok_status_ = (expr);                                                   \
        cr_assert(assert_ok_status_ == LKS_OK, "%s: %s", #expr, lks_last_error()->message);        \
    } while (0)

/** The call fails with `wanted`, and its sentence contains `text`. */
#define assert_fails(expr, wanted, text)                                                           \
    do {                                                                                           \
        lks_status_t assert_fails_status_ = (expr);                                                \
        cr_assert(assert_fails_status_ == (wanted), "%s: %s, wanted %s", #expr,                    \
                  lks_status_name(assert_fails_status_), lks_status_name(wanted));                 \
        cr_assert(strstr(lks_last_error()->message, (text)), "'%s' is not in '%s'", (text),        \
                  lks_last_error()->message);                                                      \
    } while (0)

/** A fresh directory, removed with everything in it at exit of the test's process. */
const char *test_temp_dir(void);

/** "<test_temp_dir()>/<name>", valid until the process ends. */
const char *test_temp_path(const char *name);

/** Writes a whole file; asserts on failure. */
void test_write_file(const char *path, const void *data, size_t nbytes);

/** Reads a whole file into malloc'ed memory with a zero behind it; asserts on failure. */
unsigned char *test_read_file(const char *path, size_t *nbytes);

#endif
