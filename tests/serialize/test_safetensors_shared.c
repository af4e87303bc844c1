/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors that share bytes, which safetensors cannot say: found, refused, noted or copied. */
#include "serialize/safetensors_saved.h"

TestSuite(safetensors_shared, .init = saved_setup, .fini = saved_teardown);

Test(safetensors_shared, tied_tensors_are_refused_or_noted)
{
    lks_value_t *weight = tensor(LKS_DTYPE_F32, SHAPE(4));
    add("z", weight);
    add("other", tensor(LKS_DTYPE_F32, SHAPE(1)));
    add("a", view_of(weight, 0, SHAPE(4)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED,
                 "value 'a': it shares bytes with 'z', which safetensors cannot say");
    assert_ok(save_dropping());
    cr_assert_str_eq(told,
                     "a|it shares bytes with 'z', which safetensors cannot say: only that one "
                     "is written\n");
    assert_header("{\"__metadata__\":{\"format\":\"pt\",\"a\":\"z\"},"
                  "\"other\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                  "\"z\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[4,20]}}",
                  20);
}

Test(safetensors_shared, what_the_metadata_say_of_a_name_stays)
{
    lks_value_t *weight = tensor(LKS_DTYPE_F32, SHAPE(4)), *metadata = lks_value_dict(tree);
    add("a", weight);
    add("b", weight);
    add("format", weight);
    lks_value_set_str(tree, metadata, "b", lks_value_str(tree, "mine"));
    set_metadata(metadata);
    assert_ok(save_dropping());
    assert_header("{\"__metadata__\":{\"b\":\"mine\",\"format\":\"a\"},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
                  16);
    lks_value_dict_set_attributes(tree, dict, lks_value_dict(tree));
    assert_ok(save_dropping());
    assert_header("{\"__metadata__\":{\"format\":\"pt\",\"b\":\"a\"},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}",
                  16);
}

Test(safetensors_shared, overlapping_views_are_refused_or_copied)
{
    lks_value_t *whole = tensor(LKS_DTYPE_F32, SHAPE(10));
    add("part", view_of(whole, 2, SHAPE(2)));
    add("whole", whole);
    add("shape", view_of(whole, 0, SHAPE(2, 5)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "it shares bytes with");
    assert_ok(save_dropping());
    cr_assert(strstr(told, "part|it shares bytes with 'whole', which safetensors cannot say: it "
                           "becomes a copy\n"));
    cr_assert(strstr(told, "shape|it shares bytes with 'whole'"));
    assert_header("{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"part\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                  "\"shape\":{\"dtype\":\"F32\",\"shape\":[2,5],\"data_offsets\":[8,48]},"
                  "\"whole\":{\"dtype\":\"F32\",\"shape\":[10],\"data_offsets\":[48,88]}}",
                  88);
}

/* q, k and v in one storage, empty views anywhere, two storages over different memory. */
Test(safetensors_shared, neighbours_in_one_storage_share_nothing)
{
    lks_value_t *qkv = tensor(LKS_DTYPE_F32, SHAPE(1));
    add("q", view_of(qkv, 0, SHAPE(4)));
    add("v", view_of(qkv, 8, SHAPE(4)));
    add("k", view_of(qkv, 4, SHAPE(4)));
    add("none", view_of(qkv, 5, SHAPE(0)));
    add("none2", view_of(qkv, 5, SHAPE(0)));
    add("far", view_of(tensor(LKS_DTYPE_F32, SHAPE(1)), 0, SHAPE(4)));
    assert_ok(save());
}

/* Two storages of a tree can lie in one piece of memory. */
Test(safetensors_shared, sharing_is_found_by_address)
{
    lks_storage_t *again;
    lks_value_t *first = add("a", tensor(LKS_DTYPE_F32, SHAPE(4)));
    void *data =
        lks_storage_data(lks_tree_storage(tree, lks_value_tensor(first)->storage)->storage);
    assert_ok(lks_storage_wrap(lks_device_host(), data, 16, NULL, NULL, &again));
    size_t index = lks_tree_add_storage(tree, again, LKS_DTYPE_F32, "cpu");
    lks_storage_release(again);
    add("b", test_tensor(tree, index, 0, LKS_DTYPE_F32, SHAPE(4)));
    assert_fails(save(), LKS_ERR_UNSUPPORTED, "value 'b': it shares bytes with 'a'");
}
