/* SPDX-License-Identifier: Apache-2.0 */
/* rename_support.c - see rename_support.h. */
#include "serialize/rename_support.h"
#include "serialize/tree_text.h"

#include <stdio.h>

lks_tree_t *tree;
lks_rename_t *program;
lks_rename_report_t *report;

void rename_setup(void)
{
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_rename_create(&program));
}

void rename_teardown(void)
{
    lks_rename_report_destroy(report);
    lks_rename_destroy(program);
    lks_tree_destroy(tree);
}

lks_value_t *dict_of(const char *keys)
{
    return test_add_scalars(tree, lks_value_ordered_dict(tree), keys);
}

void set_metadata(lks_value_t *dict, const char *paths)
{
    char text[512];
    const char *words[32];
    (void)snprintf(text, sizeof text, "%s", paths);
    size_t count = test_split(text, words, 32);
    lks_value_t *metadata = lks_value_ordered_dict(tree), *attributes = lks_value_dict(tree);
    for (size_t i = 0; i < count; i++) {
        lks_value_t *entry = lks_value_dict(tree);
        lks_value_set_str(tree, entry, "version", lks_value_int(tree, (int64_t)i + 1));
        lks_value_set_str(tree, metadata, strcmp(words[i], ".") == 0 ? "" : words[i], entry);
    }
    lks_value_set_str(tree, attributes, "_metadata", metadata);
    lks_value_dict_set_attributes(tree, dict, attributes);
}

lks_value_t *root_of(lks_value_t *root)
{
    lks_tree_set_root(tree, root);
    return root;
}

/* The strs among keys of a dict or items of a list, joined by spaces. */
static lks_strbuf_t words_of(const lks_value_t *value)
{
    lks_strbuf_t out = {0};
    for (size_t i = 0; i < lks_value_count(value); i++) {
        const lks_value_t *key = lks_value_key_at(value, i);
        const char *text = lks_value_text(key ? key : lks_value_at(value, i), NULL);
        lks_strbuf_append_str(&out, out.length > 0 ? " " : "");
        lks_strbuf_append_str(&out, !text ? "?" : *text ? text : ".");
    }
    return out;
}

void expect_words(const lks_value_t *value, const char *words)
{
    lks_strbuf_t found = words_of(value);
    cr_expect_str_eq(lks_strbuf_text(&found), words);
    lks_strbuf_fini(&found);
}

void expect_metadata(const lks_value_t *dict, const char *wanted)
{
    const lks_value_t *metadata = lks_value_find(lks_value_dict_attributes(dict), "_metadata");
    lks_strbuf_t found = {0};
    for (size_t i = 0; i < lks_value_count(metadata); i++) {
        int64_t version = 0;
        assert_ok(
            lks_value_get_int(lks_value_find(lks_value_at(metadata, i), "version"), &version));
        lks_strbuf_appendf(&found, "%s%s:%d", i > 0 ? " " : "",
                           lks_value_text(lks_value_key_at(metadata, i), NULL), (int)version);
    }
    cr_expect_str_eq(lks_strbuf_text(&found), wanted);
    lks_strbuf_fini(&found);
}

void apply(const char *path)
{
    assert_ok(lks_tree_status(tree));
    lks_rename_report_destroy(report);
    report = NULL;
    assert_ok(lks_rename_apply(program, tree, path, &report));
}

void expect_refused(const char *path, lks_status_t status, const char *sentence)
{
    assert_ok(lks_tree_status(tree));
    lks_rename_report_destroy(report);
    report = NULL;
    lks_strbuf_t before = test_tree_text(tree);
    assert_fails(lks_rename_apply(program, tree, path, &report), status, sentence);
    assert_ok(lks_tree_status(tree));
    lks_strbuf_t after = test_tree_text(tree);
    cr_expect_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after));
    cr_expect_null(report);
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&after);
}

lks_value_t *optimizer_of(const char *names)
{
    char text[256];
    const char *words[16];
    (void)snprintf(text, sizeof text, "%s", names);
    size_t count = test_split(text, words, 16);
    lks_value_t *state = lks_value_dict(tree), *groups = lks_value_list(tree);
    lks_value_t *group = lks_value_dict(tree), *params = lks_value_list(tree),
                *param_names = lks_value_list(tree), *optimizer = lks_value_dict(tree);
    for (size_t i = 0; i < count; i++) {
        lks_value_t *of_param = lks_value_dict(tree);
        lks_value_set_str(tree, of_param, "module.exp_avg", test_scalar(tree));
        lks_value_set_str(tree, state, words[i], of_param);
        lks_value_append(tree, params, lks_value_str(tree, words[i]));
        lks_value_append(tree, param_names, lks_value_str(tree, words[i]));
    }
    lks_value_set_str(tree, group, "param_names", param_names);
    lks_value_set_str(tree, group, "params", params);
    lks_value_append(tree, groups, group);
    lks_value_set_str(tree, optimizer, "state", state);
    lks_value_set_str(tree, optimizer, "param_groups", groups);
    return optimizer;
}

void expect_optimizer(const lks_value_t *optimizer, const char *names)
{
    const lks_value_t *group = lks_value_at(lks_value_find(optimizer, "param_groups"), 0);
    expect_words(lks_value_find(optimizer, "state"), names);
    expect_words(lks_value_find(group, "params"), names);
    expect_words(lks_value_find(group, "param_names"), names);
    expect_words(lks_value_at(lks_value_find(optimizer, "state"), 0), "module.exp_avg");
}

lks_value_t *checkpoint_of(const char *model, const char *ema)
{
    lks_value_t *root = root_of(lks_value_dict(tree));
    lks_value_set_str(tree, root, "module.epoch", lks_value_int(tree, 3));
    lks_value_set_str(tree, root, "model", dict_of(model));
    lks_value_set_str(tree, root, "module.best", test_scalar(tree));
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, dict_of(ema));
    lks_value_set_str(tree, root, "ema", list);
    return root;
}
