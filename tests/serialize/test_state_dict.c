/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/named_tensors.h"

#include <lockstep/state_dict.h>
#include <stdio.h>

static lks_tree_t *tree;
static lks_state_dict_t *dict;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_state_dict_destroy(dict);
    lks_tree_destroy(tree);
}

TestSuite(state_dict, .init = setup, .fini = teardown);

/* A dict with a scalar under each of the words. */
static lks_value_t *dict_of(const char *keys)
{
    return test_add_scalars(tree, lks_value_dict(tree), keys);
}

static lks_value_t *pair(const char *a, lks_value_t *first, const char *b, lks_value_t *second)
{
    lks_value_t *value = lks_value_dict(tree);
    lks_value_set_str(tree, value, a, first);
    lks_value_set_str(tree, value, b, second);
    return value;
}

static lks_value_t *list_of(lks_value_t *a, lks_value_t *b)
{
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, a);
    lks_value_append(tree, list, b);
    return list;
}

static void find(lks_value_t *root, const char *path)
{
    assert_ok(lks_tree_status(tree));
    lks_state_dict_destroy(dict);
    dict = NULL;
    assert_ok(lks_state_dict_find(tree, root, path, &dict));
}

static void expect_found(lks_value_t *root, const char *path, size_t count)
{
    find(root, NULL);
    cr_expect_str_eq(lks_state_dict_path(dict), path);
    cr_expect_eq(lks_state_dict_count(dict), count);
}

Test(state_dict, keeps_order_and_skips_what_is_no_tensor)
{
    lks_value_t *root = dict_of("b a");
    lks_value_set_str(tree, root, "_extra_state", lks_value_none(tree));
    lks_value_set_int(tree, root, 7, test_scalar(tree));
    lks_value_set_str(tree, root, "c", test_scalar(tree));
    find(root, NULL);
    cr_assert_eq(lks_state_dict_count(dict), 3);
    cr_expect_str_eq(lks_state_dict_key(dict, 0), "b");
    cr_expect_str_eq(lks_state_dict_key(dict, 1), "a");
    cr_expect_str_eq(lks_state_dict_key(dict, 2), "c");
    cr_expect_eq(lks_state_dict_value(dict, 1), lks_value_find(root, "a"));
    cr_expect_null(lks_state_dict_key(dict, 3));
    cr_expect_null(lks_state_dict_value(dict, 3));
    cr_expect_str_eq(lks_state_dict_path(dict), "");
}

Test(state_dict, dict_with_most_tensors_is_found)
{
    expect_found(pair("small", dict_of("a b"), "model", dict_of("a b c")), "model", 3);
    expect_found(pair("model", dict_of("a b"), "ema", dict_of("a b")), "model", 2);
    expect_found(pair("epoch", lks_value_int(tree, 3), "state_dict", dict_of("w")), "state_dict",
                 1);
    expect_found(dict_of("w"), "", 1);
    expect_found(list_of(lks_value_int(tree, 1), pair("a", dict_of("x y"), "b", dict_of("x"))),
                 "1.a", 2);
}

Test(state_dict, shallower_dict_wins_a_tie)
{
    lks_value_t *deep = pair("inner", dict_of("a b"), "n", lks_value_none(tree));
    expect_found(pair("deep", deep, "flat", dict_of("a b")), "flat", 2);
}

Test(state_dict, int_keys_and_tuples_are_walked)
{
    lks_value_t *tuple = lks_value_tuple(tree);
    lks_value_append(tree, tuple, dict_of("w"));
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_int(tree, root, -5, tuple);
    expect_found(root, "-5.0", 1);
}

Test(state_dict, root_may_be_the_trees_own)
{
    assert_fails(lks_state_dict_find(tree, NULL, NULL, &dict), LKS_ERR_NOT_FOUND, "no root");
    lks_tree_set_root(tree, dict_of("w"));
    find(NULL, NULL);
    cr_expect_eq(lks_state_dict_count(dict), 1);
}

Test(state_dict, optimizer_state_is_no_match_for_a_small_model)
{
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_int(tree, state, 0, dict_of("step exp_avg exp_avg_sq max_exp_avg_sq"));
    lks_value_t *groups = lks_value_list(tree);
    lks_value_t *optimizer = pair("state", state, "param_groups", groups);
    lks_value_t *root = pair("optimizer", optimizer, "model", dict_of("weight bias"));
    expect_found(root, "model", 2);
    find(root, "optimizer.state.0");
    cr_expect_eq(lks_state_dict_count(dict), 4);
    lks_state_dict_t *none = NULL;
    assert_fails(lks_state_dict_find(tree, optimizer, NULL, &none), LKS_ERR_NOT_FOUND,
                 "no dict has a tensor under a str key");
    cr_assert_null(none);
}

Test(state_dict, cyclic_and_shared_tree_is_searched_once)
{
    lks_value_t *root = lks_value_dict(tree), *list = lks_value_list(tree);
    lks_value_set_str(tree, root, "self", root);
    lks_value_set_str(tree, root, "list", list);
    lks_value_append(tree, list, list);
    lks_value_append(tree, list, root);
    lks_value_append(tree, list, dict_of("w"));
    expect_found(root, "list.2", 1);
    find(root, "self.self.list.0.0.1.list.2");
    cr_expect_eq(lks_state_dict_count(dict), 1);
    cr_expect_str_eq(lks_state_dict_path(dict), "self.self.list.0.0.1.list.2");
}

