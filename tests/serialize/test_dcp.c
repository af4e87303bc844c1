/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of torch.distributed.checkpoint: how they are read, and that what is written comes back. That the files
 * of tests/data/corpus hold what torch put in is test_corpus.c's. */
#include "serialize/dcp.h"
#include "serialize/dcp_support.h"
#include "support/support.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

static const lks_save_options_t as_dcp = {.format = "dcp", .shard_size = 5000000000};

static const char *folder; /* the checkpoint under test */

static void setup(void)
{
    folder = test_temp_path("checkpoint");
}

TestSuite(dcp, .init = setup);

static lks_checkpoint_t *open_good(const char *path)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    cr_assert_str_eq(lks_checkpoint_format(checkpoint), "dcp");
    return checkpoint;
}

static void save_as(const char *from, const char *to, const lks_save_options_t *options)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(from, NULL, &checkpoint));
    assert_ok(lks_checkpoint_save(to, lks_checkpoint_tree(checkpoint), options));
    lks_checkpoint_close(checkpoint);
}

/* --- reading ------------------------------------------------------------------------------------ */

Test(dcp, metadata_that_only_passed_through_our_pickler_reads_the_same)
{
    test_copy_ranks(folder);
    test_edit_t edit = test_edit_begin();
    test_edit_end(&edit, folder);
    test_assert_same(test_listing_of(folder), test_listing_of(RANKS), "the checkpoint");
}

Test(dcp, chunks_without_elements_are_ignored)
{
    test_copy_ranks(folder);
    test_edit_t edit = test_edit_begin();
    lks_value_t *chunks = lks_value_find(test_edit_tensor(&edit, "model.rows"), "chunks");
    lks_value_t *empty = lks_value_dict(edit.tree);
    test_edit_size(&edit, empty, "offsets", 5, 3);
    test_edit_size(&edit, empty, "sizes", 0, 3);
    lks_value_t *object = lks_value_object(edit.tree, LKS_OBJECT_NEW,
                                           lks_value_object_callable(lks_value_at(chunks, 0)),
                                           lks_value_tuple(edit.tree));
    lks_value_object_set_state(edit.tree, object, empty);
    lks_value_append(edit.tree, chunks, object);
    test_edit_end(&edit, folder);
    test_assert_same(test_listing_of(folder), test_listing_of(RANKS), "the checkpoint");
}

Test(dcp, names_stand_for_paths_where_there_are_none)
{
    test_copy_ranks(folder);
    test_edit_t edit = test_edit_begin();
    lks_value_set_str(edit.tree, lks_value_object_state(edit.root), "planner_data",
                      lks_value_none(edit.tree));
    test_edit_end(&edit, folder);
    lks_checkpoint_t *checkpoint = open_good(folder);
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    cr_assert(lks_value_tensor(lks_value_find(root, "model.rows")));
    cr_assert_null(lks_value_find(root, "model"));
    lks_checkpoint_close(checkpoint);
}

Test(dcp, places_of_lists_that_nobody_fills_are_none)
{
    test_copy_ranks(folder);
    test_edit_t edit = test_edit_begin();
    test_edit_path(&edit, "model.rows", PATH("list", "2", ""));
    test_edit_path(&edit, "model.cols", PATH("list", "0", ""));
    test_edit_end(&edit, folder);
    lks_checkpoint_t *checkpoint = open_good(folder);
    const lks_value_t *list =
        lks_value_find(lks_tree_root(lks_checkpoint_tree(checkpoint)), "list");
    cr_assert_eq(lks_value_count(list), 3);
    cr_assert_eq(lks_value_tensor(lks_value_at(list, 0))->shape[1], 6);
    cr_assert_eq(lks_value_kind(lks_value_at(list, 1)), LKS_VALUE_NONE);
    cr_assert_eq(lks_value_tensor(lks_value_at(list, 2))->shape[0], 5);
    lks_checkpoint_close(checkpoint);
}

/* --- loading ------------------------------------------------------------------------------------ */

