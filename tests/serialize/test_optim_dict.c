/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/named_tensors.h"
#include "serialize/tree_text.h"

#include <lockstep/checkpoint.h>
#include <lockstep/optim_dict.h>
#include <stdio.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static lks_tree_t *tree;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(optim_dict, .init = setup, .fini = teardown);

/* A list of ints; of strs, where they are no numbers. */
static lks_value_t *list_of(const char *items)
{
    char text[128];
    const char *words[16];
    (void)snprintf(text, sizeof text, "%s", items);
    size_t count = test_split(text, words, 16);
    lks_value_t *list = lks_value_list(tree);
    for (size_t i = 0; i < count; i++) {
        bool is_number = *words[i] >= '0' && *words[i] <= '9';
        lks_value_append(tree, list,
                         is_number ? lks_value_int(tree, strtoll(words[i], NULL, 10))
                                   : lks_value_str(tree, words[i]));
    }
    return list;
}

static void add_group(lks_value_t *optimizer, const char *params, const char *param_names)
{
    lks_value_t *group = lks_value_dict(tree);
    if (param_names) {
        lks_value_set_str(tree, group, "param_names", list_of(param_names));
    }
    lks_value_set_str(tree, group, "lr", lks_value_float(tree, 0.5));
    lks_value_set_str(tree, group, "params", list_of(params));
    lks_value_append(tree, lks_value_find(optimizer, "param_groups"), group);
}

/* States are strs that say whose they are. */
static lks_value_t *optimizer_of(const char *states)
{
    lks_value_t *optimizer = lks_value_dict(tree), *state = lks_value_dict(tree);
    lks_value_t *keys = list_of(states);
    for (size_t i = 0; i < lks_value_count(keys); i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "state %zu", i);
        lks_value_set(tree, state, lks_value_at(keys, i), lks_value_str(tree, text));
    }
    lks_value_set_str(tree, optimizer, "state", state);
    lks_value_set_str(tree, optimizer, "param_groups", lks_value_list(tree));
    return optimizer;
}

static void append_value(lks_strbuf_t *out, const lks_value_t *value)
{
    int64_t number;
    if (lks_value_get_int(value, &number) == LKS_OK) {
        lks_strbuf_appendf(out, "%d", (int)number);
    } else {
        lks_strbuf_append_str(out, lks_value_text(value, NULL));
    }
}

/* "a=state 0, b=state 1 | a b | c" */
static void expect(const lks_value_t *optimizer, const char *wanted)
{
    assert_ok(lks_tree_status(tree));
    lks_strbuf_t found = {0};
    const lks_value_t *state = lks_value_find(optimizer, "state");
    for (size_t i = 0; i < lks_value_count(state); i++) {
        lks_strbuf_append_str(&found, i > 0 ? ", " : "");
        append_value(&found, lks_value_key_at(state, i));
        lks_strbuf_append_str(&found, "=");
        append_value(&found, lks_value_at(state, i));
    }
    const lks_value_t *groups = lks_value_find(optimizer, "param_groups");
    for (size_t g = 0; g < lks_value_count(groups); g++) {
        const lks_value_t *params = lks_value_find(lks_value_at(groups, g), "params");
        lks_strbuf_append_str(&found, " |");
        for (size_t i = 0; i < lks_value_count(params); i++) {
            lks_strbuf_append_str(&found, " ");
            append_value(&found, lks_value_at(params, i));
        }
        double lr;
        assert_ok(lks_value_get_float(lks_value_find(lks_value_at(groups, g), "lr"), &lr));
    }
    cr_expect_str_eq(lks_strbuf_text(&found), wanted);
    lks_strbuf_fini(&found);
}

static const char *const abc[] = {"a", "b", "c"};
static const char *const cba[] = {"c", "b", "a"};

Test(optim_dict, numbers_become_names_over_all_groups)
{
    lks_value_t *numbered = optimizer_of("0 2"), *named, *back;
    add_group(numbered, "0", NULL);
    add_group(numbered, "1 2", NULL);
    assert_ok(lks_optim_dict_by_name(tree, numbered, abc, 3, &named));
    expect(named, "a=state 0, c=state 1 | a | b c");
    expect(numbered, "0=state 0, 2=state 1 | 0 | 1 2");
    assert_ok(lks_optim_dict_by_index(tree, named, NULL, 0, &back));
    expect(back, "0=state 0, 2=state 1 | 0 | 1 2");
    cr_expect_eq(lks_value_find(lks_value_find(named, "state"), "c"),
                 lks_value_find_int(lks_value_find(numbered, "state"), 2));
}

Test(optim_dict, addresses_of_old_files_are_numbers_too)
{
    lks_value_t *numbered = optimizer_of("140737488355328 94001122334455"), *named, *back;
    add_group(numbered, "94001122334455 140737488355328 7", NULL);
    assert_ok(lks_optim_dict_by_name(tree, numbered, abc, 3, &named));
    expect(named, "a=state 1, b=state 0 | a b c");
    assert_ok(lks_optim_dict_by_index(tree, named, NULL, 0, &back));
    expect(back, "0=state 1, 1=state 0 | 0 1 2");
}

Test(optim_dict, groups_are_sorted_as_the_model_has_its_parameters)
{
    lks_value_t *named = optimizer_of("a b c"), *numbered;
    add_group(named, "b", "b");
    add_group(named, "a c", "a c");
    assert_ok(lks_optim_dict_by_index(tree, named, cba, 3, &numbered));
    expect(numbered, "0=state 1, 1=state 2, 2=state 0 | 0 | 1 2");
    assert_ok(lks_optim_dict_by_name(tree, numbered, NULL, 0, &named));
    expect(named, "b=state 1, c=state 2, a=state 0 | b | c a");
}

