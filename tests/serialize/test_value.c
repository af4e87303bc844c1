/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/value_node.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>

static lks_tree_t *tree;

static void setup(void)
{
    assert_ok(lks_tree_create(&tree));
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(value, .init = setup, .fini = teardown);

static lks_storage_t *storage_of(void *data, size_t nbytes)
{
    lks_storage_t *storage;
    assert_ok(lks_storage_wrap(NULL, data, nbytes, NULL, NULL, &storage));
    return storage;
}

Test(value, scalars_come_back_and_convert_as_in_python)
{
    bool flag = false;
    int64_t integer = 0;
    double number = 0;
    assert_ok(lks_value_get_bool(lks_value_bool(tree, true), &flag));
    cr_assert(flag);
    assert_ok(lks_value_get_int(lks_value_int(tree, INT64_MIN), &integer));
    cr_assert_eq(integer, INT64_MIN);
    assert_ok(lks_value_get_int(lks_value_bool(tree, true), &integer));
    cr_assert_eq(integer, 1);
    assert_ok(lks_value_get_float(lks_value_float(tree, 0.1), &number));
    cr_assert_eq(number, 0.1);
    assert_ok(lks_value_get_float(lks_value_int(tree, 3), &number));
    cr_assert_eq(number, 3);
    assert_fails(lks_value_get_int(lks_value_str(tree, "3"), &integer), LKS_ERR_MISMATCH,
                 "wants int, found str");
    assert_fails(lks_value_get_bool(lks_value_int(tree, 1), &flag), LKS_ERR_MISMATCH,
                 "wants bool, found int");
    assert_fails(lks_value_get_float(NULL, &number), LKS_ERR_MISMATCH,
                 "wants float, found nothing");
    assert_ok(lks_tree_status(tree));
}

Test(value, text_keeps_zeros_and_its_length)
{
    size_t nbytes = 0;
    const char *text = lks_value_text(lks_value_str_n(tree, "a\0b", 3), &nbytes);
    cr_assert_eq(nbytes, 3);
    cr_assert(memcmp(text, "a\0b", 4) == 0);
    cr_assert_str_eq(lks_value_text(lks_value_bytes(tree, NULL, 0), NULL), "");
    cr_assert_null(lks_value_text(lks_value_int(tree, 1), NULL));
}

Test(value, bigint_that_fits_becomes_int)
{
    int64_t integer = 0;
    const unsigned char minus_two[] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_ok(lks_value_get_int(lks_value_bigint(tree, minus_two, sizeof minus_two), &integer));
    cr_assert_eq(integer, -2);
    const unsigned char two_to_63[] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0};
    lks_value_t *big = lks_value_bigint(tree, two_to_63, sizeof two_to_63);
    size_t nbytes = 0;
    cr_assert_eq(lks_value_kind(big), LKS_VALUE_BIGINT);
    cr_assert(lks_value_text(big, &nbytes) && nbytes == 9);
    assert_ok(lks_value_get_int(lks_value_bigint(tree, "", 0), &integer));
    cr_assert_eq(integer, 0);
}

Test(value, lists_and_tuples_grow)
{
    lks_value_t *list = lks_value_list(tree), *tuple = lks_value_tuple(tree);
    for (int i = 0; i < 1000; i++) {
        lks_value_append(tree, list, lks_value_int(tree, i));
    }
    lks_value_append(tree, tuple, list);
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_value_count(list), 1000);
    int64_t integer = 0;
    assert_ok(lks_value_get_int(lks_value_at(list, 999), &integer));
    cr_assert_eq(integer, 999);
    cr_assert_null(lks_value_at(list, 1000));
    cr_assert_eq(lks_value_at(tuple, 0), list);
    cr_assert_null(lks_value_at(lks_value_none(tree), 0));
}

Test(value, dict_keeps_insertion_order_and_the_last_value)
{
    lks_value_t *dict = lks_value_dict(tree);
    char key[16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            (void)snprintf(key, sizeof key, "layer.%d", i);
            lks_value_set_str(tree, dict, key, lks_value_int(tree, i + round));
        }
    }
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_value_count(dict), 5000);
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(key, sizeof key, "layer.%d", i);
        cr_assert_str_eq(lks_value_text(lks_value_key_at(dict, (size_t)i), NULL), key);
        int64_t integer = 0;
        assert_ok(lks_value_get_int(lks_value_find(dict, key), &integer));
        cr_assert_eq(integer, i + 1);
    }
    cr_assert_null(lks_value_find(dict, "layer.5000"));
    cr_assert_null(lks_value_key_at(dict, 5000));
}

