/* SPDX-License-Identifier: Apache-2.0 */
/* Renaming in trees: the keys, and that a refusal changes nothing. */
#include "serialize/rename_support.h"
#include "serialize/tree_text.h"

#include <lockstep/checkpoint.h>
#include <lockstep/state_dict.h>
#include <stdio.h>
#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

TestSuite(rename, .init = rename_setup, .fini = rename_teardown);

/* --- steps -------------------------------------------------------------------------------------- */

Test(rename, strip_prefix_takes_it_from_those_that_have_it)
{
    lks_value_t *root = root_of(dict_of("module.b module.a module. submodule.c module"));
    lks_value_t *value = lks_value_find(root, "module.a");
    assert_ok(lks_rename_strip_prefix(program, "module."));
    apply(NULL);
    expect_words(root, "b a module. submodule.c module");
    cr_expect_eq(lks_value_find(root, "a"), value);
    cr_expect_null(lks_value_find(root, "module.a"));
    cr_expect_eq(lks_rename_report_changed(report), 2);
    cr_expect_str_eq(lks_rename_report_text(report),
                     "'(root)': renamed 2 of 5 keys (module.b -> b)\n");
}

Test(rename, a_prefix_that_no_key_has_is_not_found)
{
    root_of(dict_of("fc.weight submodule.weight"));
    assert_ok(lks_rename_strip_prefix(program, "module."));
    expect_refused(NULL, LKS_ERR_NOT_FOUND, "no key begins with 'module.'");
}

Test(rename, add_prefix_and_steps_in_order)
{
    lks_value_t *root = root_of(dict_of("fc.weight fc.bias"));
    assert_ok(lks_rename_add_prefix(program, "module."));
    assert_ok(lks_rename_regex(program, "^module\\.fc", "model.head"));
    apply(NULL);
    expect_words(root, "model.head.weight model.head.bias");
}

static void expect_regex(const char *text, const char *key, const char *wanted)
{
    lks_rename_t *one;
    assert_ok(lks_rename_create(&one));
    assert_ok(lks_rename_regex_text(one, text));
    lks_value_t *root = root_of(dict_of(""));
    lks_value_set_str(tree, root, key, test_scalar(tree));
    assert_ok(lks_tree_status(tree));
    assert_ok(lks_rename_apply(one, tree, NULL, NULL));
    cr_expect_not_null(lks_value_find(root, wanted), "%s on '%s': '%s', wanted '%s'", text, key,
                       lks_value_text(lks_value_key_at(root, 0), NULL), wanted);
    lks_rename_destroy(one);
}

/* Each agrees with `sed -E 's/.../.../g'` of GNU sed. */
Test(rename, regex_replaces_as_sed_does)
{
    expect_regex("^layer([0-9]+)\\.=blocks.\\1.", "layer12.conv.weight", "blocks.12.conv.weight");
    expect_regex("(a)(b)?=[\\2\\1]", "aab", "[a][ba]");
    expect_regex("o=0", "foo.bottom", "f00.b0tt0m");
    expect_regex("^a=b", "aaa", "baa");
    expect_regex("x*=-", "abc", "-a-b-c-");
    expect_regex("b*=-", "abb", "-a-");
    expect_regex("b*=-", "abbc", "-a-c-");
    expect_regex("c$=<&\\&\\0\\\\>", "abc", "ab<c&c\\>");
    expect_regex("weight=", "fc.weight", "fc.");
    expect_regex("nothing=x", "fc.weight", "fc.weight");
    expect_regex("a=b=c", "a", "b=c");
    expect_regex("a\\=b=c", "a=b", "c");
    expect_regex("[\\=]=c", "=", "c");
    expect_regex("\\.=_", "a.b.c", "a_b_c");
}