Test(state_dict, lists_that_share_all_their_items_do_not_multiply)
{
    lks_value_t *value = dict_of("w");
    for (int i = 0; i < 200; i++) {
        value = list_of(value, value); /* 2^200 paths */
    }
    find(value, NULL);
    cr_expect_eq(lks_state_dict_count(dict), 1);
    cr_expect_eq(strlen(lks_state_dict_path(dict)), 2 * 200 - 1);
}

Test(state_dict, very_deep_tree_has_a_path_without_its_front)
{
    lks_value_t *value = dict_of("w");
    for (int i = 0; i < 100000; i++) {
        lks_value_t *list = lks_value_list(tree);
        lks_value_append(tree, list, value);
        value = list;
    }
    find(value, NULL);
    const char *path = lks_state_dict_path(dict);
    cr_expect_leq(strlen(path), 4095);
    cr_expect_geq(strlen(path), 4090);
    cr_expect(strncmp(path, "...0.0.0", 8) == 0, "%.20s", path);
}

Test(state_dict, long_key_leaves_the_path_without_its_front)
{
    static char key[5000];
    memset(key, 'k', sizeof key - 1);
    lks_value_t *root = pair(key, pair("model", dict_of("w"), "n", lks_value_none(tree)), "n",
                             lks_value_none(tree));
    expect_found(root, "...model", 1);
}

Test(state_dict, step_that_cannot_be_said_is_a_question_mark)
{
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set(tree, root, lks_value_none(tree), dict_of("w"));
    expect_found(root, "?", 1);
    root = lks_value_dict(tree);
    lks_value_set(tree, root, lks_value_str_n(tree, "a\0b", 3), dict_of("w"));
    expect_found(root, "?", 1);
}

Test(state_dict, path_resolves_keys_and_positions)
{
    lks_value_t *root =
        pair("runs", list_of(dict_of("a"), dict_of("a b")), "x.y", dict_of("a b c"));
    lks_value_set_str(tree, root, "", dict_of("a b c d"));
    lks_value_set_str(tree, root, "x", pair("y", dict_of("a"), "z", dict_of("a b")));
    lks_value_set_int(tree, root, 12, dict_of("a b c d e"));
    static const struct {
        const char *path;
        size_t count;
    } cases[] = {
        {"runs.0", 1}, {"runs.1", 2}, {"x.y", 3}, {"x.z", 2}, {"12", 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        find(root, cases[i].path);
        cr_expect_eq(lks_state_dict_count(dict), cases[i].count, "%s", cases[i].path);
        cr_expect_str_eq(lks_state_dict_path(dict), cases[i].path);
    }
}

Test(state_dict, empty_path_is_the_root_and_empty_keys_are_steps)
{
    lks_value_t *inner = pair("", dict_of("a b"), "n", lks_value_none(tree));
    lks_value_t *root = pair("", inner, "w", test_scalar(tree));
    find(root, "");
    cr_expect_eq(lks_state_dict_count(dict), 1);
    find(root, ".");
    cr_expect_eq(lks_state_dict_count(dict), 2);
}

Test(state_dict, path_that_leads_nowhere_is_not_found)
{
    lks_value_t *root =
        pair("runs", list_of(dict_of("a"), dict_of("b")), "n", lks_value_dict(tree));
    static const struct {
        const char *path, *message;
    } cases[] = {
        {"model", "there is nothing at 'model': the root is a dict without it"},
        {"runs.2", "there is nothing at 'runs.2': 'runs' is a list without '2'"},
        {"runs.-1", "is a list without '-1'"},
        {"runs.0x1", "is a list without '0x1'"},
        {"runs.", "is a list without ''"},
        {"runs.99999999999999999999999", "is a list without"},
        {"runs.0.a.b", "'runs.0.a' is a tensor without 'b'"},
        {"run", "the root is a dict without it"},
        {"n", "the dict 'n' has no tensor under a str key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(lks_state_dict_find(tree, root, cases[i].path, &dict), LKS_ERR_NOT_FOUND,
                     cases[i].message);
    }
    cr_assert_null(dict);
}

Test(state_dict, path_to_something_else_is_a_mismatch)
{
    lks_value_t *root = pair("epoch", lks_value_int(tree, 3), "w", test_scalar(tree));
    assert_fails(lks_state_dict_find(tree, root, "epoch", &dict), LKS_ERR_MISMATCH,
                 "'epoch' is of kind int where a dict of tensors is wanted");
    assert_fails(lks_state_dict_find(tree, root, "w", &dict), LKS_ERR_MISMATCH, "of kind tensor");
    assert_fails(lks_state_dict_find(tree, lks_value_list(tree), "", &dict), LKS_ERR_MISMATCH,
                 "'(root)' is of kind list");
}

Test(state_dict, tree_without_named_tensors_is_not_found)
{
    lks_value_t *roots[] = {lks_value_none(tree), test_scalar(tree), lks_value_dict(tree),
                            list_of(test_scalar(tree), test_scalar(tree))};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0]; i++) {
        assert_fails(lks_state_dict_find(tree, roots[i], NULL, &dict), LKS_ERR_NOT_FOUND,
                     "no dict has a tensor under a str key");
    }
}

Test(state_dict, key_with_a_zero_byte_is_refused)
{
    lks_value_t *root = dict_of("w");
    lks_value_set(tree, root, lks_value_str_n(tree, "w\0x", 3), test_scalar(tree));
    assert_fails(lks_state_dict_find(tree, root, NULL, &dict), LKS_ERR_FORMAT,
                 "the state dict's key 'w\\x00x' has a zero byte in it");
}