Test(value, keys_compare_as_in_python)
{
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_int(tree, dict, 1, lks_value_str(tree, "int"));
    lks_value_set(tree, dict, lks_value_float(tree, 1.0), lks_value_str(tree, "float"));
    lks_value_set(tree, dict, lks_value_bool(tree, true), lks_value_str(tree, "bool"));
    lks_value_set_str(tree, dict, "1", lks_value_str(tree, "str"));
    lks_value_set(tree, dict, lks_value_bytes(tree, "1", 1), lks_value_str(tree, "bytes"));
    lks_value_set(tree, dict, lks_value_none(tree), lks_value_str(tree, "none"));
    lks_value_set(tree, dict, lks_value_float(tree, NAN), lks_value_str(tree, "nan"));
    lks_value_set(tree, dict, lks_value_float(tree, NAN), lks_value_str(tree, "another nan"));
    lks_value_set(tree, dict, lks_value_global(tree, "a.b", "c"), lks_value_none(tree));
    lks_value_set(tree, dict, lks_value_global(tree, "a", "b.c"), lks_value_none(tree));
    lks_value_set(tree, dict, lks_value_global(tree, "a.b", "c"), lks_value_none(tree));
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_value_count(dict), 8);
    cr_assert_str_eq(lks_value_text(lks_value_find_int(dict, 1), NULL), "bool");
    cr_assert_str_eq(lks_value_text(lks_value_find(dict, "1"), NULL), "str");
}

static lks_value_t *pair(const char *a, lks_value_t *b)
{
    lks_value_t *tuple = lks_value_tuple(tree);
    lks_value_append(tree, tuple, lks_value_str(tree, a));
    lks_value_append(tree, tuple, b);
    return tuple;
}

Test(value, tuple_keys_compare_by_their_items)
{
    lks_value_t *dict = lks_value_dict(tree);
    for (int i = 0; i < 50; i++) {
        lks_value_t *key = pair("a", pair("b", lks_value_int(tree, i % 25)));
        lks_value_set(tree, dict, key, lks_value_int(tree, i));
    }
    lks_value_t *flat = pair("a", lks_value_str(tree, "b"));
    lks_value_append(tree, flat, lks_value_int(tree, 3));
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_value_count(dict), 25);
    cr_assert_not_null(lks_dict_find(dict, pair("a", pair("b", lks_value_int(tree, 3)))));
    cr_assert_null(lks_dict_find(dict, flat), "(a, b, 3) is not (a, (b, 3))");
}

Test(value, unhashable_keys_fail_the_tree)
{
    lks_value_set(tree, lks_value_dict(tree), pair("a", lks_value_list(tree)),
                  lks_value_none(tree));
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG, "not hashable");
    cr_assert_null(lks_value_int(tree, 1000), "a failed tree builds nothing more");
}

/* 40 tuples of two references each spell out 2^40 parts. */
Test(value, a_tuple_bomb_is_refused_as_key)
{
    lks_value_t *bomb = pair("a", lks_value_none(tree));
    for (int i = 0; i < 25; i++) {
        lks_value_t *twice = lks_value_tuple(tree);
        lks_value_append(tree, twice, bomb);
        lks_value_append(tree, twice, bomb);
        bomb = twice;
    }
    lks_value_set(tree, lks_value_dict(tree), bomb, lks_value_none(tree));
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG, "too many parts");
}

Test(value, a_deep_tuple_is_refused_as_key)
{
    lks_value_t *deep = lks_value_tuple(tree);
    for (int i = 0; i < 100000; i++) {
        lks_value_t *outer = lks_value_tuple(tree);
        lks_value_append(tree, outer, deep);
        deep = outer;
    }
    assert_ok(lks_tree_status(tree));
    lks_value_set(tree, lks_value_dict(tree), deep, lks_value_none(tree));
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG, "too deep");
}

Test(value, null_parts_are_accepted_and_reported_once)
{
    lks_value_t *list = lks_value_list(tree);
    lks_value_append(tree, list, NULL);
    lks_value_set(tree, list, NULL, NULL);
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG, "nothing is appended");
}

Test(value, objects_keep_their_parts)
{
    lks_value_t *class = lks_value_global(tree, "collections", "defaultdict");
    lks_value_t *object = lks_value_object(tree, LKS_OBJECT_REDUCE, class, lks_value_tuple(tree));
    lks_value_set_str(tree, object, "k", lks_value_int(tree, 1));
    lks_value_append(tree, object, lks_value_int(tree, 2));
    lks_value_object_set_state(tree, object, lks_value_dict(tree));
    assert_ok(lks_tree_status(tree));
    cr_assert_str_eq(lks_value_class_name(object), "collections.defaultdict");
    cr_assert_eq(lks_value_object_callable(object), class);
    cr_assert_eq(lks_value_object_how(object), LKS_OBJECT_REDUCE);
    cr_assert_eq(lks_value_count(lks_value_object_arguments(object)), 0);
    cr_assert_not_null(lks_value_find(lks_value_object_entries(object), "k"));
    cr_assert_eq(lks_value_count(lks_value_object_items(object)), 1);
    cr_assert_not_null(lks_value_object_state(object));
    cr_assert_null(lks_value_object_state(class));
}

