/* SPDX-License-Identifier: Apache-2.0 */
/* Walking a tree: dotted paths, what is shared once, cycles and depth without harm. */
#include "core/strbuf.h"
#include "runtime/cli/tree_walk.h"
#include "support/support.h"

static lks_status_t note(void *context, const char *path, size_t nbytes, const lks_value_t *leaf)
{
    cr_assert_eq(strlen(path), nbytes);
    lks_strbuf_appendf(context, "%s:%s ", path, lks_value_kind_name(lks_value_kind(leaf)));
    return LKS_OK;
}

static void assert_walk(const lks_value_t *root, const char *want)
{
    lks_strbuf_t seen = {0};
    assert_ok(tree_walk(root, 0, note, &seen));
    cr_assert_str_eq(lks_strbuf_text(&seen), want);
    lks_strbuf_fini(&seen);
}

Test(tree_walk, names_every_leaf)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree), *list = lks_value_list(tree);
    lks_value_append(tree, list, lks_value_int(tree, 1));
    lks_value_append(tree, list, lks_value_tuple(tree));
    lks_value_set_str(tree, root, "a", list);
    lks_value_set_int(tree, root, 7, lks_value_float(tree, 0.5));
    lks_value_set(tree, root, lks_value_none(tree), lks_value_str(tree, "x"));
    assert_ok(lks_tree_status(tree));
    assert_walk(root, "a.0:int a.1:tuple 7:float <none 2>:str ");
    lks_tree_destroy(tree);
}

Test(tree_walk, a_scalar_is_a_leaf_without_a_path)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    assert_walk(lks_value_int(tree, 3), ":int ");
    lks_tree_destroy(tree);
}

static lks_status_t add_nbytes(void *context, const char *path, size_t nbytes,
                               const lks_value_t *leaf)
{
    (void)leaf;
    cr_assert_eq(strlen(path), nbytes);
    *(size_t *)context += nbytes;
    return LKS_OK;
}

/* Each object is a leaf, below the path of the one around it. */
Test(tree_walk, paths_of_nested_objects_do_not_grow_with_their_product)
{
    enum { DEPTH = 100000 };
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *inner = lks_value_none(tree), *class = lks_value_global(tree, "a", "B");
    for (int i = 0; i < DEPTH; i++) {
        lks_value_t *arguments = lks_value_tuple(tree);
        lks_value_append(tree, arguments, inner);
        inner = lks_value_object(tree, LKS_OBJECT_NEW, class, arguments);
    }
    assert_ok(lks_tree_status(tree));
    size_t total = 0;
    assert_ok(tree_walk(inner, 0, add_nbytes, &total));
    cr_assert_lt(total, ((size_t)64 << 20) + (size_t)DEPTH * 260);
    cr_assert_gt(total, (size_t)64 << 20);
    lks_tree_destroy(tree);
}

Test(tree_walk, shows_the_parts_of_an_object)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *arguments = lks_value_tuple(tree), *state = lks_value_dict(tree);
    lks_value_append(tree, arguments, lks_value_int(tree, 1));
    lks_value_set_str(tree, state, "lr", lks_value_float(tree, 0.1));
    lks_value_t *object = lks_value_object(
        tree, LKS_OBJECT_NEW, lks_value_global(tree, "argparse", "Namespace"), arguments);
    lks_value_object_set_state(tree, object, state);
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_str(tree, root, "args", object);
    assert_walk(root, "args:object args.<arg0>:int args.lr:float ");
    lks_tree_destroy(tree);
}

Test(tree_walk, visits_what_is_shared_once_and_survives_a_cycle)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *level = lks_value_list(tree);
    lks_value_append(tree, level, lks_value_int(tree, 1));
    for (int i = 0; i < 200; i++) { /* 2^200 paths */
        lks_value_t *next = lks_value_list(tree);
        lks_value_append(tree, next, level);
        lks_value_append(tree, next, level);
        level = next;
    }
    lks_strbuf_t seen = {0};
    assert_ok(tree_walk(level, 0, note, &seen));
    cr_assert(strstr(lks_strbuf_text(&seen), "0.0.0"));
    lks_strbuf_fini(&seen);
    lks_value_t *ring = lks_value_list(tree);
    lks_value_append(tree, ring, ring);
    lks_value_append(tree, ring, lks_value_bool(tree, true));
    assert_walk(ring, "1:bool ");
    lks_tree_destroy(tree);
}

static lks_status_t sum_bytes(void *context, const char *path, size_t nbytes,
                              const lks_value_t *leaf)
{
    size_t text = 0;
    (void)path;
    (void)lks_value_text(leaf, &text);
    *(size_t *)context += nbytes + text;
    return LKS_OK;
}

Test(tree_walk, what_is_repeated_does_not_multiply)
{
    static char text[100000];
    memset(text, 'k', sizeof text);
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *key = lks_value_str_n(tree, text, sizeof text);
    lks_value_t *root = lks_value_dict(tree);
    for (int depth = 0; depth < 1000; depth++) { /* the key at every depth: 100 MB of path */
        lks_value_t *above = lks_value_dict(tree);
        lks_value_set(tree, above, key, root);
        lks_value_set_int(tree, above, depth, key); /* and the text at every leaf */
        root = above;
    }
    size_t sum = 0;
    assert_ok(lks_tree_status(tree));
    assert_ok(tree_walk(root, 0, sum_bytes, &sum));
    cr_assert_lt(sum, 5000000);
    lks_tree_destroy(tree);
}

static lks_status_t count_leaves(void *context, const char *path, size_t nbytes,
                                 const lks_value_t *leaf)
{
    (void)path;
    (void)nbytes;
    (void)leaf;
    ++*(size_t *)context;
    return LKS_OK;
}

Test(tree_walk, goes_as_deep_as_a_file_does)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_int(tree, 1);
    for (int i = 0; i < 300000; i++) {
        lks_value_t *next = lks_value_tuple(tree);
        lks_value_append(tree, next, root);
        root = next;
    }
    assert_ok(lks_tree_status(tree));
    size_t leaves = 0;
    assert_ok(tree_walk(root, 0, count_leaves, &leaves));
    cr_assert_eq(leaves, 1);
    lks_tree_destroy(tree);
}
