/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of torch.distributed.checkpoint that are damaged, or lie. */
#include "serialize/dcp.h"
#include "serialize/dcp_support.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *folder; /* the checkpoint under test */

static void setup(void)
{
    folder = test_temp_path("checkpoint");
}

TestSuite(dcp_hostile, .init = setup);

/* --- metadata that lies ------------------------------------------------------------------------- */

static void make_hole(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "sizes", 1, 3);
}

static void make_overlap(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_tensor(edit, "model.rows"), "size", 4, 3);
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "offsets", 2, 0);
    test_edit_size(edit, test_edit_key(edit, ROWS_1), "offset", 2, 0);
}

/* As many elements as there should be. */
static void make_both(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "offsets", 2, 0);
    test_edit_size(edit, test_edit_key(edit, ROWS_1), "offset", 2, 0);
}

static void move_outside(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_chunk(edit, "model.cols", 1), "offsets", 1, 3);
    test_edit_size(edit, test_edit_key(edit, COLS_1), "offset", 1, 3);
}

static void move_far_outside(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_chunk(edit, "model.cols", 1), "offsets", 0, INT64_MAX);
    test_edit_size(edit, test_edit_key(edit, COLS_1), "offset", 0, INT64_MAX);
}

static void claim_overflow(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_tensor(edit, "model.rows"), "size", INT64_MAX / 2, 7);
}

static void claim_too_much(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_tensor(edit, "model.rows"), "size", (int64_t)1 << 40, 3);
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "sizes", ((int64_t)1 << 40) - 3,
                   3);
}

static void claim_negative(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_tensor(edit, "model.rows"), "size", -1, 3);
}

static void claim_other_shape(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_tensor(edit, "model.rows"), "size", 3, 5);
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 0), "sizes", 3, 3);
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "offsets", 0, 3);
    test_edit_size(edit, test_edit_chunk(edit, "model.rows", 1), "sizes", 3, 2);
    test_edit_size(edit, test_edit_key(edit, ROWS_1), "offset", 0, 3);
}

static void claim_other_dtype(test_edit_t *edit)
{
    lks_value_t *state =
        lks_value_object_state(lks_value_find(test_edit_tensor(edit, "plain"), "properties"));
    ((lks_sequence_node_t *)state)->items[0] = lks_value_global(edit->tree, "torch", "int32");
}

static void name_unknown_dtype(test_edit_t *edit)
{
    lks_value_t *state =
        lks_value_object_state(lks_value_find(test_edit_tensor(edit, "plain"), "properties"));
    ((lks_sequence_node_t *)state)->items[0] = lks_value_global(edit->tree, "torch", "float7");
}

static void lose_properties(test_edit_t *edit)
{
    lks_value_t *tensor = test_edit_tensor(edit, "plain");
    lks_value_t *class = lks_value_object_callable(lks_value_find(tensor, "properties"));
    lks_value_set_str(
        edit->tree, tensor, "properties",
        lks_value_object(edit->tree, LKS_OBJECT_REDUCE, class, lks_value_tuple(edit->tree)));
}

static void lose_chunk(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_key(edit, ROWS_1), "fqn", "model.other");
}

static void lose_value(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_key(edit, STEP), "fqn", "model.other");
}

static void store_twice(test_edit_t *edit)
{
    test_edit_size(edit, test_edit_key(edit, ROWS_1), "offset", 0, 0);
}

static void share_bytes(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_place(edit, ROWS_1), "relative_path", "__0_0.distcp");
    test_edit_int(edit, test_edit_place(edit, ROWS_1), "offset", 1179);
}

static void end_outside(test_edit_t *edit)
{
    test_edit_int(edit, test_edit_place(edit, PLAIN), "length", 1 << 20);
}

static void end_far_outside(test_edit_t *edit)
{
    test_edit_int(edit, test_edit_place(edit, PLAIN), "length", INT64_MAX);
    test_edit_int(edit, test_edit_place(edit, PLAIN), "offset", INT64_MAX);
}

static void begin_before(test_edit_t *edit)
{
    test_edit_int(edit, test_edit_place(edit, STEP), "offset", -1);
}

static void begin_elsewhere(test_edit_t *edit)
{
    test_edit_int(edit, test_edit_place(edit, STEP), "length", 800);
}

static void lead_out(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_place(edit, STEP), "relative_path", "../__1_0.distcp");
}

static void lead_to_parent(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_place(edit, STEP), "relative_path", "..");
}

static void lead_nowhere(test_edit_t *edit)
{
    test_edit_text(edit, test_edit_place(edit, STEP), "relative_path", "__7_0.distcp");
}

static void transform(test_edit_t *edit)
{
    lks_value_t *list = lks_value_list(edit->tree);
    lks_value_append(edit->tree, list, lks_value_str(edit->tree, "stream.zstd"));
    lks_value_set_str(edit->tree, test_edit_place(edit, STEP), "transform_descriptors", list);
}

