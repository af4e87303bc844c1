/* SPDX-License-Identifier: Apache-2.0 */
/* The files of tests/data/corpus, written by torch 1.13 and 2.6: what is in them, and whether it survives. */
#include "serialize/tree_text.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static char *expected_text(void)
{
    size_t nbytes;
    return (char *)test_read_file(CORPUS "expected.txt", &nbytes);
}

/* Calls `check` for every section "file <name>" of the expectations. */
static void each_file(void (*check)(const char *path, const char *expected))
{
    char *text = expected_text(), *at = text;
    size_t count = 0;
    while (*at) {
        cr_assert(strncmp(at, "file ", 5) == 0);
        char *name = at + 5, *body = strchr(name, '\n');
        *body++ = '\0';
        char *next = strncmp(body, "file ", 5) == 0 ? body : strstr(body, "\nfile ");
        at = !next ? body + strlen(body) : next == body ? body : next + 1;
        char saved = *at, path[256];
        *at = '\0';
        (void)snprintf(path, sizeof path, CORPUS "%s", name);
        check(path, body);
        *at = saved;
        count++;
    }
    cr_assert_gt(count, 90);
    free(text);
}

static void check_listing(const char *path, const char *expected)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_strbuf_t found = test_listing(checkpoint);
    const char *a = lks_strbuf_text(&found), *b = expected;
    while (*a && *a == *b) {
        a++;
        b++;
    }
    cr_assert(*a == *b, "%s: found '%.80s', expected '%.80s'", path, a, b);
    lks_strbuf_fini(&found);
    lks_checkpoint_close(checkpoint);
}

Test(corpus, holds_what_torch_put_in)
{
    each_file(check_listing);
}

static void check_round_trip(const char *path, const char *expected)
{
    (void)expected;
    static const char *copy;
    copy = copy ? copy : test_temp_path("copy.pt");
    lks_checkpoint_t *first, *second;
    assert_ok(lks_checkpoint_open(path, NULL, &first));
    assert_ok(lks_checkpoint_save(copy, lks_checkpoint_tree(first),
                                  &(lks_save_options_t){.sync = false}));
    assert_ok(lks_checkpoint_open(copy, NULL, &second));
    lks_strbuf_t a = test_tree_text(lks_checkpoint_tree(first));
    lks_strbuf_t b = test_tree_text(lks_checkpoint_tree(second));
    cr_assert_str_eq(lks_strbuf_text(&a), lks_strbuf_text(&b), "%s changed", path);
    lks_strbuf_fini(&a);
    lks_strbuf_fini(&b);
    lks_checkpoint_close(second);
    lks_checkpoint_close(first);
}

Test(corpus, survives_writing_and_reading)
{
    each_file(check_round_trip);
}