Test(optim_dict, names_may_come_from_the_groups)
{
    lks_value_t *numbered = optimizer_of("1"), *named;
    add_group(numbered, "0", "x");
    add_group(numbered, "", NULL);
    add_group(numbered, "1 2", "y z");
    assert_ok(lks_optim_dict_by_name(tree, numbered, NULL, 0, &named));
    expect(named, "y=state 0 | x | | y z");
    add_group(numbered, "3", NULL);
    assert_fails(lks_optim_dict_by_name(tree, numbered, NULL, 0, &named), LKS_ERR_MISMATCH,
                 "group 3 has no list 'param_names'");
}

static void expect_no_names(lks_value_t *numbered, const char *const *names, size_t count,
                            lks_status_t status, const char *sentence)
{
    lks_value_t *named = NULL;
    assert_fails(lks_optim_dict_by_name(tree, numbered, names, count, &named), status, sentence);
    cr_expect_null(named);
}

Test(optim_dict, what_does_not_fit_is_refused)
{
    static const char *const aba[] = {"a", "b", "a"};
    lks_value_t *numbered = optimizer_of("0 1");
    add_group(numbered, "0 1 2", NULL);
    expect_no_names(numbered, abc, 2, LKS_ERR_MISMATCH, "has 3 parameters, 2 names are given");
    expect_no_names(numbered, aba, 3, LKS_ERR_INVALID_ARG, "are called 'a'");
    lks_value_set_int(tree, lks_value_find(numbered, "state"), 9, lks_value_none(tree));
    expect_no_names(numbered, abc, 3, LKS_ERR_MISMATCH, "a state of '9' and no group has");

    numbered = optimizer_of("0");
    add_group(numbered, "0 0", NULL);
    expect_no_names(numbered, abc, 2, LKS_ERR_MISMATCH, "has parameter 0 twice");
    expect_no_names(lks_value_none(tree), abc, 3, LKS_ERR_MISMATCH, "no optimizer's state dict");
    numbered = optimizer_of("");
    lks_value_append(tree, lks_value_find(numbered, "param_groups"), lks_value_none(tree));
    expect_no_names(numbered, abc, 0, LKS_ERR_MISMATCH, "group 0 has no list 'params'");
    numbered = optimizer_of("a");
    add_group(numbered, "a", NULL);
    expect_no_names(numbered, abc, 1, LKS_ERR_MISMATCH, "a value of kind str where int");
}

static void expect_no_numbers(lks_value_t *named, const char *const *names, size_t count,
                              lks_status_t status, const char *sentence)
{
    lks_value_t *numbered = NULL;
    assert_fails(lks_optim_dict_by_index(tree, named, names, count, &numbered), status, sentence);
    cr_expect_null(numbered);
}

Test(optim_dict, other_names_than_the_model_has_are_refused)
{
    static const char *const aba[] = {"a", "b", "a"};
    lks_value_t *named = optimizer_of("a");
    add_group(named, "a b", NULL);
    add_group(named, "d", NULL);
    expect_no_numbers(named, abc, 3, LKS_ERR_MISMATCH, "'d' is not one of the model's");
    expect_no_numbers(named, abc, 2, LKS_ERR_MISMATCH, "has 3 parameters, 2 names");
    expect_no_numbers(named, aba, 3, LKS_ERR_INVALID_ARG, "the parameter 'a' twice");
    lks_value_set_str(tree, lks_value_find(named, "state"), "z", lks_value_none(tree));
    expect_no_numbers(named, NULL, 0, LKS_ERR_MISMATCH, "a state of 'z' and no group has");
    named = optimizer_of("a");
    add_group(named, "a a", NULL);
    expect_no_numbers(named, NULL, 0, LKS_ERR_MISMATCH, "the parameter 'a' twice");
    named = optimizer_of("0");
    add_group(named, "0", NULL);
    expect_no_numbers(named, NULL, 0, LKS_ERR_MISMATCH, "a value of kind int where str");
}

/* By name and back, the optimizers of torch's files are what they were. */
Test(optim_dict, files_come_back_as_they_were)
{
    static const char *const files[] = {"t113_tutorial_ckpt.tar", "t26_tutorial_ckpt.tar"};
    static const char *const names[] = {"fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"};
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, CORPUS "%s", files[i]);
        lks_checkpoint_t *checkpoint;
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        lks_tree_t *read = lks_checkpoint_edit(checkpoint);
        lks_value_t *root = lks_tree_root(read), *named, *back;
        lks_value_t *optimizer = lks_value_find(root, "optimizer_state_dict");
        lks_strbuf_t before = test_tree_text(read);
        assert_ok(lks_optim_dict_by_name(read, optimizer, names, 4, &named));
        cr_expect_not_null(lks_value_find(lks_value_find(named, "state"), "fc.2.bias"));
        assert_ok(lks_optim_dict_by_index(read, named, names, 4, &back));
        lks_value_set_str(read, root, "optimizer_state_dict", back);
        lks_strbuf_t after = test_tree_text(read);
        cr_expect_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after));
        lks_strbuf_fini(&before);
        lks_strbuf_fini(&after);
        lks_checkpoint_close(checkpoint);
    }
}
