/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of values in another tree: equal, sharing what the originals share, and over the same bytes. */
#include "serialize/parts.h"
#include "serialize/tree_text.h"
#include "serialize/value_copy.h"
#include "support/support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static void check_copy(const char *path)
{
    lks_checkpoint_t *checkpoint;
    if (lks_checkpoint_open(path, NULL, &checkpoint) != LKS_OK) {
        return; /* a format that other tests are about */
    }
    const lks_tree_t *from = lks_checkpoint_tree(checkpoint);
    lks_strbuf_t before = test_tree_text(from);
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_parts_t parts;
    lks_parts_init(tree, &parts);
    size_t index;
    lks_value_t *copy;
    assert_ok(lks_parts_add(&parts, checkpoint, &index));
    assert_ok(lks_parts_graft(&parts, index, lks_tree_root(from), &copy));
    lks_tree_set_root(tree, copy);
    lks_strbuf_t after = test_tree_text(tree);
    cr_assert_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after), "%s", path);
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&after);
    lks_tree_destroy(tree);
    lks_parts_fini(&parts);
}

Test(value_copy, of_every_file_of_the_corpus_is_equal)
{
    DIR *files = opendir(CORPUS);
    cr_assert(files);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(files)); count++) {
        char path[512];
        (void)snprintf(path, sizeof path, CORPUS "%s", entry->d_name);
        check_copy(path);
    }
    (void)closedir(files);
    cr_assert_gt(count, 90);
}

Test(value_copy, nested_as_deep_as_a_file_may_be_does_not_recurse)
{
    lks_tree_t *from, *tree;
    assert_ok(lks_tree_create(&from));
    assert_ok(lks_tree_create(&tree));
    lks_value_t *value = lks_value_list(from);
    for (int i = 0; i < 300000; i++) {
        lks_value_t *outer = i % 2 ? lks_value_list(from) : lks_value_dict(from);
        if (i % 2) {
            lks_value_append(from, outer, value);
        } else {
            lks_value_set_int(from, outer, i, value);
        }
        value = outer;
    }
    assert_ok(lks_tree_status(from));
    lks_value_t *copy = lks_tree_graft(tree, from, value, NULL);
    assert_ok(lks_tree_status(tree));
    size_t depth = 0;
    while (lks_value_count(copy) > 0) {
        copy = lks_value_at(copy, 0);
        depth++;
    }
    cr_assert_eq(depth, 300000);
    lks_tree_destroy(from);
    lks_tree_destroy(tree);
}

Test(value_copy, tuples_that_are_keys_are_whole_when_they_are_hashed)
{
    lks_tree_t *from, *tree;
    assert_ok(lks_tree_create(&from));
    assert_ok(lks_tree_create(&tree));
    lks_value_t *dict = lks_value_dict(from);
    for (int i = 0; i < 100; i++) { /* enough for an index */
        lks_value_t *inner = lks_value_tuple(from), *key = lks_value_tuple(from);
        lks_value_append(from, inner, lks_value_int(from, 1000 + i));
        lks_value_append(from, key, inner);
        lks_value_append(from, key, lks_value_str(from, "k"));
        lks_value_set(from, dict, key, lks_value_int(from, i));
    }
    lks_value_t *copy = lks_tree_graft(tree, from, dict, NULL);
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_value_count(copy), 100);
    for (size_t i = 0; i < 100; i++) {
        lks_value_t *key = lks_value_key_at(dict, i);
        cr_assert_eq(lks_dict_find(copy, key), lks_value_at(copy, i));
    }
    lks_tree_destroy(from);
    lks_tree_destroy(tree);
}

Test(value_copy, a_failed_tree_gives_nothing)
{
    lks_tree_t *from, *tree;
    const lks_checkpoint_limits_t limits = {.memory = SIZE_MAX, .max_depth = 10, .max_nodes = 5};
    assert_ok(lks_tree_create(&from));
    assert_ok(lks_tree_create_limited(&limits, &tree));
    lks_value_t *list = lks_value_list(from);
    for (int i = 0; i < 100; i++) {
        lks_value_append(from, list, lks_value_int(from, 1000 + i));
    }
    cr_assert_null(lks_tree_graft(tree, from, list, NULL));
    assert_fails(lks_tree_status(tree), LKS_ERR_FORMAT, "more values than the limit of 5");
    lks_tree_destroy(from);
    lks_tree_destroy(tree);
}