static void enter_value(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("plain", "x", ""));
}

static void share_path(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("plain", ""));
}

static void leave_no_path(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH(""));
}

static void begin_in_list(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("0", ""));
}

static void mix_containers(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("model", "0", ""));
}

static void leave_many_places(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("list", "1000000000000", ""));
}

static void place_before(test_edit_t *edit)
{
    test_edit_path(edit, "model.rows", PATH("list", "-1", ""));
}

static void be_something_else(test_edit_t *edit)
{
    edit->root = test_edit_part(edit, "storage_data");
}

static const struct {
    void (*change)(test_edit_t *edit);
    lks_status_t status;
    const char *text;
} lies[] = {
    {make_hole, LKS_ERR_FORMAT,
     "item 'model.rows': its chunks have 12 elements, the tensor has 15"},
    {make_overlap, LKS_ERR_FORMAT, "its chunks have 15 elements, the tensor has 12"},
    {make_both, LKS_ERR_FORMAT, "item 'model.rows': its chunks overlap and leave holes"},
    {move_outside, LKS_ERR_FORMAT, "outside of the tensor along dimension 0"},
    {move_far_outside, LKS_ERR_FORMAT, "outside of the tensor along dimension 1"},
    {claim_overflow, LKS_ERR_INVALID_ARG, "item 'model.rows'"},
    {claim_too_much, LKS_ERR_FORMAT, "elements of float32 does not fit its 1180 bytes"},
    {claim_negative, LKS_ERR_FORMAT, "its size has an entry that is no size"},
    {claim_other_shape, LKS_ERR_FORMAT,
     "has float32 (2, 3) at byte 864, .metadata says float32 (3, 2)"},
    {claim_other_dtype, LKS_ERR_FORMAT, "item 'plain': "},
    {name_unknown_dtype, LKS_ERR_UNSUPPORTED, "its dtype is 'torch.float7'"},
    {lose_properties, LKS_ERR_FORMAT, "item 'plain': it has no TensorProperties"},
    {lose_chunk, LKS_ERR_FORMAT, "does not say where one of its chunks lies"},
    {lose_value, LKS_ERR_FORMAT, "item 'step': storage_data does not say where it lies"},
    {store_twice, LKS_ERR_FORMAT, "the same part of it is stored twice"},
    {share_bytes, LKS_ERR_FORMAT, "overlap in '__0_0.distcp'"},
    {end_outside, LKS_ERR_FORMAT, "__1_0.distcp', which has 5584"},
    {end_far_outside, LKS_ERR_FORMAT, "__1_0.distcp', which has 5584"},
    {begin_before, LKS_ERR_FORMAT, "has no file, offset and length"},
    {begin_elsewhere, LKS_ERR_FORMAT, "item 'step': reading '"},
    {lead_out, LKS_ERR_FORMAT, "'../__1_0.distcp' is not a plain name"},
    {lead_to_parent, LKS_ERR_FORMAT, "'..' is not a plain name"},
    {lead_nowhere, LKS_ERR_IO, "item 'step': cannot read '"},
    {transform, LKS_ERR_UNSUPPORTED, "item 'step': its bytes are transformed"},
    {enter_value, LKS_ERR_FORMAT, "path"},
    {share_path, LKS_ERR_FORMAT, "item 'plain': its path is that of another item"},
    {leave_no_path, LKS_ERR_FORMAT, "is no tuple that begins with a str"},
    {begin_in_list, LKS_ERR_FORMAT, "is no tuple that begins with a str"},
    {mix_containers, LKS_ERR_FORMAT, "its path goes through another item's value"},
    {leave_many_places, LKS_ERR_FORMAT, "places of lists empty"},
    {place_before, LKS_ERR_FORMAT, "step 1 of its path is neither a str nor a place"},
    {be_something_else, LKS_ERR_FORMAT, ".metadata: it holds no Metadata"},
};

Test(dcp_hostile, metadata_that_lies_is_refused)
{
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        test_copy_ranks(folder);
        test_edit_t edit = test_edit_begin();
        lies[i].change(&edit);
        test_edit_end(&edit, folder);
        assert_fails(test_open_and_load(folder), lies[i].status, lies[i].text);
        cr_assert(strstr(lks_last_error()->message, folder), "%s", lks_last_error()->message);
    }
}

/* --- files that are damaged --------------------------------------------------------------------- */

Test(dcp_hostile, a_file_cut_anywhere_is_refused)
{
    for (size_t f = 0; f < RANK_FILE_COUNT; f++) {
        size_t nbytes;
        test_copy_ranks(folder);
        unsigned char *data = test_read_file(test_in(folder, test_rank_files[f]), &nbytes);
        for (size_t length = nbytes; length-- > 0;) {
            cr_assert_eq(truncate(test_in(folder, test_rank_files[f]), (off_t)length), 0);
            cr_assert_neq(test_open_and_load(folder), LKS_OK, "%s of %zu bytes", test_rank_files[f],
                          length);
        }
        free(data);
    }
}

