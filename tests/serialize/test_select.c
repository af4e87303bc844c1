/* SPDX-License-Identifier: Apache-2.0 */
#include "core/strbuf.h"
#include "serialize/named_tensors.h"
#include "serialize/tree_text.h"

#include <lockstep/rename.h>
#include <stdio.h>

static lks_tree_t *tree;
static lks_value_t *root;
static lks_rename_report_t *report;

static void setup(void)
{
    static const char *const keys[] = {"fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias",
                                       "fcx.weight",  "head.w",    "_extra_state"};
    static const char *const paths[] = {"",    "fc",   "fc.0",     "fc.1", "fc.2",
                                        "fcx", "head", "head.act", "act"};
    assert_ok(lks_tree_create(&tree));
    root = lks_value_ordered_dict(tree);
    lks_tree_set_root(tree, root);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        lks_value_set_str(tree, root, keys[i],
                          keys[i][0] == '_' ? lks_value_none(tree) : test_scalar(tree));
    }
    lks_value_t *metadata = lks_value_ordered_dict(tree), *attributes = lks_value_dict(tree);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        lks_value_set_str(tree, metadata, paths[i], lks_value_none(tree));
    }
    lks_value_set_str(tree, attributes, "_metadata", metadata);
    lks_value_dict_set_attributes(tree, root, attributes);
    assert_ok(lks_tree_status(tree));
}

static void teardown(void)
{
    lks_rename_report_destroy(report);
    lks_tree_destroy(tree);
}

TestSuite(select, .init = setup, .fini = teardown);

static void expect_keys(const lks_value_t *dict, const char *wanted)
{
    lks_strbuf_t found = {0};
    for (size_t i = 0; i < lks_value_count(dict); i++) {
        lks_strbuf_appendf(&found, "%s%s", i > 0 ? " " : "",
                           lks_value_text(lks_value_key_at(dict, i), NULL));
    }
    cr_expect_str_eq(lks_strbuf_text(&found), wanted);
    lks_strbuf_fini(&found);
}

static void expect(const lks_key_filter_t *filters, size_t count, const char *keys,
                   const char *metadata)
{
    assert_ok(lks_tree_select(tree, NULL, filters, count, &report));
    expect_keys(root, keys);
    expect_keys(lks_value_find(lks_value_dict_attributes(root), "_metadata"), metadata);
}

#define ALL_KEYS "fc.0.weight fc.0.bias fc.2.weight fc.2.bias fcx.weight head.w _extra_state"
#define ALL_METADATA " fc fc.0 fc.1 fc.2 fcx head head.act act"

Test(select, a_glob_crosses_dots_and_is_the_whole_key)
{
    const lks_key_filter_t keep = {.pattern = "fc.*"};
    expect(&keep, 1, "fc.0.weight fc.0.bias fc.2.weight fc.2.bias", " fc fc.0 fc.1 fc.2 act");
    cr_expect_str_eq(lks_rename_report_text(report),
                     "'(root)': dropped 3 of 7 keys (fcx.weight)\n");
    cr_expect_eq(lks_rename_report_changed(report), 3);
}

Test(select, a_regex_is_found_anywhere)
{
    const lks_key_filter_t drop = {.pattern = "\\.(bias|w)$", .is_regex = true, .drop = true};
    expect(&drop, 1, "fc.0.weight fc.2.weight fcx.weight _extra_state",
           " fc fc.0 fc.1 fc.2 fcx act");
}

Test(select, dropping_wins_over_keeping)
{
    const lks_key_filter_t filters[] = {
        {.pattern = "fc.0.*"}, {.pattern = "head*"}, {.pattern = "*.bias", .drop = true}};
    expect(filters, 3, "fc.0.weight head.w", " fc fc.0 fc.1 head head.act act");
}

Test(select, modules_inside_go_with_the_last_key)
{
    const lks_key_filter_t drop = {.pattern = "fc.*", .drop = true};
    expect(&drop, 1, "fcx.weight head.w _extra_state", " fcx head head.act act");
}

Test(select, no_filter_drops_nothing)
{
    expect(NULL, 0, ALL_KEYS, ALL_METADATA);
    cr_expect_eq(lks_rename_report_changed(report), 0);
}

static void expect_refused(lks_key_filter_t filter, lks_status_t status, const char *sentence)
{
    const lks_key_filter_t filters[] = {{.pattern = "fc.0.*", .drop = true}, filter};
    assert_fails(lks_tree_select(tree, NULL, filters, 2, &report), status, sentence);
    expect_keys(root, ALL_KEYS);
    expect_keys(lks_value_find(lks_value_dict_attributes(root), "_metadata"), ALL_METADATA);
    cr_expect_null(report);
}

Test(select, refusals_change_nothing)
{
    expect_refused((lks_key_filter_t){.pattern = "fc.9.*"}, LKS_ERR_NOT_FOUND,
                   "no key matches 'fc.9.*'");
    expect_refused((lks_key_filter_t){.pattern = "a[", .is_regex = true}, LKS_ERR_INVALID_ARG,
                   "'a[' is no regular expression");
    lks_value_set(tree, root, lks_value_str_n(tree, "a\0b", 3), test_scalar(tree));
    const lks_key_filter_t any = {.pattern = "*"};
    assert_fails(lks_tree_select(tree, NULL, &any, 1, NULL), LKS_ERR_UNSUPPORTED, "zero byte");
}

Test(select, a_path_chooses_one_state_dict)
{
    lks_value_t *around = lks_value_dict(tree), *other = lks_value_dict(tree);
    lks_value_set_str(tree, around, "model", root);
    lks_value_set_str(tree, around, "other", other);
    lks_value_set_str(tree, other, "fc.0.weight", test_scalar(tree));
    lks_tree_set_root(tree, around);
    const lks_key_filter_t drop = {.pattern = "fc.0.*", .drop = true};
    assert_ok(lks_tree_select(tree, "model", &drop, 1, NULL));
    expect_keys(root, "fc.2.weight fc.2.bias fcx.weight head.w _extra_state");
    expect_keys(other, "fc.0.weight");
    assert_fails(lks_tree_select(tree, "nowhere", &drop, 1, NULL), LKS_ERR_NOT_FOUND, "nowhere");
}
