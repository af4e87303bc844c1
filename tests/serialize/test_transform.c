/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/tree_text.h"
#include "serialize/value_node.h"
#include "support/support.h"

#include <lockstep/transform.h>
#include <stdlib.h>

static lks_tree_t *tree;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(transform, .init = setup, .fini = teardown);

/* A new tensor of `count` float32 elements 1, 2, ... on a device of that tag. */
static lks_value_t *numbers(int64_t count, const char *location)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_create(lks_device_host(), (size_t)count * sizeof(float), &storage));
    float *data = lks_storage_data(storage);
    for (int64_t i = 0; i < count; i++) {
        data[i] = (float)(i + 1);
    }
    const int64_t stride = 1;
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, location);
    lks_storage_release(storage);
    return lks_value_tensor_new(tree, &(lks_value_tensor_t){.storage = index,
                                                            .dtype = LKS_DTYPE_F32,
                                                            .ndim = 1,
                                                            .shape = &count,
                                                            .stride = &stride});
}

/* {'epoch': 3, 'model': {'w': tensor, 'b': tensor, 'n': [tensor, 5]}} */
static lks_value_t *checkpoint(void)
{
    lks_value_t *root = lks_value_dict(tree), *model = lks_value_ordered_dict(tree);
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, numbers(2, "cuda:0"));
    lks_value_append(tree, list, lks_value_int(tree, 5));
    lks_value_set_str(tree, model, "w", numbers(4, "cuda:1"));
    lks_value_set_str(tree, model, "b", numbers(3, "cpu"));
    lks_value_set_str(tree, model, "n", list);
    lks_value_set_str(tree, root, "epoch", lks_value_int(tree, 3));
    lks_value_set_str(tree, root, "model", model);
    lks_tree_set_root(tree, root);
    assert_ok(lks_tree_status(tree));
    return model;
}

static lks_value_t *at(const char *key)
{
    return lks_value_find(lks_tree_root(tree), key);
}

/* --- keeping the state dict --------------------------------------------------------------------- */

Test(transform, the_state_dict_becomes_the_root_with_all_it_has)
{
    lks_value_t *model = checkpoint();
    assert_ok(lks_tree_keep_state_dict(tree, NULL));
    cr_assert_eq(lks_tree_root(tree), model);
    assert_fails(lks_tree_keep_state_dict(tree, "model"), LKS_ERR_NOT_FOUND, "model");
    cr_assert_eq(lks_tree_root(tree), model);
}

/* --- nesting ------------------------------------------------------------------------------------ */

Test(transform, nested_names_are_joined_by_dots)
{
    checkpoint();
    lks_value_t *states = lks_value_dict(tree);
    lks_value_set_int(tree, states, -7, lks_value_dict(tree));
    lks_value_set_str(tree, lks_tree_root(tree), "state", states);
    assert_ok(lks_tree_flatten(tree));
    static const char *const names[] = {"epoch",     "model.w",   "model.b",
                                        "model.n.0", "model.n.1", "state.-7"};
    cr_assert_eq(lks_value_count(lks_tree_root(tree)), sizeof names / sizeof *names);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        cr_assert_str_eq(lks_value_text(lks_value_key_at(lks_tree_root(tree), i), NULL), names[i]);
    }
    cr_assert(lks_value_tensor(at("model.n.0")));
    cr_assert_eq(lks_value_count(at("state.-7")), 0);
}

Test(transform, what_is_shared_is_flattened_in_every_place)
{
    lks_value_t *root = lks_value_dict(tree), *shared = lks_value_list(tree);
    lks_value_append(tree, shared, lks_value_int(tree, 1));
    lks_value_set_str(tree, root, "a", shared);
    lks_value_set_str(tree, root, "b", shared);
    lks_tree_set_root(tree, root);
    assert_ok(lks_tree_flatten(tree));
    cr_assert(at("a.0") && at("b.0"));
}

Test(transform, names_that_meet_and_cycles_are_refused_and_change_nothing)
{
    lks_value_t *model = checkpoint(), *root = lks_tree_root(tree);
    lks_value_set_str(tree, root, "model.w", lks_value_int(tree, 1));
    assert_fails(lks_tree_flatten(tree), LKS_ERR_MISMATCH, "'model.w'");
    cr_assert_eq(lks_tree_root(tree), root);
    lks_tree_set_root(tree, model);
    lks_value_set_str(tree, model, "self", model);
    assert_fails(lks_tree_flatten(tree), LKS_ERR_UNSUPPORTED, "'self' contains itself");
    lks_value_t *odd = lks_value_dict(tree);
    lks_value_set(tree, odd, lks_value_none(tree), lks_value_int(tree, 1));
    lks_tree_set_root(tree, odd);
    assert_fails(lks_tree_flatten(tree), LKS_ERR_UNSUPPORTED, "a none");
}

/* --- dtypes ------------------------------------------------------------------------------------- */

