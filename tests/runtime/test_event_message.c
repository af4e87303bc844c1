/* SPDX-License-Identifier: Apache-2.0 */
/* test_event_message.c - the bytes of events. The wanted ones were written by TensorBoard 2.21's own classes. */
#include "runtime/train/event_message.h"
#include "support/support.h"

#include <math.h>

#define SCALARS "\x4a\x0b\x0a\x09\x0a\x07scalars"

#define assert_bytes(buf, wanted)                                                                  \
    do {                                                                                           \
        cr_assert_eq((buf).length, sizeof(wanted) - 1);                                            \
        cr_assert_arr_eq((buf).data, (wanted), sizeof(wanted) - 1);                                \
        lks_strbuf_clear(&(buf));                                                                  \
    } while (0)

Test(event_message, these_events_are_these_bytes)
{
    const lks_scalar_t scalars[] = {{"train/loss", 0.1}, {"val/accuracy", 97.5}};
    lks_strbuf_t buf = {0};
    lks_event_append_version(&buf, 1.5);
    assert_bytes(buf, "\x09\x00\x00\x00\x00\x00\x00\xf8\x3f\x1a\x0d"
                      "brain.Event:2");
    lks_event_append_restart(&buf, 2.0, 300);
    assert_bytes(buf, "\x09\x00\x00\x00\x00\x00\x00\x00\x40\x10\xac\x02\x3a\x02\x08\x01");
    lks_event_append_scalars(&buf, 1700000000.25, 70000, scalars, 2);
    assert_bytes(buf, "\x09\x00\x00\x10\x40\xfc\x54\xd9\x41\x10\xf0\xa2\x04\x2a\x42"
                      "\x0a\x1e\x0a\x0atrain/loss\x15\xcd\xcc\xcc\x3d" SCALARS
                      "\x0a\x20\x0a\x0cval/accuracy\x15\x00\x00\xc3\x42" SCALARS);
    lks_strbuf_fini(&buf);
}

Test(event_message, long_names_negative_steps_and_nan_are_these_bytes)
{
    char tag[201] = "";
    memset(tag, 'x', 200);
    const lks_scalar_t scalar = {tag, (double)NAN};
    lks_strbuf_t buf = {0};
    lks_event_append_scalars(&buf, 0.0, -1, &scalar, 1);
    cr_assert_eq(buf.length, 9 + 238);
    cr_assert_arr_eq(buf.data + 9,
                     "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                     "\x2a\xe0\x01\x0a\xdd\x01\x0a\xc8\x01",
                     20);
    cr_assert_arr_eq(buf.data + 9 + 20, tag, 200);
    cr_assert_arr_eq(buf.data + 9 + 220, "\x15\x00\x00\xc0\x7f" SCALARS, 18);
    lks_strbuf_fini(&buf);
}

Test(event_message, memory_that_ran_out_sticks)
{
    const lks_scalar_t scalar = {"train/loss", 1.0};
    lks_strbuf_t buf = {.failed = true};
    lks_event_append_scalars(&buf, 1.0, 1, &scalar, 1);
    cr_assert_not(lks_strbuf_ok(&buf));
    cr_assert_eq(buf.length, 0);
    lks_strbuf_fini(&buf);
}
