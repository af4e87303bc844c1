/* SPDX-License-Identifier: Apache-2.0 */
#include <lockstep/checkpoint.h>

#include "support/support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define CORPUS TEST_DATA_DIR "/corpus/"

static lks_checkpoint_t *checkpoint;

static void teardown(void)
{
    lks_checkpoint_close(checkpoint);
}

TestSuite(checkpoint, .fini = teardown);

static lks_tree_t *small_tree(void)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_tree_set_root(tree, lks_value_int(tree, 7));
    return tree;
}

Test(checkpoint, an_open_one_describes_itself)
{
    assert_ok(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", NULL, &checkpoint));
    cr_assert_str_eq(lks_checkpoint_path(checkpoint), CORPUS "t113_iris_sd.pth");
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "torch_zip");
    cr_assert_eq(lks_checkpoint_file_size(checkpoint), 1917);
    cr_assert_eq(lks_value_count(lks_tree_root(lks_checkpoint_tree(checkpoint))), 4);
}

Test(checkpoint, opening_says_what_is_wrong_with_a_file)
{
    const char *path = test_temp_path("a.pt");
    assert_fails(lks_checkpoint_open("/no/such.pt", NULL, &checkpoint), LKS_ERR_IO,
                 "cannot read '/no/such.pt': No such file or directory");
    test_write_file(path, "loss,epoch\n", 11);
    assert_fails(lks_checkpoint_open(path, NULL, &checkpoint), LKS_ERR_FORMAT,
                 "a.pt': it is no checkpoint");
    test_write_file(path, "PK\3\4", 4);
    assert_fails(lks_checkpoint_open(path, NULL, &checkpoint), LKS_ERR_FORMAT, "truncated");
    cr_assert(strncmp(lks_last_error()->message, "reading '", 9) == 0);
}

Test(checkpoint, limits_are_kept)
{
    lks_checkpoint_limits_t limits = lks_checkpoint_limits_default();
    limits.max_nodes = 10;
    assert_fails(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", &limits, &checkpoint),
                 LKS_ERR_FORMAT, "more values than the limit of 10");
    limits = lks_checkpoint_limits_default();
    limits.memory = 2000;
    assert_fails(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", &limits, &checkpoint),
                 LKS_ERR_FORMAT, "the limit of 2000 bytes");
    limits = lks_checkpoint_limits_default();
    limits.max_depth = 100;
    assert_fails(lks_checkpoint_open(CORPUS "t113_deep150.pt", &limits, &checkpoint),
                 LKS_ERR_FORMAT, "nested deeper than the limit of 100");
    limits.max_depth = 151;
    assert_ok(lks_checkpoint_open(CORPUS "t113_deep150.pt", &limits, &checkpoint));
}

Test(checkpoint, only_tensors_are_tensors)
{
    lks_tensor_t tensor;
    assert_ok(lks_checkpoint_open(CORPUS "t113_tutorial_ckpt.tar", NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    assert_fails(lks_checkpoint_tensor(checkpoint, lks_value_find(root, "epoch"), "epoch", &tensor),
                 LKS_ERR_MISMATCH, "'epoch' is not a tensor but int");
    assert_fails(lks_checkpoint_tensor(checkpoint, NULL, NULL, &tensor), LKS_ERR_MISMATCH,
                 "not a tensor but nothing");
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root, "loss"), "loss", &tensor));
    cr_assert_eq(tensor.ndim, 0);
}

Test(checkpoint, storages_are_found_by_index)
{
    const void *data;
    size_t nbytes;
    assert_ok(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", NULL, &checkpoint));
    assert_ok(lks_checkpoint_storage(checkpoint, 0, NULL, &data, &nbytes));
    cr_assert_eq(nbytes, 128);
    assert_fails(lks_checkpoint_storage(checkpoint, 4, NULL, &data, &nbytes), LKS_ERR_INVALID_ARG,
                 "has 4 storages, no number 4");
}

Test(checkpoint, tensors_of_many_dimensions_are_read_but_not_computed_with)
{
    const char *path = test_temp_path("a.pt");
    static float data[1];
    int64_t ones[12];
    lks_storage_t *storage;
    lks_tensor_t tensor;
    lks_tree_t *tree;
    for (int i = 0; i < 12; i++) {
        ones[i] = 1;
    }
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), data, sizeof data, NULL, NULL, &storage));
    const lks_value_tensor_t wide = {.storage =
                                         lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu"),
                                     .dtype = LKS_DTYPE_F32,
                                     .ndim = 12,
                                     .shape = ones,
                                     .stride = ones};
    lks_tree_set_root(tree, lks_value_tensor_new(tree, &wide));
    assert_ok(lks_checkpoint_save(path, tree, NULL));
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    cr_assert_eq(lks_value_tensor(root)->ndim, 12);
    assert_fails(lks_checkpoint_tensor(checkpoint, root, "w", &tensor), LKS_ERR_UNSUPPORTED,
                 "tensor 'w' has 12 dimensions, the most is 8");
    lks_storage_release(storage);
    lks_tree_destroy(tree);
}

