/* SPDX-License-Identifier: Apache-2.0 */
/* The files of tests/data/corpus, written by torch 1.13 and 2.6: what is in them, and whether it survives. */
#include "serialize/tree_text.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

/* What is in zip archives and safetensors; and in streams and tar archives, where slices of storages are listed as parts of the whole
 * and parameters of the first versions as such. */
#define ZIP CORPUS "expected.txt"
#define LEGACY CORPUS "expected_legacy.txt"

/* Calls `check` for every section "file <name>" of the expectations, of which there are more than `least`. */
static void each_file(const char *expectations, size_t least,
                      void (*check)(const char *path, const char *expected))
{
    size_t nbytes, count = 0;
    char *text = (char *)test_read_file(expectations, &nbytes), *at = text;
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
    cr_assert_gt(count, least);
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
    each_file(ZIP, 90, check_listing);
}

Test(corpus, holds_what_torch_put_in_before_1_6)
{
    each_file(LEGACY, 32, check_listing);
}

/* Writes the tree in that format, and reads it again. */
static lks_checkpoint_t *rewrite(const lks_checkpoint_t *checkpoint, const char *format)
{
    static const char *copy;
    copy = copy ? copy : test_temp_path("copy.pt"); /* replaced while it is open, which is fine */
    lks_checkpoint_t *written;
    assert_ok(lks_checkpoint_save(copy, lks_checkpoint_tree(checkpoint),
                                  &(lks_save_options_t){.format = format, .sync = false}));
    assert_ok(lks_checkpoint_open(copy, NULL, &written));
    cr_assert_str_eq(lks_checkpoint_format(written), format);
    return written;
}

static void assert_same(const lks_checkpoint_t *first, const lks_checkpoint_t *second)
{
    lks_strbuf_t a = test_tree_text(lks_checkpoint_tree(first));
    lks_strbuf_t b = test_tree_text(lks_checkpoint_tree(second));
    cr_assert_str_eq(lks_strbuf_text(&a), lks_strbuf_text(&b), "%s changed",
                     lks_checkpoint_path(first));
    lks_strbuf_fini(&a);
    lks_strbuf_fini(&b);
}

static void check_file(const char *path, const char *expected)
{
    (void)expected;
    lks_checkpoint_t *first;
    assert_ok(lks_checkpoint_open(path, NULL, &first));
    bool named = strcmp(lks_checkpoint_format(first), "safetensors") == 0;
    lks_checkpoint_t *second = rewrite(first, named ? "safetensors" : "torch_zip");
    assert_same(first, second);
    lks_checkpoint_close(second);
    lks_checkpoint_close(first);
}

/* Files with storages of plain bytes, which torch does not read from a stream. */
static bool is_untyped(const char *path)
{
    static const char *const names[] = {"t113_storages.pt", "t26_new_dtypes.pt",
                                        "t26_dtypes.safetensors"};
    const char *name = strrchr(path, '/') + 1;
    bool untyped = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        untyped |= strcmp(name, names[i]) == 0;
    }
    return untyped;
}

static void check_legacy(const char *path, const char *expected)
{
    (void)expected;
    lks_checkpoint_t *first;
    assert_ok(lks_checkpoint_open(path, NULL, &first));
    if (is_untyped(path)) {
        assert_fails(lks_checkpoint_save(test_temp_path("untyped.pt"), lks_checkpoint_tree(first),
                                         &(lks_save_options_t){.format = "torch_legacy"}),
                     LKS_ERR_UNSUPPORTED, "untyped storage");
        lks_checkpoint_close(first);
        return;
    }
    lks_checkpoint_t *second = rewrite(first, "torch_legacy");
    lks_checkpoint_t *third = rewrite(second, "torch_zip");
    lks_checkpoint_t *fourth = rewrite(third, "torch_legacy");
    assert_same(first, second);
    assert_same(first, third);
    assert_same(first, fourth);
    lks_checkpoint_close(fourth);
    lks_checkpoint_close(third);
    lks_checkpoint_close(second);
    lks_checkpoint_close(first);
}

Test(corpus, survives_writing_and_reading)
{
    each_file(ZIP, 90, check_file);
}

Test(corpus, survives_writing_and_reading_as_a_stream)
{
    each_file(ZIP, 90, check_legacy);
    each_file(LEGACY, 32, check_legacy);
}
