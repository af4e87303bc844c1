/* SPDX-License-Identifier: Apache-2.0 */
/* renamed_tree.h - a tree with other keys over the same storages, as a rename makes it. */
#ifndef LOCKSTEP_TESTS_SERIALIZE_RENAMED_TREE_H
#define LOCKSTEP_TESTS_SERIALIZE_RENAMED_TREE_H

#include "serialize/value_copy.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>

/** A copy of a tree whose root is a dict with str keys, `prefix` in front of each of those. */
static inline lks_tree_t *test_renamed_tree(const lks_tree_t *from, const char *prefix)
{
    lks_tree_t *tree;
    assert_ok(lks_tree_create(&tree));
    size_t *map = malloc((lks_tree_storage_count(from) + 1) * sizeof *map);
    for (size_t i = 0; i < lks_tree_storage_count(from); i++) {
        map[i] = SIZE_MAX;
    }
    const lks_value_t *root = lks_tree_root(from);
    lks_value_t *copy = lks_value_ordered_dict(tree);
    for (size_t i = 0; i < lks_value_count(root); i++) {
        char key[256];
        const char *name = lks_value_text(lks_value_key_at(root, i), NULL);
        (void)snprintf(key, sizeof key, "%s%s", prefix, name);
        lks_value_set_str(tree, copy, key, lks_tree_graft(tree, from, lks_value_at(root, i), map));
    }
    free(map);
    lks_tree_set_root(tree, copy);
    assert_ok(lks_tree_status(tree));
    return tree;
}

#endif
