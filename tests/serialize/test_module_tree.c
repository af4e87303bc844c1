/* SPDX-License-Identifier: Apache-2.0 */
/* Whole models as state dicts: files that torch wrote, and trees that no torch would write. */
#include "serialize/named_tensors.h"

#include <lockstep/checkpoint.h>
#include <lockstep/state_dict.h>
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

TestSuite(module_tree, .init = setup, .fini = teardown);

/* --- files -------------------------------------------------------------------------------------- */

static void expect_names(const lks_state_dict_t *dict, const char *names, const char *what)
{
    char text[1024];
    const char *words[64];
    (void)snprintf(text, sizeof text, "%s", names);
    size_t count = test_split(text, words, 64);
    cr_assert_eq(lks_state_dict_count(dict), count, "%s: %zu tensors, wanted %zu", what,
                 lks_state_dict_count(dict), count);
    for (size_t i = 0; i < count; i++) {
        cr_expect_str_eq(lks_state_dict_key(dict, i), words[i], "%s", what);
        cr_expect_not_null(lks_value_tensor(lks_state_dict_value(dict, i)));
    }
}

#define NET "fc.0.weight fc.0.bias fc.2.weight fc.2.bias"
#define LEAVES                                                                                     \
    "conv.weight conv.bias bn.weight bn.bias bn.running_mean bn.running_var "                      \
    "bn.num_batches_tracked fc.weight fc.bias"

/* What the state_dict() of each has, as torch listed it when the files were made. */
static const struct {
    const char *file, *names, *path;
} files[] = {
    {"t113_whole_net.pt", NET, ""},
    {"t26_whole_net.pt", NET, ""},
    {"t113_whole_dp_net.pt",
     "module.fc.0.weight module.fc.0.bias module.fc.2.weight module.fc.2.bias", ""},
    {"t26_whole_dp_net.pt",
     "module.fc.0.weight module.fc.0.bias module.fc.2.weight module.fc.2.bias", ""},
    {"t113_whole_dict_model_opt.pt", NET, "model"},
    {"t113_whole_seq.pt", "0.weight 0.bias 3.weight 3.bias", ""},
    {"t26_whole_seq.pt", "0.weight 0.bias 3.weight 3.bias", ""},
    {"t113_whole_seq_deconv.pt",
     "0.weight 0.bias 1.weight 1.bias 2.weight 4.weight 4.bias 5.weight", ""},
    {"t26_whole_seq_embed.pt", "0.weight 1.weight 1.bias 3.weight 3.bias", ""},
    {"t113_whole_seq_leaves.pt", LEAVES, ""},
    {"t26_whole_seq_leaves.pt", LEAVES, ""},
};

Test(module_tree, names_of_files_are_those_of_their_state_dict)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, CORPUS "%s", files[i].file);
        lks_checkpoint_t *checkpoint;
        lks_state_dict_t *dict;
        assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
        const lks_tree_t *read = lks_checkpoint_tree(checkpoint);
        assert_ok(lks_state_dict_find(read, NULL, NULL, &dict));
        expect_names(dict, files[i].names, files[i].file);
        cr_expect_str_eq(lks_state_dict_path(dict), files[i].path);
        lks_state_dict_destroy(dict);
        assert_ok(lks_state_dict_find(read, NULL, files[i].path, &dict));
        expect_names(dict, files[i].names, files[i].file);
        lks_state_dict_destroy(dict);
        lks_checkpoint_close(checkpoint);
    }
}

Test(module_tree, a_path_leads_to_a_submodule)
{
    lks_checkpoint_t *checkpoint;
    lks_state_dict_t *dict;
    assert_ok(lks_checkpoint_open(CORPUS "t113_whole_dict_model_opt.pt", NULL, &checkpoint));
    const lks_tree_t *read = lks_checkpoint_tree(checkpoint);
    assert_ok(lks_state_dict_find(read, NULL, "model.fc.2", &dict));
    expect_names(dict, "weight bias", "model.fc.2");
    lks_state_dict_destroy(dict);
    assert_fails(lks_state_dict_find(read, NULL, "model.fc.1", &dict), LKS_ERR_NOT_FOUND,
                 "'model.fc.1' has no tensor");
    assert_fails(lks_state_dict_find(read, NULL, "model.fc.7", &dict), LKS_ERR_NOT_FOUND,
                 "there is nothing at 'model.fc.7'");
    lks_checkpoint_close(checkpoint);
}

