/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot is equal to its tree, does not change with it, and takes its memory once. */
#include "serialize/named_tensors.h"
#include "serialize/snapshot.h"
#include "serialize/tree_text.h"

#include <stdlib.h>

static unsigned char bytes[3][1000];
static lks_tree_t *tree;

static size_t add_storage(int number)
{
    lks_storage_t *storage;
    memset(bytes[number], number + 1, sizeof bytes[number]);
    assert_ok(lks_storage_wrap(lks_device_host(), bytes[number], sizeof bytes[number], NULL, NULL,
                               &storage));
    size_t index = lks_tree_add_storage(tree, storage, LKS_DTYPE_U8, "cpu");
    lks_storage_release(storage);
    return index;
}

/* {"a": tensor, "b": another over the same bytes, "c": one over others}; a third storage has no tensor. */
static void build(void)
{
    assert_ok(lks_tree_create(&tree));
    lks_value_t *root = lks_value_dict(tree);
    const int64_t shape[] = {500};
    size_t first = add_storage(0);
    (void)add_storage(1);
    size_t last = add_storage(2);
    lks_value_set_str(tree, root, "a", test_tensor(tree, first, 0, LKS_DTYPE_U8, 1, shape));
    lks_value_set_str(tree, root, "b", test_tensor(tree, first, 500, LKS_DTYPE_U8, 1, shape));
    lks_value_set_str(tree, root, "c", test_tensor(tree, last, 0, LKS_DTYPE_U8, 1, shape));
    lks_tree_set_root(tree, root);
    assert_ok(lks_tree_status(tree));
}

TestSuite(snapshot, .init = build);

Test(snapshot, stays_while_the_tree_changes)
{
    lks_snapshot_t snapshot = {0};
    assert_ok(lks_snapshot_take(&snapshot, tree));
    lks_strbuf_t before = test_tree_text(tree);
    memset(bytes, 0xee, sizeof bytes);
    lks_strbuf_t kept = test_tree_text(snapshot.tree);
    cr_assert_str_eq(lks_strbuf_text(&kept), lks_strbuf_text(&before));
    lks_strbuf_fini(&before);
    lks_strbuf_fini(&kept);
    lks_tree_destroy(tree);
    lks_snapshot_fini(&snapshot);
}

Test(snapshot, shares_what_the_tree_shares_and_leaves_out_the_rest)
{
    lks_snapshot_t snapshot = {0};
    assert_ok(lks_snapshot_take(&snapshot, tree));
    cr_assert_eq(lks_tree_storage_count(snapshot.tree), 2);
    const lks_value_t *root = lks_tree_root(snapshot.tree);
    cr_assert_eq(lks_value_tensor(lks_value_find(root, "a"))->storage,
                 lks_value_tensor(lks_value_find(root, "b"))->storage);
    cr_assert_leq(snapshot.capacity, 2 * 1024);
    lks_tree_destroy(tree);
    lks_snapshot_fini(&snapshot);
}

Test(snapshot, keeps_its_memory)
{
    lks_snapshot_t snapshot = {0};
    assert_ok(lks_snapshot_take(&snapshot, tree));
    const unsigned char *memory = snapshot.memory;
    lks_snapshot_clear(&snapshot);
    assert_ok(lks_snapshot_take(&snapshot, tree));
    cr_assert_eq(snapshot.memory, memory);
    lks_tree_destroy(tree);
    lks_snapshot_fini(&snapshot);
    cr_assert_null(snapshot.memory);
}

Test(snapshot, a_tree_without_tensors_takes_none)
{
    lks_snapshot_t snapshot = {0};
    lks_tree_t *plain;
    assert_ok(lks_tree_create(&plain));
    lks_tree_set_root(plain, lks_value_int(plain, 7));
    assert_ok(lks_snapshot_take(&snapshot, plain));
    cr_assert_null(snapshot.memory);
    lks_snapshot_fini(&snapshot);
    lks_tree_destroy(plain);
    lks_tree_destroy(tree);
}
