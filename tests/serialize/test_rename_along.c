/* SPDX-License-Identifier: Apache-2.0 */
/* What changes along with the keys of a state dict: its _metadata, and the optimizers that have its names. */
#include "serialize/rename_support.h"
#include "serialize/tree_text.h"

#include <lockstep/checkpoint.h>
#include <stdio.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

TestSuite(rename_along, .init = rename_setup, .fini = rename_teardown);

/* --- _metadata ---------------------------------------------------------------------------------- */

Test(rename_along, metadata_loses_the_wrapper)
{
    lks_value_t *root = root_of(dict_of("module.fc.0.weight module.fc.2.weight"));
    set_metadata(root, ". module module.fc module.fc.0 module.fc.1 module.fc.2");
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    expect_metadata(root, ":2 fc:3 fc.0:4 fc.1:5 fc.2:6");
}

Test(rename_along, metadata_gains_the_wrapper_as_data_parallel_has_it)
{
    lks_value_t *root = root_of(dict_of("fc.0.weight fc.2.weight"));
    set_metadata(root, ". fc fc.0 fc.1 fc.2");
    lks_value_t *entry =
        lks_value_find(lks_value_find(lks_value_dict_attributes(root), "_metadata"), "fc.0");
    assert_ok(lks_rename_add_prefix(program, "model.module."));
    apply(NULL);
    expect_metadata(root, ":1 model:1 model.module:1 model.module.fc:2 model.module.fc.0:3 "
                          "model.module.fc.1:4 model.module.fc.2:5");
    cr_expect_eq(lks_value_find(lks_value_find(lks_value_dict_attributes(root), "_metadata"),
                                "model.module.fc.0"),
                 entry);
}

Test(rename_along, metadata_follows_wrappers_inside_and_patterns)
{
    lks_value_t *root = root_of(dict_of("layers._checkpoint_wrapped_module.0.weight"));
    set_metadata(root, ". layers layers._checkpoint_wrapped_module "
                       "layers._checkpoint_wrapped_module.0");
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    expect_metadata(root, ":1 layers:3 layers.0:4");

    root = root_of(dict_of("fc.0.bias other.gain"));
    set_metadata(root, ". fc fc.0 fc.1 other");
    assert_ok(lks_rename_regex(program, "^fc\\.([0-9])\\.bias$", "head.\\1.bias"));
    apply(NULL);
    expect_metadata(root, ":1 fc:2 head.0:3 fc.1:4 other:5");
}

Test(rename_along, a_submodule_that_is_called_module_keeps_its_metadata)
{
    lks_value_t *root = root_of(dict_of("module.weight other.weight"));
    set_metadata(root, ". module other");
    lks_strbuf_t before = test_tree_text(tree);
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    lks_strbuf_t after = test_tree_text(tree);
    cr_expect_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&after));
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&after);
    cr_expect_eq(lks_rename_report_changed(report), 0);
    cr_expect_str_eq(lks_rename_report_text(report), "'(root)': renamed 0 of 2 keys\n");
}

/* --- optimizers --------------------------------------------------------------------------------- */

Test(rename_along, optimizers_follow_the_state_dict_that_has_their_names)
{
    /* By itself, the optimizer would lose `module.` too: all of its names have it. */
    lks_value_t *root = checkpoint_of("module.a module.b c", "module.x module.y");
    lks_value_t *first = optimizer_of("module.a module.b"), *second = optimizer_of("module.x");
    lks_value_set_str(tree, root, "first", first);
    lks_value_set_str(tree, root, "second", second);
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    expect_words(lks_value_find(root, "model"), "module.a module.b c");
    expect_optimizer(first, "module.a module.b");
    expect_optimizer(second, "x");
    cr_expect(strstr(lks_rename_report_text(report),
                     "'second': renamed 3 of 3 names in the optimizer (module.x -> x)\n"),
              "%s", lks_rename_report_text(report));
    cr_expect_eq(lks_rename_report_changed(report), 2);
}

Test(rename_along, with_a_path_only_its_own_optimizer_goes_along)
{
    lks_value_t *root = checkpoint_of("module.a", "module.x");
    lks_value_t *first = optimizer_of("module.a"), *second = optimizer_of("module.x"),
                *third = optimizer_of("module.nobody");
    lks_value_set_str(tree, root, "first", first);
    lks_value_set_str(tree, root, "second", second);
    lks_value_set_str(tree, root, "third", third);
    assert_ok(lks_rename_strip_prefix(program, "module."));
    apply("model");
    expect_optimizer(first, "a");
    expect_optimizer(second, "module.x");
    expect_optimizer(third, "module.nobody");
    apply(NULL);
    expect_optimizer(second, "x");
    expect_optimizer(third, "nobody");
}

Test(rename_along, an_optimizer_alone_is_renamed)
{
    lks_value_t *optimizer = root_of(optimizer_of("module.a module.b"));
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    expect_optimizer(optimizer, "a b");
}

Test(rename_along, optimizers_by_index_stay_as_they_are)
{
    static const char *const names[] = {"t113_tutorial_ckpt.tar", "t26_tutorial_ckpt.tar"};
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, CORPUS "%s", names[i]);
        lks_checkpoint_t *checkpoint;
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        lks_rename_t *there_and_back;
        assert_ok(lks_rename_create(&there_and_back));
        assert_ok(lks_rename_add_prefix(there_and_back, "module."));
        lks_strbuf_t before = test_tree_text(lks_checkpoint_tree(checkpoint));
        assert_ok(lks_rename_apply(there_and_back, lks_checkpoint_edit(checkpoint), NULL, NULL));
        lks_strbuf_t renamed = test_tree_text(lks_checkpoint_tree(checkpoint));
        cr_expect_str_neq(lks_strbuf_text(&before), lks_strbuf_text(&renamed));
        lks_rename_destroy(there_and_back);
        assert_ok(lks_rename_create(&there_and_back));
        assert_ok(lks_rename_canonical(there_and_back, false));
        assert_ok(lks_rename_apply(there_and_back, lks_checkpoint_edit(checkpoint), NULL, NULL));
        lks_strbuf_t back = test_tree_text(lks_checkpoint_tree(checkpoint));
        cr_expect_str_eq(lks_strbuf_text(&before), lks_strbuf_text(&back));
        lks_strbuf_fini(&before);
        lks_strbuf_fini(&renamed);
        lks_strbuf_fini(&back);
        lks_rename_destroy(there_and_back);
        lks_checkpoint_close(checkpoint);
    }
}

Test(rename_along, a_collision_in_an_optimizer_is_refused)
{
    root_of(optimizer_of("module.a a"));
    assert_ok(lks_rename_strip_prefix(program, "module."));
    expect_refused(NULL, LKS_ERR_MISMATCH, "which is there already");
}

Test(rename_along, names_shared_by_several_places_change_in_their_own_only)
{
    lks_value_t *root = root_of(lks_value_dict(tree)), *dict = lks_value_dict(tree);
    lks_value_t *name = lks_value_str(tree, "module.a");
    lks_value_set(tree, dict, name, test_scalar(tree));
    lks_value_set_str(tree, root, "model", dict);
    lks_value_set_str(tree, root, "again", dict);
    lks_value_set_str(tree, root, "note", name);
    assert_ok(lks_rename_canonical(program, false));
    apply(NULL);
    expect_words(dict, "a");
    cr_expect_eq(lks_value_find(root, "again"), dict);
    cr_expect_str_eq(lks_value_text(lks_value_find(root, "note"), NULL), "module.a");
    cr_expect_eq(lks_rename_report_count(report), 1);
}