Test(rename, bad_steps_are_refused_with_the_reason)
{
    assert_fails(lks_rename_regex(program, "a(b", "c"), LKS_ERR_INVALID_ARG,
                 "'a(b' is no regular expression: Unmatched ( or \\(");
    assert_fails(lks_rename_regex(program, "a(b)", "\\2"), LKS_ERR_INVALID_ARG,
                 "uses group 2 of 'a(b)', which has 1");
    assert_fails(lks_rename_regex(program, "a", "x\\n"), LKS_ERR_INVALID_ARG, "backslash");
    assert_fails(lks_rename_regex(program, "a", "x\\"), LKS_ERR_INVALID_ARG, "backslash");
    assert_fails(lks_rename_regex_text(program, "a\\=b"), LKS_ERR_INVALID_ARG,
                 "PATTERN=REPLACEMENT is wanted");
    assert_fails(lks_rename_strip_prefix(program, ""), LKS_ERR_INVALID_ARG, "empty");
    assert_fails(lks_rename_add_prefix(program, ""), LKS_ERR_INVALID_ARG, "empty");
    lks_value_t *root = root_of(dict_of("a"));
    apply(NULL); /* none of them was added */
    expect_words(root, "a");
}

static void expect_canonical(const char *keys, bool common, const char *wanted)
{
    lks_rename_t *one;
    assert_ok(lks_rename_create(&one));
    assert_ok(lks_rename_canonical(one, common));
    lks_value_t *root = root_of(dict_of(keys));
    assert_ok(lks_rename_apply(one, tree, NULL, NULL));
    expect_words(root, wanted);
    lks_rename_destroy(one);
}

Test(rename, canonical_takes_off_wrappers)
{
    expect_canonical("module.a.w module.a.b", false, "a.w a.b");
    expect_canonical("module.module.a.w module.module.a.b", false, "a.w a.b");
    expect_canonical("module.a.w b.w", false, "module.a.w b.w"); /* a real submodule */
    expect_canonical("module._orig_mod.a._checkpoint_wrapped_module.w module.b", false, "a.w b");
    expect_canonical("_orig_mod.module.a.w _orig_mod.module.b", false, "a.w b");
    expect_canonical("n_averaged module.a.w module.b", false, "n_averaged a.w b");
    expect_canonical("my_orig_mod.w submodule.w", false, "my_orig_mod.w submodule.w");
    expect_canonical("model.a.w model.b.w", false, "model.a.w model.b.w");
    expect_canonical("model.a.w model.b.w", true, "a.w b.w");
    expect_canonical("n_averaged module.model.a.w module.model.b.w", true, "n_averaged a.w b.w");
    expect_canonical("model.a.w net.b.w", true, "model.a.w net.b.w");
    expect_canonical("w", true, "w");
}

/* --- which dicts -------------------------------------------------------------------------------- */

Test(rename, all_state_dicts_are_renamed_and_nothing_else)
{
    lks_value_t *root = checkpoint_of("module.a module.b", "module.a module.b module.c");
    lks_value_set_str(tree, lks_value_find(root, "model"), "module.extra",
                      lks_value_str(tree, "module.text"));
    assert_ok(lks_rename_strip_prefix(program, "module."));
    apply(NULL);
    expect_words(root, "module.epoch model module.best ema");
    expect_words(lks_value_find(root, "model"), "a b extra");
    expect_words(lks_value_at(lks_value_find(root, "ema"), 0), "a b c");
    cr_expect_str_eq(lks_value_text(lks_value_find(lks_value_find(root, "model"), "extra"), NULL),
                     "module.text");
    cr_assert_eq(lks_rename_report_count(report), 2);
    cr_expect_str_eq(lks_rename_report_entry(report, 0)->path, "model");
    cr_expect_eq(lks_rename_report_entry(report, 0)->keys, 3);
    cr_expect_str_eq(lks_rename_report_entry(report, 0)->from, "module.a");
    cr_expect_str_eq(lks_rename_report_entry(report, 0)->to, "a");
    cr_expect_str_eq(lks_rename_report_entry(report, 1)->path, "ema.0");
    cr_expect_null(lks_rename_report_entry(report, 2));
    cr_expect_eq(lks_rename_report_changed(report), 6);
}