Test(value, ordered_dict_keeps_attributes)
{
    lks_value_t *dict = lks_value_ordered_dict(tree), *attributes = lks_value_dict(tree);
    lks_value_dict_set_attributes(tree, dict, attributes);
    cr_assert(lks_value_dict_is_ordered(dict));
    cr_assert_not(lks_value_dict_is_ordered(attributes));
    cr_assert_eq(lks_value_dict_attributes(dict), attributes);
    assert_ok(lks_tree_status(tree));
}

Test(value, tensors_share_a_storage_by_its_index)
{
    float data[12] = {0};
    lks_storage_t *storage = storage_of(data, sizeof data);
    const int64_t shape[] = {3, 4}, stride[] = {4, 1};
    lks_tensor_t tensor;
    assert_ok(lks_tensor_view(storage, LKS_DTYPE_F32, 0, 2, shape, NULL, &tensor));
    lks_value_t *a = lks_value_tensor_from(tree, &tensor);
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_value_t *b = lks_value_tensor_new(tree, &(lks_value_tensor_t){.storage = index,
                                                                      .dtype = LKS_DTYPE_F32,
                                                                      .ndim = 2,
                                                                      .shape = shape,
                                                                      .stride = stride,
                                                                      .requires_grad = true});
    lks_storage_release(storage);
    assert_ok(lks_tree_status(tree));
    cr_assert_eq(lks_tree_storage_count(tree), 1);
    cr_assert_eq(lks_value_tensor(a)->storage, lks_value_tensor(b)->storage);
    cr_assert_eq(lks_value_tensor(b)->shape[1], 4);
    cr_assert(lks_value_tensor(b)->shape != shape, "the tree has a copy");
    cr_assert_str_eq(lks_tree_storage(tree, 0)->location, "cpu");
    cr_assert_null(lks_value_tensor(lks_value_none(tree)));
    cr_assert_null(lks_tree_storage(tree, 1));
}

Test(value, nothing_has_a_place_of_its_own)
{
    const void *first = lks_tree_alloc(tree, 0), *second = lks_tree_alloc(tree, 0);
    cr_assert(first && second && first != second);
    lks_tree_fail(tree, LKS_ERR_FORMAT, "failed");
    cr_assert_null(lks_tree_alloc(tree, 0));
}

Test(value, a_tensor_outside_its_storage_fails_the_tree)
{
    float data[12] = {0};
    lks_storage_t *storage = storage_of(data, sizeof data);
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    const int64_t shape[] = {3, 4}, stride[] = {4, 1};
    (void)lks_value_tensor_new(tree, &(lks_value_tensor_t){.storage = index,
                                                           .dtype = LKS_DTYPE_F32,
                                                           .ndim = 2,
                                                           .offset = 1,
                                                           .shape = shape,
                                                           .stride = stride});
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG,
                 "spans 12 elements from offset 1, its storage holds 12");
}

Test(value, strides_that_overflow_fail_the_tree)
{
    float data[1] = {0};
    lks_storage_t *storage = storage_of(data, sizeof data);
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    const int64_t shape[] = {3, 3}, stride[] = {INT64_MAX, INT64_MAX};
    (void)lks_value_tensor_new(
        tree,
        &(lks_value_tensor_t){
            .storage = index, .dtype = LKS_DTYPE_F32, .ndim = 2, .shape = shape, .stride = stride});
    assert_fails(lks_tree_status(tree), LKS_ERR_INVALID_ARG, "2^63");
}

Test(value, limits_of_memory_nodes_and_depth_hold)
{
    const struct {
        lks_checkpoint_limits_t limits;
        const char *message;
    } cases[] = {
        {{.memory = 100000, .max_depth = SIZE_MAX, .max_nodes = SIZE_MAX}, "limit of 100000 bytes"},
        {{.memory = SIZE_MAX, .max_depth = SIZE_MAX, .max_nodes = 1000}, "the limit of 1000"},
        {{.memory = SIZE_MAX, .max_depth = 500, .max_nodes = SIZE_MAX},
         "deeper than the limit of 500"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lks_tree_t *limited;
        assert_ok(lks_tree_create_limited(&cases[i].limits, &limited));
        lks_value_t *list = lks_value_list(limited);
        for (int n = 0; n < 100000 && lks_tree_ok(limited); n++) {
            lks_value_t *outer = lks_value_list(limited);
            lks_value_append(limited, outer, list);
            list = outer;
        }
        assert_fails(lks_tree_status(limited), LKS_ERR_FORMAT, cases[i].message);
        lks_tree_destroy(limited);
    }
}