Test(checkpoint, empty_tensors_are_views_wherever_they_point)
{
    const char *path = test_temp_path("a.pt");
    const int64_t shape[] = {0, 3}, stride[] = {3, 1};
    static float data[1];
    lks_storage_t *storage;
    lks_tensor_t tensor;
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), data, 0, NULL, NULL, &storage));
    const lks_value_tensor_t empty = {.storage =
                                          lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu"),
                                      .dtype = LKS_DTYPE_F32,
                                      .ndim = 2,
                                      .offset = 2,
                                      .shape = shape,
                                      .stride = stride};
    lks_tree_set_root(tree, lks_value_tensor_new(tree, &empty));
    assert_ok(lks_checkpoint_save(path, tree, NULL));
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    cr_assert_eq(lks_value_tensor(root)->offset, 2);
    assert_ok(lks_checkpoint_tensor(checkpoint, root, "w", &tensor));
    cr_assert_eq(lks_tensor_numel(&tensor), 0);
    lks_storage_release(storage);
    lks_tree_destroy(tree);
}

Test(checkpoint, a_storage_may_outlive_the_checkpoint)
{
    lks_checkpoint_t *source;
    assert_ok(lks_checkpoint_open(CORPUS "t113_iris_sd.pth", NULL, &source));
    lks_storage_t *storage =
        lks_storage_retain(lks_tree_storage(lks_checkpoint_tree(source), 0)->storage);
    unsigned char first = *(unsigned char *)lks_storage_data(storage);
    lks_checkpoint_close(source);
    cr_assert_eq(*(unsigned char *)lks_storage_data(storage), first);
    lks_storage_release(storage);
}

Test(checkpoint, trees_that_are_not_whole_are_not_saved)
{
    const char *path = test_temp_path("a.pt");
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    assert_fails(lks_checkpoint_save(path, tree, NULL), LKS_ERR_INVALID_ARG, "has no root");
    lks_tree_set_root(tree, lks_value_list(tree));
    lks_value_append(tree, lks_tree_root(tree), NULL);
    assert_fails(lks_checkpoint_save(path, tree, NULL), LKS_ERR_INVALID_ARG,
                 "building its values failed: nothing is appended");
    lks_tree_destroy(tree);
    tree = small_tree();
    assert_fails(lks_checkpoint_save(path, tree, &(lks_save_options_t){.format = "zip"}),
                 LKS_ERR_NOT_FOUND, "no checkpoint format is called 'zip'");
    lks_tree_destroy(tree);
}

Test(checkpoint, a_file_can_be_saved_over_itself)
{
    const char *path = test_temp_path("a.pt");
    assert_ok(lks_checkpoint_copy(CORPUS "t113_cnn_sd.pth", path));
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    assert_ok(lks_checkpoint_save(path, lks_checkpoint_tree(checkpoint), NULL));
    lks_checkpoint_t *again;
    assert_ok(lks_checkpoint_open(path, NULL, &again));
    cr_assert_eq(lks_tree_storage_count(lks_checkpoint_tree(again)), 14);
    lks_checkpoint_close(again);
}

Test(checkpoint, a_full_disk_leaves_the_old_file_valid)
{
    const char *path = test_temp_path("a.pt");
    assert_ok(lks_checkpoint_copy(CORPUS "t113_iris_sd.pth", path));
    lks_checkpoint_t *large;
    assert_ok(lks_checkpoint_open(CORPUS "t113_many_tensors_sd.pth", NULL, &large));
    (void)signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {.rlim_cur = 20000, .rlim_max = 20000};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_fails(lks_checkpoint_save(path, lks_checkpoint_tree(large), NULL), LKS_ERR_IO,
                 "a.pt': File too large");
    assert_fails(lks_checkpoint_copy(CORPUS "t113_many_tensors_sd.pth", path), LKS_ERR_IO,
                 "a.pt': File too large");
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    cr_assert_eq(lks_checkpoint_file_size(checkpoint), 1917);
    lks_checkpoint_close(large);
}

Test(checkpoint, copying_says_what_is_wrong)
{
    assert_fails(lks_checkpoint_copy("/no/such.pt", test_temp_path("a.pt")), LKS_ERR_IO,
                 "cannot read '/no/such.pt'");
    assert_fails(lks_checkpoint_copy(CORPUS "t113_iris_sd.pth", "/no/such/dir/a.pt"), LKS_ERR_IO,
                 "cannot write '/no/such/dir/a.pt'");
}

Test(checkpoint, closing_nothing_is_fine)
{
    lks_checkpoint_close(NULL);
    lks_tree_destroy(NULL);
}