/* --- made by hand ------------------------------------------------------------------------------- */

static lks_value_t *object_of(const char *module, const char *name, lks_value_t *state)
{
    lks_value_t *object = lks_value_object(
        tree, LKS_OBJECT_NEW, lks_value_global(tree, module, name), lks_value_tuple(tree));
    lks_value_object_set_state(tree, object, state);
    return object;
}

/* A module of a class that nobody knows, without any tensor. */
static lks_value_t *module(void)
{
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_str(tree, state, "_parameters", lks_value_ordered_dict(tree));
    lks_value_set_str(tree, state, "_buffers", lks_value_dict(tree));
    lks_value_set_str(tree, state, "_modules", lks_value_ordered_dict(tree));
    return object_of("somebody", "Thing", state);
}

static lks_value_t *part(lks_value_t *of, const char *name)
{
    return lks_value_find(lks_value_object_state(of), name);
}

static void set(lks_value_t *of, const char *which, const char *name, lks_value_t *value)
{
    lks_value_set_str(tree, part(of, which), name, value);
}

static void expect_tree(lks_value_t *root, const char *path, const char *names)
{
    lks_state_dict_t *dict;
    assert_ok(lks_tree_status(tree));
    assert_ok(lks_state_dict_find(tree, root, path, &dict));
    expect_names(dict, names, names);
    lks_state_dict_destroy(dict);
}

static lks_value_t *set_of(const char *name)
{
    lks_value_t *items = lks_value_list(tree), *arguments = lks_value_tuple(tree);
    lks_value_append(tree, items, lks_value_int(tree, 3));
    lks_value_append(tree, items, lks_value_str(tree, name));
    lks_value_append(tree, arguments, items);
    return lks_value_object(tree, LKS_OBJECT_REDUCE, lks_value_global(tree, "builtins", "set"),
                            arguments);
}

Test(module_tree, parameters_then_persistent_buffers_then_children)
{
    lks_value_t *root = module(), *child = module();
    set(child, "_parameters", "weight", test_scalar(tree));
    set(root, "_modules", "child", child);
    set(root, "_modules", "none", lks_value_none(tree));
    set(root, "_buffers", "mean", test_scalar(tree));
    set(root, "_buffers", "passing", test_scalar(tree));
    set(root, "_buffers", "none", lks_value_none(tree));
    set(root, "_parameters", "bias", lks_value_none(tree));
    set(root, "_parameters", "scale", test_scalar(tree));
    lks_value_set_str(tree, lks_value_object_state(root), "attribute", test_scalar(tree));
    expect_tree(root, NULL, "scale mean passing child.weight");
    lks_value_set_str(tree, lks_value_object_state(root), "_non_persistent_buffers_set",
                      set_of("passing"));
    expect_tree(root, NULL, "scale mean child.weight");
}

Test(module_tree, a_module_in_two_places_has_two_names)
{
    lks_value_t *root = module(), *shared = module();
    set(shared, "_parameters", "w", test_scalar(tree));
    set(root, "_modules", "a", shared);
    set(root, "_modules", "b", shared);
    expect_tree(root, NULL, "a.w b.w");
}

Test(module_tree, the_larger_of_dict_and_module_is_found)
{
    lks_value_t *root = lks_value_dict(tree), *dict = lks_value_dict(tree), *model = module();
    lks_value_set_str(tree, dict, "x", test_scalar(tree));
    lks_value_set_str(tree, root, "dict", dict);
    lks_value_set_str(tree, root, "model", model);
    set(model, "_parameters", "w", test_scalar(tree));
    expect_tree(root, NULL, "x");
    set(model, "_parameters", "b", test_scalar(tree));
    expect_tree(root, NULL, "w b");
    lks_value_set_str(tree, dict, "y", test_scalar(tree));
    expect_tree(root, NULL, "x y");
}