Test(dcp, what_was_put_together_can_be_given_back_and_put_together_again)
{
    lks_checkpoint_t *checkpoint = open_good(RANKS);
    const lks_value_t *model =
        lks_value_find(lks_tree_root(lks_checkpoint_tree(checkpoint)), "model");
    const lks_value_tensor_t *cols = lks_value_tensor(lks_value_find(model, "cols"));
    const void *data;
    size_t nbytes;
    float first[12], again[12];
    assert_ok(lks_checkpoint_storage(checkpoint, cols->storage, NULL, &data, &nbytes));
    cr_assert_eq(nbytes, sizeof first);
    memcpy(first, data, sizeof first);
    lks_checkpoint_unload(checkpoint, cols->storage);
    cr_assert_eq(*(const float *)data, 0.0f, "the memory went back");
    assert_ok(lks_checkpoint_storage(checkpoint, cols->storage, NULL, &data, &nbytes));
    memcpy(again, data, sizeof again);
    cr_assert_eq(memcmp(first, again, sizeof first), 0);
    cr_assert_neq(first[0], 0.0f);
    lks_checkpoint_close(checkpoint);
}

Test(dcp, file_size_is_that_of_all_files)
{
    lks_checkpoint_t *checkpoint = open_good(RANKS);
    cr_assert_eq(lks_checkpoint_file_size(checkpoint), 1695 + 2360 + 5584);
    lks_checkpoint_close(checkpoint);
}

/* --- writing ------------------------------------------------------------------------------------ */

static const char *const folders[] = {
    "t113_dcp_2ranks", "t113_dcp_file_per_item", "t113_dcp_single",
    "t26_dcp_2ranks",  "t26_dcp_single",         "t26_dcp_threads",
};

Test(dcp, survives_dcp_and_torch_zip)
{
    const char *second = test_temp_path("second"), *file = test_temp_path("file.pt");
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        save_as(test_in(CORPUS, folders[i]), folder, &as_dcp);
        test_assert_same(test_text_of(test_in(CORPUS, folders[i])), test_text_of(folder),
                         folders[i]);
        save_as(folder, file, &(lks_save_options_t){.sync = false});
        save_as(file, second, &as_dcp);
        test_assert_same(test_text_of(folder), test_text_of(second), folders[i]);
    }
}

/* Lines of a listing without those of attributes, which dicts lose. */
static lks_strbuf_t without_attributes(lks_strbuf_t listing)
{
    lks_strbuf_t kept = {0};
    for (const char *line = lks_strbuf_text(&listing); *line;) {
        const char *end = strchr(line, '\n') + 1;
        if (!memmem(line, (size_t)(end - line), "<attrs>", 7)) {
            lks_strbuf_append(&kept, line, (size_t)(end - line));
        }
        line = end;
    }
    lks_strbuf_fini(&listing);
    return kept;
}

/* Files whose tensors are all in C order, whose keys all have a name, and in which no value stands in two places. */
static const char *const files[] = {
    "t26_all_dtypes.pt",
    "t26_new_dtypes.pt",

    "t26_quantized.pt",
    "t26_tensor_attrs.pt",
    "t26_empties.pt",
    "t26_reference_ckpt.pth",
    "t26_opt_sgd_plain_steplr.pth",
    "t26_opt_rmsprop_lambda.pth",
    "t113_many_tensors_sd.pth",
    "t113_scalars.pt",

    "t113_lightning_like.ckpt",
    "t113_sparse.pt",
    "t113_rng.pt",
};

Test(dcp, holds_what_torch_zip_held)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        save_as(test_in(CORPUS, files[i]), folder, &as_dcp);
        test_assert_same(without_attributes(test_listing_of(test_in(CORPUS, files[i]))),
                         without_attributes(test_listing_of(folder)), files[i]);
    }
}

static lks_value_t *numbers(lks_tree_t *tree, int64_t stride0, int64_t stride1, int64_t offset)
{
    static float values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static lks_storage_t *storage;
    if (!storage) {
        assert_ok(lks_storage_wrap(lks_device_host(), values, sizeof values, NULL, NULL, &storage));
    }
    const int64_t shape[] = {2, 3}, stride[] = {stride0, stride1};
    return lks_value_tensor_new(
        tree, &(lks_value_tensor_t){
                  .storage = lks_tree_add_storage(tree, storage, LKS_DTYPE_F32, "cuda:1"),
                  .dtype = LKS_DTYPE_F32,
                  .ndim = 2,
                  .offset = offset,
                  .shape = shape,
                  .stride = stride});
}

