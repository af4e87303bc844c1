/* SPDX-License-Identifier: Apache-2.0 */
/* dcp_support.h - what the tests of distributed checkpoints share. */
#ifndef LOCKSTEP_TESTS_DCP_SUPPORT_H
#define LOCKSTEP_TESTS_DCP_SUPPORT_H

#include "serialize/tree_text.h"
#include "serialize/value_node.h"

#define CORPUS TEST_DATA_DIR "/corpus/"

/* Two ranks: model.rows (5, 3) is cut after row 3, model.cols (2, 6) after column 3; model.repl, plain and step are
 * whole. Entries of storage_data: rows, cols of rank 0; step, rows, cols, repl, plain of rank 1. */
#define RANKS CORPUS "t26_dcp_2ranks"
enum { ROWS_0, COLS_0, STEP, ROWS_1, COLS_1, REPL, PLAIN };

#define RANK_FILE_COUNT 3
extern const char *const test_rank_files[RANK_FILE_COUNT];

/** "<directory>/<name>", until the next call. */
const char *test_in(const char *directory, const char *name);

/** Copies RANKS to `folder`, over what it has. */
void test_copy_ranks(const char *folder);

/** Opens a checkpoint and verifies all its bytes. */
lks_status_t test_open_and_load(const char *path);

/** test_listing, test_tree_text of a checkpoint that can be opened. */
lks_strbuf_t test_listing_of(const char *path);
lks_strbuf_t test_text_of(const char *path);

/** Two texts are the same; frees them. */
void test_assert_same(lks_strbuf_t a, lks_strbuf_t b, const char *what);

/** The .metadata of RANKS, taken apart, and what became of it put into a folder. */
typedef struct test_edit {
    lks_tree_t *tree;
    lks_value_t *root;
} test_edit_t;

test_edit_t test_edit_begin(void);
void test_edit_end(test_edit_t *edit, const char *folder);

/** A field of the Metadata; the fields of an item's TensorStorageMetadata, of its chunk `index`, of the key and value
 *  of an entry of storage_data. */
lks_value_t *test_edit_part(const test_edit_t *edit, const char *name);
lks_value_t *test_edit_tensor(const test_edit_t *edit, const char *name);
lks_value_t *test_edit_chunk(const test_edit_t *edit, const char *name, size_t index);
lks_value_t *test_edit_key(const test_edit_t *edit, size_t index);
lks_value_t *test_edit_place(const test_edit_t *edit, size_t index);

/** fields[name] = torch.Size((a, b)), a number, a text. */
void test_edit_size(const test_edit_t *edit, lks_value_t *fields, const char *name, int64_t a,
                    int64_t b);
void test_edit_int(const test_edit_t *edit, lks_value_t *fields, const char *name, int64_t value);
void test_edit_text(const test_edit_t *edit, lks_value_t *fields, const char *name,
                    const char *value);

/** The path of an item: a str for each name, or an int where the name is a number; "" for no more. */
void test_edit_path(const test_edit_t *edit, const char *item, const char *const steps[3]);
#define PATH(...) ((const char *const[3]){__VA_ARGS__})

#endif