Test(module_tree, script_modules_have_no_levels)
{
    lks_value_t *state = lks_value_dict(tree), *child = lks_value_dict(tree);
    lks_value_t *trained = test_scalar(tree);
    lks_value_tensor_t tensor = *lks_value_tensor(trained);
    tensor.requires_grad = true;
    lks_value_set_str(tree, state, "mean", test_scalar(tree));
    lks_value_set_str(tree, state, "weight", lks_value_tensor_new(tree, &tensor));
    lks_value_set_str(tree, state, "training", lks_value_bool(tree, false));
    lks_value_set_str(tree, child, "training", lks_value_bool(tree, false));
    lks_value_set_str(tree, child, "w", test_scalar(tree));
    lks_value_set_str(tree, state, "fc", object_of("__torch__.torch.nn", "Linear", child));
    lks_value_t *root = object_of("__torch__", "Net", state);
    expect_tree(root, NULL, "weight mean fc.w");
    expect_tree(root, "fc", "w");
}

Test(module_tree, other_objects_are_no_modules)
{
    lks_value_t *state = lks_value_dict(tree);
    lks_value_set_str(tree, state, "_parameters", lks_value_dict(tree));
    lks_value_set_str(tree, lks_value_find(state, "_parameters"), "w", test_scalar(tree));
    lks_state_dict_t *dict;
    assert_fails(lks_state_dict_find(tree, object_of("a", "B", state), NULL, &dict),
                 LKS_ERR_NOT_FOUND, "no dict has a tensor");
    assert_fails(lks_state_dict_find(tree, object_of("a", "B", state), "", &dict), LKS_ERR_MISMATCH,
                 "is of kind object where");
}

Test(module_tree, a_module_within_itself_is_refused)
{
    lks_value_t *root = module(), *child = module();
    set(root, "_parameters", "w", test_scalar(tree));
    set(root, "_modules", "child", child);
    set(child, "_modules", "again", root);
    lks_state_dict_t *dict;
    assert_fails(lks_state_dict_find(tree, root, "", &dict), LKS_ERR_FORMAT,
                 "the module 'child.again' holds itself");
    lks_value_t *around = lks_value_dict(tree), *good = lks_value_dict(tree);
    lks_value_set_str(tree, good, "x", test_scalar(tree));
    lks_value_set_str(tree, around, "bad", root);
    lks_value_set_str(tree, around, "good", good);
    expect_tree(around, NULL, "x");
}

Test(module_tree, shared_modules_without_end_are_refused)
{
    lks_value_t *inner = module();
    set(inner, "_parameters", "w", test_scalar(tree));
    for (int i = 0; i < 60; i++) { /* 2^60 names */
        lks_value_t *outer = module();
        set(outer, "_modules", "a", inner);
        set(outer, "_modules", "b", inner);
        inner = outer;
    }
    lks_state_dict_t *dict;
    assert_ok(lks_tree_status(tree));
    assert_fails(lks_state_dict_find(tree, inner, "", &dict), LKS_ERR_FORMAT, "whole model:");
    assert_fails(lks_state_dict_find(tree, inner, NULL, &dict), LKS_ERR_NOT_FOUND, "no dict");
}

Test(module_tree, nested_too_deep_is_refused)
{
    lks_value_t *inner = module();
    set(inner, "_parameters", "w", test_scalar(tree));
    for (int i = 0; i < 300; i++) {
        lks_value_t *outer = module();
        set(outer, "_modules", "m", inner);
        inner = outer;
    }
    lks_state_dict_t *dict;
    assert_fails(lks_state_dict_find(tree, inner, "", &dict), LKS_ERR_FORMAT, "nested too deep");
}

Test(module_tree, names_with_a_zero_byte_are_refused)
{
    lks_value_t *root = module();
    lks_value_set(tree, part(root, "_parameters"), lks_value_str_n(tree, "a\0b", 3),
                  test_scalar(tree));
    lks_state_dict_t *dict;
    assert_fails(lks_state_dict_find(tree, root, NULL, &dict), LKS_ERR_FORMAT, "'a\\x00b'");
}
