/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint with other keys in a new file: the same tensors, whether they were copied or their blocks are shared
 * with the old file; and what is found on the way. */
#include "serialize/named_tensors.h"
#include "serialize/renamed_tree.h"
#include "serialize/tree_text.h"

#include <dirent.h>
#include <unistd.h>

enum { TENSORS = 3, NUMBERS = 50000 };

static const char *path, *output;
static float numbers[TENSORS][NUMBERS];

static lks_checkpoint_t *open_at(const char *at)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(at, NULL, &checkpoint));
    return checkpoint;
}

/* Large tensors under "0", "1", "2". */
static void save_tensors(void)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_ordered_dict(tree);
    for (int i = 0; i < TENSORS; i++) {
        char key[8];
        lks_storage_t *storage;
        numbers[i][NUMBERS - 1] = (float)i + 1.0f;
        assert_ok(lks_storage_wrap(lks_device_host(), numbers[i], sizeof numbers[i], NULL, NULL,
                                   &storage));
        size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
        lks_storage_release(storage);
        (void)snprintf(key, sizeof key, "%d", i);
        lks_value_set_str(
            tree, root, key,
            test_tensor(tree, index, 0, LKS_DTYPE_F32, 1, (const int64_t[]){NUMBERS}));
    }
    lks_tree_set_root(tree, root);
    path = test_temp_path("a.pt");
    output = test_temp_path("b.pt");
    assert_ok(lks_checkpoint_save(path, tree, &(lks_save_options_t){.sync = false}));
    lks_tree_destroy(tree);
}

TestSuite(save_as, .init = save_tensors);

static size_t entries_of(const char *folder)
{
    size_t count = 0;
    DIR *entries = opendir(folder);
    while (readdir(entries)) {
        count++;
    }
    (void)closedir(entries);
    return count - 2; /* the dots */
}

Test(save_as, renamed_keys_have_the_same_tensors)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    lks_tree_t *tree = test_renamed_tree(lks_checkpoint_tree(checkpoint), "module.");
    lks_strbuf_t wanted = test_tree_text(tree);
    assert_ok(lks_checkpoint_save_as(checkpoint, output, tree, NULL));
    lks_tree_destroy(tree);
    lks_checkpoint_close(checkpoint);
    checkpoint = open_at(output);
    lks_strbuf_t found = test_tree_text(lks_checkpoint_tree(checkpoint));
    cr_assert_str_eq(lks_strbuf_text(&found), lks_strbuf_text(&wanted));
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, NULL));
    lks_checkpoint_close(checkpoint);
    lks_strbuf_fini(&found);
    lks_strbuf_fini(&wanted);
    cr_assert_eq(entries_of(test_temp_dir()), 2);
}

Test(save_as, the_file_itself_may_be_replaced)
{
    lks_checkpoint_t *checkpoint = open_at(path);
    lks_tree_t *tree = test_renamed_tree(lks_checkpoint_tree(checkpoint), "module.");
    assert_ok(lks_checkpoint_save_as(checkpoint, path, tree, NULL));
    lks_tree_destroy(tree);
    lks_checkpoint_close(checkpoint);
    checkpoint = open_at(path);
    cr_assert(lks_value_find(lks_tree_root(lks_checkpoint_tree(checkpoint)), "module.2"));
    assert_ok(lks_checkpoint_verify(checkpoint, NULL, NULL));
    lks_checkpoint_close(checkpoint);
}

/* Also where blocks could be shared, nothing of them may stay behind. */
Test(save_as, tensors_that_were_left_out_are_not_in_the_file)
{
    size_t nbytes;
    lks_checkpoint_t *checkpoint = open_at(path);
    lks_tree_t *tree = lks_checkpoint_edit(checkpoint);
    lks_value_t *root = lks_value_ordered_dict(tree);
    lks_value_set_str(tree, root, "0", lks_value_find(lks_tree_root(tree), "0"));
    lks_tree_set_root(tree, root);
    assert_ok(lks_checkpoint_save_as(checkpoint, output, tree, NULL));
    lks_checkpoint_close(checkpoint);
    free(test_read_file(output, &nbytes));
    cr_assert_lt(nbytes, 2 * sizeof numbers[0]);
}

Test(save_as, what_turns_out_corrupt_is_named_and_not_kept)
{
    size_t nbytes;
    unsigned char *file = test_read_file(path, &nbytes);
    unsigned char *at = memmem(file, nbytes, &numbers[1][NUMBERS - 1], sizeof(float));
    cr_assert(at);
    *at ^= 1;
    test_write_file(path, file, nbytes);
    test_write_file(output, "old", 3);
    free(file);
    lks_checkpoint_t *checkpoint = open_at(path);
    const lks_tree_t *tree = lks_checkpoint_tree(checkpoint);
    for (int again = 0; again < 2; again++) {
        assert_fails(lks_checkpoint_save(output, tree, NULL), LKS_ERR_CORRUPT,
                     "a.pt': tensor '1' (record data/1) is corrupt: CRC-32 is");
    }
    lks_checkpoint_close(checkpoint);
    file = test_read_file(output, &nbytes);
    cr_assert_str_eq((const char *)file, "old");
    free(file);
    cr_assert_eq(entries_of(test_temp_dir()), 2);
}

enum { LARGE_NUMBERS = 1 << 18 };

static void save_large(const char *to)
{
    static float large[LARGE_NUMBERS];
    lks_tree_t *tree;
    lks_storage_t *storage;
    assert_ok(lks_tree_create(&tree));
    assert_ok(lks_storage_wrap(lks_device_host(), large, sizeof large, NULL, NULL, &storage));
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cpu");
    lks_storage_release(storage);
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_str(
        tree, root, "large",
        test_tensor(tree, index, 0, LKS_DTYPE_F32, 1, (const int64_t[]){LARGE_NUMBERS}));
    lks_tree_set_root(tree, root);
    assert_ok(lks_checkpoint_save(to, tree, &(lks_save_options_t){.sync = false}));
    lks_tree_destroy(tree);
}

static void assert_short(const char *from, const char *format)
{
    const char *to = test_temp_path(format);
    save_large(from);
    lks_checkpoint_t *opened = open_at(from);
    cr_assert_eq(truncate(from, 8192), 0);
    assert_fails(
        lks_checkpoint_save(to, lks_checkpoint_tree(opened),
                            &(lks_save_options_t){.format = format, .shard_size = 5000000000}),
        LKS_ERR_IO, "it has become shorter");
    lks_checkpoint_close(opened);
}

Test(save_as, a_file_that_becomes_shorter_is_an_error)
{
    const char *from = test_temp_path("large.safetensors");
    assert_short(from, "torch_zip");
    assert_short(from, "safetensors");
    assert_short(from, "sharded");
    assert_short(from, "dcp");
}