Test(rename, a_path_chooses_one_state_dict)
{
    lks_value_t *root = checkpoint_of("module.a", "module.a");
    assert_ok(lks_rename_strip_prefix(program, "module."));
    apply("ema.0");
    expect_words(lks_value_find(root, "model"), "module.a");
    expect_words(lks_value_at(lks_value_find(root, "ema"), 0), "a");
    expect_refused("nowhere", LKS_ERR_NOT_FOUND, "there is nothing at 'nowhere'");
    expect_refused("ema", LKS_ERR_MISMATCH, "'ema' is of kind list");
}

Test(rename, what_a_state_dict_holds_is_not_one)
{
    lks_value_t *root = root_of(dict_of("m.a m.b"));
    lks_value_set_str(tree, root, "m._extra_state", dict_of("m.inner"));
    assert_ok(lks_rename_strip_prefix(program, "m."));
    apply(NULL);
    expect_words(root, "a b _extra_state");
    expect_words(lks_value_find(root, "_extra_state"), "m.inner");
}

Test(rename, a_dict_around_an_optimizer_or_a_model_is_no_state_dict)
{
    lks_value_t *root = root_of(lks_value_dict(tree)), *inner = dict_of("m.a m.b");
    lks_value_set_str(tree, root, "m.loss", test_scalar(tree));
    lks_value_set_str(tree, root, "m.optimizer", optimizer_of("m.a"));
    assert_ok(lks_rename_strip_prefix(program, "m."));
    apply(NULL);
    expect_words(root, "m.loss m.optimizer");
    expect_optimizer(lks_value_find(root, "m.optimizer"), "a");

    root = root_of(lks_value_dict(tree));
    lks_value_set_str(tree, root, "m.a", test_scalar(tree));
    lks_value_set_str(tree, root, "m.b", test_scalar(tree));
    lks_value_set_str(tree, root, "model", inner);
    apply(NULL); /* as many tensors inside: then the outer one is it */
    expect_words(root, "a b model");
    expect_words(inner, "m.a m.b");
}

Test(rename, a_report_shows_hostile_names_harmlessly)
{
    lks_value_t *root = root_of(lks_value_dict(tree)), *dict = dict_of("");
    lks_value_set_str(tree, dict, "m.\x1b[2J", test_scalar(tree));
    lks_value_set_str(tree, root, "a\nb", dict);
    assert_ok(lks_rename_strip_prefix(program, "m."));
    apply(NULL);
    cr_expect_str_eq(lks_rename_report_text(report),
                     "'a\\x0ab': renamed 1 of 1 key (m.\\x1b[2J -> \\x1b[2J)\n");
}

Test(rename, keys_that_are_no_str_stay_where_they_are)
{
    lks_value_t *root = root_of(dict_of("m.a"));
    lks_value_set_int(tree, root, 7, test_scalar(tree));
    lks_value_set_str(tree, root, "m.b", test_scalar(tree));
    assert_ok(lks_rename_strip_prefix(program, "m."));
    apply(NULL);
    expect_words(root, "a ? b");
    cr_expect_not_null(lks_value_find_int(root, 7));
}

Test(rename, a_tree_without_state_dicts_is_refused)
{
    assert_ok(lks_rename_add_prefix(program, "m."));
    assert_fails(lks_rename_apply(program, tree, NULL, NULL), LKS_ERR_INVALID_ARG, "no root");
    root_of(lks_value_int(tree, 1));
    expect_refused(NULL, LKS_ERR_NOT_FOUND, "no dict has a tensor");
    root_of(lks_value_dict(tree));
    expect_refused(NULL, LKS_ERR_NOT_FOUND, "no dict has a tensor");
}

Test(rename, whole_models_have_no_keys)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(CORPUS "t113_whole_dict_model_opt.pt", NULL, &checkpoint));
    assert_ok(lks_rename_add_prefix(program, "m."));
    assert_fails(lks_rename_apply(program, lks_checkpoint_edit(checkpoint), NULL, NULL),
                 LKS_ERR_NOT_FOUND, "there are whole models but no state dict");
    lks_checkpoint_close(checkpoint);
}