static const void *loaded(const lks_value_t *value)
{
    size_t storage = lks_value_tensor(value)->storage;
    assert_ok(lks_tree_load_storage(tree, storage, NULL));
    return lks_storage_data(lks_tree_storage(tree, storage)->storage);
}

Test(transform, cast_converts_when_loaded_and_keeps_what_is_tied)
{
    lks_value_t *model = checkpoint();
    lks_value_tensor_t view = *lks_value_tensor(lks_value_find(model, "w"));
    const int64_t shape = 2;
    view.offset = 2;
    view.shape = &shape;
    lks_value_set_str(tree, model, "tied", lks_value_tensor_new(tree, &view));
    size_t count = 0;
    assert_ok(lks_tree_cast(tree, NULL, LKS_DTYPE_BF16, &count));
    cr_assert_eq(count, 3);
    const lks_value_tensor_t *w = lks_value_tensor(lks_value_find(model, "w"));
    const lks_value_tensor_t *tied = lks_value_tensor(lks_value_find(model, "tied"));
    cr_assert(w->dtype == LKS_DTYPE_BF16 && tied->dtype == LKS_DTYPE_BF16);
    cr_assert(w->storage == tied->storage && tied->offset == 2);
    for (int round = 0; round < 2; round++) {
        const uint16_t *data = loaded(lks_value_find(model, "w"));
        for (int i = 0; i < 4; i++) {
            cr_assert_float_eq(lks_bf16_to_f32(data[i]), (float)(i + 1), 0.0);
        }
        lks_tree_unload_storage(tree, w->storage); /* and again */
    }
}

Test(transform, cast_takes_one_dtype_and_leaves_the_others)
{
    lks_value_t *model = checkpoint();
    const lks_dtype_t from = LKS_DTYPE_F16;
    size_t count = 7;
    assert_ok(lks_tree_cast(tree, &from, LKS_DTYPE_F32, &count));
    cr_assert_eq(count, 0);
    cr_assert_eq(lks_value_tensor(lks_value_find(model, "w"))->dtype, LKS_DTYPE_F32);
    assert_fails(lks_tree_cast(tree, NULL, LKS_DTYPE_C64, NULL), LKS_ERR_UNSUPPORTED, "complex64");
}

Test(transform, cast_refuses_a_tensor_over_a_storage_of_another_dtype)
{
    lks_value_t *model = checkpoint();
    lks_value_tensor_t view = *lks_value_tensor(lks_value_find(model, "w"));
    view.dtype = LKS_DTYPE_I32;
    lks_value_set_str(tree, model, "bits", lks_value_tensor_new(tree, &view));
    assert_fails(lks_tree_cast(tree, NULL, LKS_DTYPE_F16, NULL), LKS_ERR_UNSUPPORTED,
                 "a tensor of int32 lies in a storage of float32");
    cr_assert_eq(lks_value_tensor(lks_value_find(model, "w"))->dtype, LKS_DTYPE_F32);
}

Test(transform, a_cast_checkpoint_is_saved_as_such)
{
    lks_value_t *model = checkpoint();
    (void)model;
    assert_ok(lks_tree_cast(tree, NULL, LKS_DTYPE_F64, NULL));
    const char *path = test_temp_path("cast.pt");
    assert_ok(lks_checkpoint_save(path, tree, NULL));
    lks_checkpoint_t *file;
    assert_ok(lks_checkpoint_open(path, NULL, &file));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(file));
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_tensor(file, lks_value_find(lks_value_find(root, "model"), "w"), "w",
                                    &tensor));
    cr_assert_eq(tensor.dtype, LKS_DTYPE_F64);
    for (int i = 0; i < 4; i++) {
        cr_assert_float_eq(((const double *)lks_tensor_data(&tensor))[i], (double)(i + 1), 0.0);
    }
    lks_checkpoint_close(file);
}

/* --- device tags -------------------------------------------------------------------------------- */

static const char *location(const lks_value_t *value)
{
    return lks_tree_storage(tree, lks_value_tensor(value)->storage)->location;
}

Test(transform, device_tags_are_rewritten_by_tag_kind_or_all)
{
    lks_value_t *model = checkpoint();
    size_t count;
    assert_ok(lks_tree_map_location(tree, "cuda:1=cuda:0", &count));
    cr_assert_eq(count, 1);
    cr_assert_str_eq(location(lks_value_find(model, "w")), "cuda:0");
    assert_ok(lks_tree_map_location(tree, "cuda=mps", &count));
    cr_assert_eq(count, 2);
    cr_assert_str_eq(location(lks_value_find(model, "w")), "mps");
    cr_assert_str_eq(location(lks_value_find(model, "b")), "cpu");
    assert_ok(lks_tree_map_location(tree, "cpu", &count));
    cr_assert_eq(count, 2);
    assert_ok(lks_tree_map_location(tree, "cp=x", &count));
    cr_assert_eq(count, 0);
    static const char *const bad[] = {"", "=", "cuda=", "=cpu", "a b", "a=b=c", "cpu\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(lks_tree_map_location(tree, bad[i], NULL), LKS_ERR_INVALID_ARG, "device tag");
    }
}