Test(dcp_hostile, a_missing_file_is_named)
{
    test_copy_ranks(folder);
    cr_assert_eq(unlink(test_in(folder, "__1_0.distcp")), 0);
    assert_fails(test_open_and_load(folder), LKS_ERR_IO, "checkpoint/__1_0.distcp'");
    cr_assert_eq(unlink(test_in(folder, LKS_DCP_METADATA)), 0);
    assert_fails(test_open_and_load(folder), LKS_ERR_FORMAT, "a directory");
    test_write_file(test_in(folder, "__0.metadata"), "", 0);
    assert_fails(test_open_and_load(folder), LKS_ERR_UNSUPPORTED, "__0.metadata");
}

/* Refused, or of bytes that do not matter. */
Test(dcp_hostile, a_wrong_byte_anywhere_is_noticed)
{
    static const unsigned char flips[] = {0x01, 0x80};
    lks_strbuf_t good = test_listing_of(RANKS);
    size_t refused = 0;
    for (size_t f = 1; f < RANK_FILE_COUNT; f++) {
        size_t nbytes;
        test_copy_ranks(folder);
        unsigned char *data = test_read_file(test_in(folder, test_rank_files[f]), &nbytes);
        for (size_t i = 0; i < nbytes * sizeof flips; i++) {
            size_t at = i / sizeof flips;
            data[at] ^= flips[i % sizeof flips];
            test_write_file(test_in(folder, test_rank_files[f]), data, nbytes);
            data[at] ^= flips[i % sizeof flips];
            if (test_open_and_load(folder) == LKS_OK) {
                lks_strbuf_t listing = test_listing_of(folder);
                cr_assert_str_eq(lks_strbuf_text(&listing), lks_strbuf_text(&good), "byte %zu", at);
                lks_strbuf_fini(&listing);
            } else {
                refused++;
            }
        }
        free(data);
    }
    cr_assert_gt(refused, 1000);
    lks_strbuf_fini(&good);
}

Test(dcp_hostile, a_wrong_byte_of_metadata_is_harmless)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    size_t nbytes;
    test_copy_ranks(folder);
    unsigned char *data = test_read_file(test_in(folder, LKS_DCP_METADATA), &nbytes);
    for (size_t i = 0; i < nbytes * sizeof flips; i++) {
        size_t at = i / sizeof flips;
        data[at] ^= flips[i % sizeof flips];
        test_write_file(test_in(folder, LKS_DCP_METADATA), data, nbytes);
        data[at] ^= flips[i % sizeof flips];
        if (test_open_and_load(folder) != LKS_OK) {
            cr_assert_gt(strlen(lks_last_error()->message), 20);
        }
    }
    free(data);
}

/* The elements of model.cols begin behind the header of record data/0 of its archive. */
Test(dcp_hostile, a_wrong_element_is_reported_with_file_and_tensor)
{
    size_t nbytes;
    test_copy_ranks(folder);
    unsigned char *data = test_read_file(test_in(folder, "__1_0.distcp"), &nbytes);
    unsigned char *record = memmem(data + 2044, nbytes - 2044, "archive/data/0", 14);
    cr_assert(record);
    size_t payload = ((size_t)(record - data) - 2044 + 14 + 63) / 64 * 64 + 2044;
    data[payload + 5] ^= 4;
    test_write_file(test_in(folder, "__1_0.distcp"), data, nbytes);
    free(data);

    lks_checkpoint_t *checkpoint;
    assert_ok(lks_checkpoint_open(folder, NULL, &checkpoint));
    const lks_value_t *model =
        lks_value_find(lks_tree_root(lks_checkpoint_tree(checkpoint)), "model");
    lks_tensor_t view;
    assert_ok(lks_checkpoint_tensor(checkpoint, lks_value_find(model, "rows"), NULL, &view));
    assert_fails(lks_checkpoint_tensor(checkpoint, lks_value_find(model, "cols"), NULL, &view),
                 LKS_ERR_CORRUPT, "checkpoint/__1_0.distcp': tensor 'model.cols' (record data/0)");
    assert_fails(lks_checkpoint_tensor(checkpoint, lks_value_find(model, "cols"), "m.c", &view),
                 LKS_ERR_CORRUPT, "tensor 'm.c'");
    lks_checkpoint_close(checkpoint);
}

Test(dcp_hostile, limits_hold)
{
    const lks_checkpoint_limits_t little = {.memory = 2000, .max_depth = 100, .max_nodes = 100000};
    const lks_checkpoint_limits_t few = {.memory = 1 << 24, .max_depth = 100, .max_nodes = 100};
    lks_checkpoint_t *checkpoint;
    assert_fails(lks_checkpoint_open(RANKS, &little, &checkpoint), LKS_ERR_FORMAT, "limit");
    assert_fails(lks_checkpoint_open(RANKS, &few, &checkpoint), LKS_ERR_FORMAT, "limit");
}
