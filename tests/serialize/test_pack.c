/* SPDX-License-Identifier: Apache-2.0 */
#include "serialize/pack.h"
#include "support/support.h"

#include <stdlib.h>

#define ROOM ((size_t)1 << 20)

static lks_tree_t *tree;
static unsigned char memory[ROOM];
static size_t storage;

/* What was written, and in how many calls. */
static unsigned char packed[ROOM];
static size_t packed_size, call_count, largest;

static void setup(void)
{
    lks_storage_t *wrapped;
    for (size_t i = 0; i < ROOM; i++) {
        memory[i] = (unsigned char)(i * 2654435761u >> 13);
    }
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), memory, ROOM, NULL, NULL, &wrapped));
    storage = lks_tree_add_storage(tree, wrapped, LKS_DTYPE_U8, "cpu");
    lks_storage_release(wrapped);
}

static void teardown(void)
{
    lks_tree_destroy(tree);
}

TestSuite(pack, .init = setup, .fini = teardown);

static void keep(void *context, const void *data, size_t nbytes)
{
    (void)context;
    cr_assert(nbytes > 0 && nbytes <= ROOM - packed_size);
    memcpy(packed + packed_size, data, nbytes);
    packed_size += nbytes;
    call_count++;
    largest = nbytes > largest ? nbytes : largest;
}

static lks_value_tensor_t view(lks_dtype_t dtype, int64_t offset, int ndim, const int64_t *shape,
                               const int64_t *stride)
{
    const lks_value_tensor_t tensor = {.storage = storage,
                                       .dtype = dtype,
                                       .ndim = ndim,
                                       .offset = offset,
                                       .shape = shape,
                                       .stride = stride};
    cr_assert(lks_value_tensor_new(tree, &tensor), "outside of the storage");
    return tensor;
}

/* Packs, and compares with a walk that computes every element's place from its number. */
static void check(const lks_value_tensor_t *tensor)
{
    int64_t numel;
    uint64_t nbytes;
    size_t itemsize = lks_dtype_size(tensor->dtype);
    packed_size = call_count = largest = 0;
    assert_ok(lks_shape_numel(tensor->ndim, tensor->shape, &numel));
    assert_ok(lks_tensor_packed_size(tensor, &nbytes));
    assert_ok(lks_tensor_pack(tree, tensor, keep, NULL));
    cr_assert_eq(nbytes, (size_t)numel * itemsize);
    cr_assert_eq(packed_size, nbytes);
    for (int64_t i = 0; i < numel; i++) {
        int64_t offset = tensor->offset, rest = i;
        for (int d = tensor->ndim - 1; d >= 0; d--) {
            offset += rest % tensor->shape[d] * tensor->stride[d];
            rest /= tensor->shape[d];
        }
        cr_assert(memcmp(packed + (size_t)i * itemsize, memory + (size_t)offset * itemsize,
                         itemsize) == 0,
                  "element %lld", (long long)i);
    }
}

#define LIST(...) ((const int64_t[]){__VA_ARGS__})

Test(pack, a_tensor_in_one_piece_is_one_call)
{
    lks_value_tensor_t tensor =
        view(LKS_DTYPE_F32, 7, 4, LIST(3, 1, 100, 200), LIST(20000, 5, 200, 1));
    check(&tensor);
    cr_assert(lks_tensor_is_packed(&tensor));
    cr_assert_eq(call_count, 1);
}

Test(pack, a_scalar_has_one_element_and_an_empty_tensor_none)
{
    lks_value_tensor_t scalar = view(LKS_DTYPE_F64, 3, 0, NULL, NULL);
    check(&scalar);
    cr_assert_eq(packed_size, 8);
    lks_value_tensor_t empty = view(LKS_DTYPE_F64, 3, 3, LIST(2, 0, 5), LIST(1, 7, 9));
    check(&empty);
    cr_assert_eq(call_count, 0);
    cr_assert(lks_tensor_is_packed(&empty));
}

Test(pack, every_width_is_gathered_and_streamed)
{
    for (int dtype = 0; dtype < LKS_DTYPE_COUNT; dtype++) {
        lks_value_tensor_t tensor =
            view((lks_dtype_t)dtype, 5, 2, LIST(123, 301), LIST(1, 123)); /* transposed */
        check(&tensor);
        cr_assert(!lks_tensor_is_packed(&tensor));
        cr_assert_leq(largest, 32 << 10);
    }
}

Test(pack, views_of_all_kinds)
{
    lks_value_tensor_t columns = view(LKS_DTYPE_I16, 11, 2, LIST(90, 40), LIST(100, 1));
    check(&columns);
    lks_value_tensor_t every_other = view(LKS_DTYPE_I32, 0, 1, LIST(4001), LIST(2));
    check(&every_other);
    lks_value_tensor_t expanded = view(LKS_DTYPE_F32, 9, 3, LIST(50, 3, 20), LIST(0, 20, 1));
    check(&expanded);
    lks_value_tensor_t one_over_all = view(LKS_DTYPE_U8, 9, 2, LIST(300, 400), LIST(0, 0));
    check(&one_over_all);
    lks_value_tensor_t overlapping = view(LKS_DTYPE_F32, 0, 2, LIST(60, 70), LIST(1, 1));
    check(&overlapping);
    lks_value_tensor_t permuted =
        view(LKS_DTYPE_F64, 2, 5, LIST(3, 4, 1, 5, 6), LIST(1, 90, 77, 3, 15));
    check(&permuted);
}

Test(pack, long_rows_are_not_copied)
{
    lks_value_tensor_t tensor = view(LKS_DTYPE_U8, 1, 2, LIST(3, 100000), LIST(200000, 1));
    check(&tensor);
    cr_assert_eq(call_count, 3);
}

/* What a file may claim: 300 dimensions of one element, and 62 of two over one element. */
Test(pack, any_number_of_dimensions)
{
    int64_t shape[300], stride[300];
    for (int i = 0; i < 300; i++) {
        shape[i] = i == 20 || i == 280 ? 30 : 1;
        stride[i] = i == 20 ? 1 : 40;
    }
    lks_value_tensor_t tensor = view(LKS_DTYPE_I64, 0, 300, shape, stride);
    check(&tensor);
    for (int i = 0; i < 300; i++) {
        shape[i] = 2;
        stride[i] = 0;
    }
    lks_value_tensor_t many = {
        .storage = storage, .dtype = LKS_DTYPE_U8, .ndim = 62, .shape = shape, .stride = stride};
    cr_assert(!lks_tensor_is_packed(&many));
    uint64_t nbytes;
    assert_ok(lks_tensor_packed_size(&many, &nbytes));
    cr_assert_eq(nbytes, (uint64_t)1 << 62);
    many.dtype = LKS_DTYPE_F32;
    assert_fails(lks_tensor_packed_size(&many, &nbytes), LKS_ERR_INVALID_ARG, "2^63 bytes");
    many.ndim = 63;
    assert_fails(lks_tensor_pack(tree, &many, keep, NULL), LKS_ERR_INVALID_ARG, "2^63 elements");
}