static void assert_numbers(lks_checkpoint_t *checkpoint, const char *name, const float wanted[6])
{
    const lks_value_t *root = lks_tree_root(lks_checkpoint_tree(checkpoint));
    lks_tensor_t view;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(root, name), name, &view));
    cr_assert(lks_tensor_is_contiguous(&view));
    cr_assert_eq(lks_tensor_nbytes(&view), 6 * sizeof(float));
    cr_assert_eq(memcmp(lks_tensor_data(&view), wanted, 6 * sizeof(float)), 0, "%s", name);
}

Test(dcp, strided_and_shared_tensors_become_packed_copies)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree);
    lks_value_set_str(tree, root, "rows", numbers(tree, 3, 1, 0));
    lks_value_set_str(tree, root, "columns", numbers(tree, 1, 2, 1));
    lks_value_set_str(tree, root, "expanded", numbers(tree, 0, 4, 2));
    lks_tree_set_root(tree, root);
    assert_ok(lks_checkpoint_save(folder, tree, &as_dcp));
    lks_tree_destroy(tree);

    lks_checkpoint_t *checkpoint = open_good(folder);
    assert_numbers(checkpoint, "rows", (const float[]){0, 1, 2, 3, 4, 5});
    assert_numbers(checkpoint, "columns", (const float[]){1, 3, 5, 2, 4, 6});
    assert_numbers(checkpoint, "expanded", (const float[]){2, 6, 10, 2, 6, 10});
    const lks_tree_storage_t *storage = lks_tree_storage(lks_checkpoint_tree(checkpoint), 0);
    cr_assert_eq(lks_tree_storage_count(lks_checkpoint_tree(checkpoint)), 3);
    cr_assert_eq((uintptr_t)lks_storage_data(storage->storage) % 64, 0, "in the map, aligned");
    lks_checkpoint_close(checkpoint);
}

/* {'a': {}, 'b': [[], [{}, 1], (2, {'c': 3})], 4: True, None: 'x'} */
Test(dcp, containers_come_back_as_they_were_but_for_their_keys)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_ordered_dict(tree), *list = lks_value_list(tree);
    lks_value_t *mixed = lks_value_list(tree), *tuple = lks_value_tuple(tree);
    lks_value_t *inner = lks_value_dict(tree);
    lks_value_set_str(tree, inner, "c", lks_value_int(tree, 3));
    lks_value_append(tree, tuple, lks_value_int(tree, 2));
    lks_value_append(tree, tuple, inner);
    lks_value_append(tree, mixed, lks_value_dict(tree));
    lks_value_append(tree, mixed, lks_value_int(tree, 1));
    lks_value_append(tree, list, lks_value_list(tree));
    lks_value_append(tree, list, mixed);
    lks_value_append(tree, list, tuple);
    lks_value_set_str(tree, root, "a", lks_value_dict(tree));
    lks_value_set_str(tree, root, "b", list);
    lks_value_set_int(tree, root, 4, lks_value_bool(tree, true));
    lks_value_set(tree, root, lks_value_none(tree), lks_value_str(tree, "x"));
    lks_tree_set_root(tree, root);
    assert_ok(lks_checkpoint_save(folder, tree, &as_dcp));
    lks_tree_destroy(tree);

    lks_strbuf_t text = test_text_of(folder);
    cr_assert_str_eq(
        lks_strbuf_text(&text),
        "#0 {str b: #1 [#2 [], #3 [#4 {}, int 1, ], #5 (int 2, #6 {str c: int 3,\n}, ), "
        "],\nstr 4: bool true,\nstr None: str x,\nstr a: #7 {},\n}",
        "%s", lks_strbuf_text(&text));
    lks_strbuf_fini(&text);
}

static size_t count_files(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    cr_assert(directory);
    for (const struct dirent *entry; (entry = readdir(directory));) {
        cr_assert(entry->d_name[0] == '.' || lks_dcp_is_part(entry->d_name));
        count += lks_dcp_is_part(entry->d_name);
    }
    (void)closedir(directory);
    return count;
}

Test(dcp, files_are_as_large_as_was_asked_for)
{
    static const char source[] = CORPUS "t113_many_tensors_sd.pth";
    lks_save_options_t options = as_dcp;
    save_as(source, folder, &options);
    cr_assert_eq(count_files(folder), 2);
    options.shard_size = 200;
    save_as(source, folder, &options);
    cr_assert_gt(count_files(folder), 3);
    test_assert_same(without_attributes(test_listing_of(source)),
                     without_attributes(test_listing_of(folder)), "the checkpoint");
}

