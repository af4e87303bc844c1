/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_support.c - see dcp_support.h. */
#include "serialize/dcp_support.h"
#include "serialize/dcp.h"
#include "serialize/pickle_read.h"
#include "serialize/pickle_write.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const char *test_in(const char *directory, const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

const char *const test_rank_files[RANK_FILE_COUNT] = {".metadata", "__0_0.distcp", "__1_0.distcp"};

void test_copy_ranks(const char *folder)
{
    (void)mkdir(folder, 0777);
    for (size_t i = 0; i < RANK_FILE_COUNT; i++) {
        size_t nbytes;
        unsigned char *data = test_read_file(test_in(RANKS, test_rank_files[i]), &nbytes);
        test_write_file(test_in(folder, test_rank_files[i]), data, nbytes);
        free(data);
    }
}

/* All bytes of a checkpoint are good. */
static lks_status_t load_all(lks_checkpoint_t *checkpoint)
{
    for (size_t i = 0; i < lks_tree_storage_count(lks_checkpoint_tree(checkpoint)); i++) {
        const void *data;
        size_t nbytes;
        LKS_TRY(lks_checkpoint_storage(checkpoint, i, NULL, &data, &nbytes));
    }
    return LKS_OK;
}

lks_status_t test_open_and_load(const char *path)
{
    lks_checkpoint_t *checkpoint;
    LKS_TRY(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_status_t status = load_all(checkpoint);
    lks_checkpoint_close(checkpoint);
    return status;
}

lks_strbuf_t test_listing_of(const char *path)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_strbuf_t listing = test_listing(checkpoint);
    lks_checkpoint_close(checkpoint);
    return listing;
}

lks_strbuf_t test_text_of(const char *path)
{
    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(path, NULL, &checkpoint));
    lks_strbuf_t text = test_tree_text(lks_checkpoint_tree(checkpoint));
    lks_checkpoint_close(checkpoint);
    return text;
}

void test_assert_same(lks_strbuf_t a, lks_strbuf_t b, const char *what)
{
    cr_assert_str_eq(lks_strbuf_text(&a), lks_strbuf_text(&b), "%s changed", what);
    lks_strbuf_fini(&a);
    lks_strbuf_fini(&b);
}

/* --- .metadata ---------------------------------------------------------------------------------- */

test_edit_t test_edit_begin(void)
{
    test_edit_t edit;
    size_t nbytes, used;
    const lks_pickle_hooks_t hooks = {0};
    unsigned char *data = test_read_file(test_in(RANKS, LKS_DCP_METADATA), &nbytes);
    assert_ok(lks_tree_create(&edit.tree));
    assert_ok(lks_pickle_read("", data, nbytes, &hooks, edit.tree, &used, &edit.root));
    free(data);
    return edit;
}

void test_edit_end(test_edit_t *edit, const char *folder)
{
    lks_strbuf_t pickle = {0};
    const lks_pickle_write_hooks_t hooks = {0};
    assert_ok(lks_tree_status(edit->tree));
    assert_ok(lks_pickle_write(edit->root, &hooks, &pickle));
    test_write_file(test_in(folder, LKS_DCP_METADATA), pickle.data, pickle.length);
    lks_strbuf_fini(&pickle);
    lks_tree_destroy(edit->tree);
}

lks_value_t *test_edit_part(const test_edit_t *edit, const char *name)
{
    return lks_value_find(lks_value_object_state(edit->root), name);
}

lks_value_t *test_edit_tensor(const test_edit_t *edit, const char *name)
{
    return lks_value_object_state(
        lks_value_find(test_edit_part(edit, "state_dict_metadata"), name));
}

lks_value_t *test_edit_chunk(const test_edit_t *edit, const char *name, size_t index)
{
    return lks_value_object_state(
        lks_value_at(lks_value_find(test_edit_tensor(edit, name), "chunks"), index));
}

lks_value_t *test_edit_key(const test_edit_t *edit, size_t index)
{
    return lks_value_object_state(lks_value_key_at(test_edit_part(edit, "storage_data"), index));
}

lks_value_t *test_edit_place(const test_edit_t *edit, size_t index)
{
    return lks_value_object_state(lks_value_at(test_edit_part(edit, "storage_data"), index));
}

void test_edit_size(const test_edit_t *edit, lks_value_t *fields, const char *name, int64_t a,
                    int64_t b)
{
    lks_tree_t *tree = edit->tree;
    lks_value_t *numbers = lks_value_tuple(tree), *arguments = lks_value_tuple(tree);
    lks_value_append(tree, numbers, lks_value_int(tree, a));
    lks_value_append(tree, numbers, lks_value_int(tree, b));
    lks_value_append(tree, arguments, numbers);
    lks_value_set_str(tree, fields, name,
                      lks_value_object(tree, LKS_OBJECT_REDUCE,
                                       lks_value_global(tree, "torch", "Size"), arguments));
}

void test_edit_int(const test_edit_t *edit, lks_value_t *fields, const char *name, int64_t value)
{
    lks_value_set_str(edit->tree, fields, name, lks_value_int(edit->tree, value));
}

void test_edit_text(const test_edit_t *edit, lks_value_t *fields, const char *name,
                    const char *value)
{
    lks_value_set_str(edit->tree, fields, name, lks_value_str(edit->tree, value));
}

void test_edit_path(const test_edit_t *edit, const char *item, const char *const steps[3])
{
    lks_value_t *path = lks_value_tuple(edit->tree);
    for (size_t i = 0; i < 3 && *steps[i]; i++) {
        char *end;
        long long number = strtoll(steps[i], &end, 10);
        lks_value_append(edit->tree, path,
                         *end ? lks_value_str(edit->tree, steps[i])
                              : lks_value_int(edit->tree, number));
    }
    test_edit_text(edit, test_edit_part(edit, "planner_data"), item, "");
    lks_value_set_str(edit->tree, test_edit_part(edit, "planner_data"), item, path);
}