/* --- refusals ----------------------------------------------------------------------------------- */

Test(rename, a_collision_changes_nothing_anywhere)
{
    checkpoint_of("module.a module.b", "module.a a");
    assert_ok(lks_rename_strip_prefix(program, "module."));
    expect_refused(NULL, LKS_ERR_MISMATCH,
                   "the key 'module.a' would become 'a', which is there already");
}

Test(rename, two_keys_that_become_one_are_named)
{
    root_of(dict_of("x.a y.a z"));
    assert_ok(lks_rename_regex(program, "^[xy]\\.", "w."));
    expect_refused(NULL, LKS_ERR_MISMATCH, "the keys 'x.a' and 'y.a' would both become 'w.a'");
}

Test(rename, keys_may_change_places)
{
    lks_value_t *root = root_of(dict_of("a b"));
    lks_value_t *a = lks_value_find(root, "a");
    assert_ok(lks_rename_regex(program, "^a$", "c"));
    assert_ok(lks_rename_regex(program, "^b$", "a"));
    assert_ok(lks_rename_regex(program, "^c$", "b"));
    apply(NULL);
    expect_words(root, "b a");
    cr_expect_eq(lks_value_find(root, "b"), a);
}

Test(rename, nothing_left_of_a_key_is_refused)
{
    root_of(dict_of("fc.weight fc"));
    assert_ok(lks_rename_regex(program, "^fc$", ""));
    expect_refused(NULL, LKS_ERR_MISMATCH, "nothing would be left of the key 'fc'");
}

Test(rename, keys_that_no_pattern_reaches_are_refused)
{
    lks_value_t *root = root_of(dict_of("m.a"));
    lks_value_set(tree, root, lks_value_str_n(tree, "m.\0b", 4), test_scalar(tree));
    assert_ok(lks_rename_regex(program, "m", "n"));
    expect_refused(NULL, LKS_ERR_UNSUPPORTED, "'m.\\x00b', which has a zero byte in it");

    char *name = malloc(5000);
    memset(name, 'x', 4999);
    name[4999] = '\0';
    lks_value_set_str(tree, root_of(dict_of("m.a")), name, test_scalar(tree));
    expect_refused(NULL, LKS_ERR_UNSUPPORTED, "longer than 4095 bytes");
    free(name);
}

Test(rename, prefixes_take_any_bytes)
{
    lks_value_t *root = root_of(dict_of("m.a"));
    lks_value_set(tree, root, lks_value_str_n(tree, "m.\0b", 4), test_scalar(tree));
    lks_value_set(tree, root, lks_value_str_n(tree, "m.\xff\xed\xa0", 5), test_scalar(tree));
    assert_ok(lks_rename_strip_prefix(program, "m."));
    assert_ok(lks_rename_canonical(program, true));
    assert_ok(lks_rename_add_prefix(program, "x"));
    apply(NULL);
    size_t nbytes;
    const char *text = lks_value_text(lks_value_key_at(root, 1), &nbytes);
    cr_assert_eq(nbytes, 3);
    cr_expect_arr_eq(text, "x\0b", 3);
    text = lks_value_text(lks_value_key_at(root, 2), &nbytes);
    cr_assert_eq(nbytes, 4);
    cr_expect_arr_eq(text, "x\xff\xed\xa0", 4);
}

/* --- files and sizes ---------------------------------------------------------------------------- */