static void note_dropped(void *context, const char *path, const char *why)
{
    lks_strbuf_appendf(context, "%s: %s\n", path, why);
}

/* {'a': {1.5: 1, 'b': 2}, 'c': 3} and, where asked for, 'a.b' */
static lks_tree_t *odd_names(bool twice)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree), *inner = lks_value_dict(tree);
    if (!twice) {
        lks_value_set(tree, inner, lks_value_float(tree, 1.5), lks_value_int(tree, 1));
    }
    lks_value_set_str(tree, inner, "b", lks_value_int(tree, 2));
    lks_value_set_str(tree, root, "a", inner);
    lks_value_set_str(tree, root, twice ? "a.b" : "c", lks_value_int(tree, 3));
    lks_tree_set_root(tree, root);
    return tree;
}

Test(dcp, keys_without_a_name_are_refused_or_dropped)
{
    lks_tree_t *tree = odd_names(false);
    lks_strbuf_t dropped = {0};
    lks_save_options_t options = as_dcp;
    assert_fails(lks_checkpoint_save(folder, tree, &options), LKS_ERR_UNSUPPORTED,
                 "value 'a.<float>': a key that is no str or int");
    cr_assert_neq(access(folder, F_OK), 0, "nothing was left");
    options.drop = true;
    options.dropped = note_dropped;
    options.dropped_context = &dropped;
    assert_ok(lks_checkpoint_save(folder, tree, &options));
    cr_assert(strstr(lks_strbuf_text(&dropped), "a.<float>: "));
    lks_strbuf_t listing = test_listing_of(folder);
    cr_assert_str_eq(lks_strbuf_text(&listing), "a.b\tint 2\nc\tint 3\n");
    lks_strbuf_fini(&listing);
    lks_strbuf_fini(&dropped);
    lks_tree_destroy(tree);
}

Test(dcp, two_values_of_one_name_are_refused)
{
    lks_tree_t *tree = odd_names(true);
    assert_fails(lks_checkpoint_save(folder, tree, &as_dcp), LKS_ERR_UNSUPPORTED, "value 'a.b'");
    lks_tree_destroy(tree);
}

Test(dcp, what_is_no_dict_or_contains_itself_is_refused)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *list = lks_value_list(tree), *root = lks_value_dict(tree);
    lks_tree_set_root(tree, list);
    assert_fails(lks_checkpoint_save(folder, tree, &as_dcp), LKS_ERR_UNSUPPORTED,
                 "the root is list");
    lks_value_set_str(tree, root, "self", root);
    lks_tree_set_root(tree, root);
    assert_fails(lks_checkpoint_save(folder, tree, &as_dcp), LKS_ERR_UNSUPPORTED, "in itself");
    lks_tree_destroy(tree);
}

/* Sixty dicts, each twice in the one before: 2^60 values if each place counts. */
Test(dcp, containers_in_many_places_do_not_explode)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    lks_value_t *dict = lks_value_dict(tree);
    lks_value_set_str(tree, dict, "x", lks_value_int(tree, 1));
    for (size_t i = 0; i < 60; i++) {
        lks_value_t *outer = lks_value_dict(tree);
        lks_value_set_str(tree, outer, "a", dict);
        lks_value_set_str(tree, outer, "b", dict);
        dict = outer;
    }
    lks_tree_set_root(tree, dict);
    assert_fails(lks_checkpoint_save(folder, tree, &as_dcp), LKS_ERR_UNSUPPORTED,
                 "too many values");
    lks_tree_destroy(tree);
}

Test(dcp, replaces_a_checkpoint_and_nothing_else)
{
    test_copy_ranks(folder);
    save_as(CORPUS "t26_dcp_single", folder, &as_dcp);
    cr_assert_eq(count_files(folder), 2);
    test_write_file(test_in(folder, "notes.txt"), "x", 1);
    lks_checkpoint_t *checkpoint = open_good(RANKS);
    assert_fails(lks_checkpoint_save(folder, lks_checkpoint_tree(checkpoint), &as_dcp), LKS_ERR_IO,
                 "notes.txt");
    lks_checkpoint_close(checkpoint);
}
