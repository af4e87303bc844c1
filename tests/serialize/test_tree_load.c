/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that had to be unpacked stay where they are as long as somebody looks at them. */
#include "serialize/value_node.h"
#include "support/support.h"

#include <stdlib.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

enum { TENSORS_MAX = 16 };

static lks_checkpoint_t *checkpoint;
static lks_tensor_t tensors[TENSORS_MAX];
static unsigned char *copies[TENSORS_MAX];
static size_t count;

static void teardown(void)
{
    for (size_t i = 0; i < count; i++) {
        free(copies[i]);
    }
    lks_checkpoint_close(checkpoint);
}

TestSuite(tree_load, .fini = teardown);

/* Views of all tensors, and what they show now. */
static void open_and_look(const char *path)
{
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    count = lks_value_count(root);
    cr_assert(count > 0 && count <= TENSORS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_at(root, i), "w", &tensors[i]));
        size_t nbytes = lks_tensor_nbytes(&tensors[i]);
        copies[i] = malloc(nbytes);
        cr_assert(copies[i]);
        memcpy(copies[i], lks_tensor_data(&tensors[i]), nbytes);
    }
}

static bool is_unchanged(size_t index)
{
    return memcmp(copies[index], lks_tensor_data(&tensors[index]),
                  lks_tensor_nbytes(&tensors[index])) == 0;
}

static void check_saves(const char *path)
{
    static const char *const formats[] = {"torch_zip", "torch_legacy", "safetensors",
                                          "sharded",   "npz",          "dcp"};
    open_and_look(path);
    for (size_t format = 0; format < sizeof formats / sizeof *formats; format++) {
        lks_save_options_t options = lks_save_options_default();
        options.format = formats[format];
        assert_ok(lks_checkpoint_save(test_temp_path(formats[format]),
                                      lks_checkpoint_tree(checkpoint), &options));
        for (size_t i = 0; i < count; i++) {
            cr_assert(is_unchanged(i), "tensor %zu after writing %s", i, formats[format]);
        }
    }
}

Test(tree_load, views_of_deflated_tensors_outlive_a_save)
{
    check_saves(CORPUS "x_repack_deflated.pth");
}

Test(tree_load, views_of_big_endian_tensors_outlive_a_save)
{
    check_saves(CORPUS "x_big_endian.pth");
}

Test(tree_load, views_outlive_a_snapshot)
{
    open_and_look(CORPUS "x_repack_deflated.pth");
    lks_save_handle_t *handle = NULL;
    assert_ok(lks_checkpoint_save_async(test_temp_path("a.pt"), lks_checkpoint_tree(checkpoint),
                                        NULL, &handle));
    assert_ok(lks_save_handle_wait(handle));
    lks_save_handle_destroy(handle);
    for (size_t i = 0; i < count; i++) {
        cr_assert(is_unchanged(i), "tensor %zu", i);
    }
}

Test(tree_load, memory_goes_back_with_the_last_of_those_who_loaded_it)
{
    open_and_look(CORPUS "x_repack_deflated.pth");
    const lks_tree_t *tree = lks_checkpoint_tree(checkpoint);
    size_t index = lks_value_tensor(lks_value_at(lks_tree_root(tree), 0))->storage;
    assert_ok(lks_tree_load_storage(tree, index, NULL));
    assert_ok(lks_tree_load_storage(tree, index, NULL));
    lks_checkpoint_unload(checkpoint, index);
    cr_assert(is_unchanged(0));
    lks_tree_unload_storage(tree, index);
    cr_assert(is_unchanged(0));
    lks_tree_unload_storage(tree, index);
    cr_assert(!is_unchanged(0));
    lks_tree_unload_storage(tree, index); /* once too often: harmless */
    assert_ok(lks_tree_load_storage(tree, index, NULL));
    cr_assert(is_unchanged(0));
}