Test(rename, a_renamed_file_is_saved_and_read)
{
    lks_checkpoint_t *checkpoint;
    lks_state_dict_t *dict;
    assert_ok(lks_checkpoint_open(CORPUS "t113_iris_dp_dp_sd.pth", NULL, &checkpoint));
    assert_ok(lks_rename_canonical(program, false));
    assert_ok(lks_rename_apply(program, lks_checkpoint_edit(checkpoint), NULL, &report));
    const char *path = test_temp_path("renamed.pth");
    assert_ok(lks_checkpoint_save(path, lks_checkpoint_tree(checkpoint), NULL));
    lks_checkpoint_close(checkpoint);

    lks_checkpoint_t *plain;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    assert_ok(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", NULL, &plain));
    assert_ok(lks_state_dict_find(lks_checkpoint_tree(checkpoint), NULL, NULL, &dict));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(plain));
    cr_assert_eq(lks_state_dict_count(dict), lks_value_count(root));
    for (size_t i = 0; i < lks_value_count(root); i++) {
        cr_expect_str_eq(lks_state_dict_key(dict, i),
                         lks_value_text(lks_value_key_at(root, i), NULL));
    }
    lks_state_dict_destroy(dict);
    lks_checkpoint_close(checkpoint);
    lks_checkpoint_close(plain);
}

Test(rename, a_hundred_thousand_keys, .timeout = 20)
{
    lks_value_t *root = root_of(lks_value_ordered_dict(tree)), *tensor = test_scalar(tree);
    lks_value_t *metadata = lks_value_ordered_dict(tree), *attributes = lks_value_dict(tree);
    char name[64];
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof name, "module.block._orig_mod.%d.weight", i);
        lks_value_set_str(tree, root, name, tensor);
        *strrchr(name, '.') = '\0';
        lks_value_set_str(tree, metadata, name, attributes);
    }
    lks_value_set_str(tree, attributes, "_metadata", metadata);
    lks_value_dict_set_attributes(tree, root, attributes);
    assert_ok(lks_rename_canonical(program, true));
    assert_ok(lks_rename_regex(program, "^([0-9]+)", "layer.\\1"));
    apply(NULL);
    cr_expect_eq(lks_rename_report_changed(report), 100000);
    cr_expect_eq(lks_value_find(root, "layer.99999.weight"), tensor);
    cr_expect_not_null(lks_value_find(metadata, "layer.99999"));
    cr_expect_eq(lks_value_count(root), 100000);
}

Test(rename, deep_and_long_names, .timeout = 20)
{
    size_t nbytes = 2 << 20;
    char *name = malloc(nbytes + 1);
    for (size_t i = 0; i < nbytes; i += 2) {
        memcpy(name + i, "a.", 2);
    }
    name[nbytes] = '\0';
    lks_value_t *root = root_of(dict_of("module.x"));
    lks_value_t *long_name = lks_value_str_n(tree, name, nbytes);
    free(name);
    lks_value_set(tree, root, long_name, test_scalar(tree));
    set_metadata(root, ".");
    lks_value_t *metadata = lks_value_find(lks_value_dict_attributes(root), "_metadata");
    lks_value_set(tree, metadata, long_name, lks_value_dict(tree));
    assert_ok(lks_rename_canonical(program, true));
    assert_ok(lks_rename_add_prefix(program, "p."));
    apply(NULL);
    size_t length;
    cr_expect_not_null(lks_value_text(lks_value_key_at(root, 1), &length));
    cr_expect_eq(length, nbytes + 2);
}

Test(rename, a_tree_at_its_limit_fails_and_keeps_its_keys)
{
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    lks_checkpoint_t *checkpoint = NULL;
    for (limits.max_nodes = 1; !checkpoint; limits.max_nodes++) {
        (void)!lks_checkpoint_open(CORPUS "t113_iris_sd.pth", &limits, &checkpoint);
    }
    assert_ok(lks_rename_add_prefix(program, "module."));
    lks_strbuf_t before = test_tree_text(lks_checkpoint_tree(checkpoint));
    assert_fails(lks_rename_apply(program, lks_checkpoint_edit(checkpoint), NULL, NULL),
                 LKS_ERR_FORMAT, "more values than the limit");
    lks_strbuf_t after = test_tree_text(lks_checkpoint_tree(checkpoint));
    cr_expect_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after));
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&after);
    lks_checkpoint_close(checkpoint);
}
